//! Replication's view of a connection.

use bytes::Bytes;
use hypercore::replication::Link;
use hypercore::replication::wire::PROTOCOL;
use hyperspace_api::DiscoveryKey;
use hyperswarm::{ChannelId, Sender};

/// Sends on a secret stream.
pub(super) struct StreamLink(pub(super) Sender);

impl Link for StreamLink {
    type Channel = ChannelId;

    fn open(&self, discovery_key: &DiscoveryKey, handshake: Bytes) -> Option<ChannelId> {
        self.0.open(PROTOCOL, discovery_key.as_bytes(), handshake).ok()
    }

    fn refuse(&self, discovery_key: &DiscoveryKey) {
        self.0.refuse(PROTOCOL, discovery_key.as_bytes());
    }

    fn send(&self, channel: ChannelId, kind: u32, parts: &[Bytes]) -> bool {
        self.0.send_parts(channel, kind, parts).is_ok()
    }

    fn close(&self, channel: ChannelId) {
        self.0.close_channel(channel);
    }

    fn is_full(&self) -> bool {
        self.0.is_full()
    }

    async fn ready(&self) {
        self.0.ready().await;
    }

    fn give_up(&self, reason: &str) {
        self.0.give_up(reason);
    }

    fn corked(&self, sends: &mut dyn FnMut()) {
        let _cork = self.0.cork();
        sends();
    }
}
