//! The sending half of a connection, which everybody may have.

use super::shared::Shared;
use super::{ConnectionError, Peer, Traffic};
use crate::key_pair::PublicKey;
use crate::protomux::{ChannelId, OpenError, SendError};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Opens channels, sends on them, and closes them. Cheap to clone, and for use from any
/// task; nothing of it blocks. It does not keep the connection open.
#[derive(Clone)]
pub struct Sender {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, peer: Arc<Peer>) -> Self {
        Self { shared, peer }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Did we open the connection?
    pub fn is_initiator(&self) -> bool {
        self.peer.is_initiator
    }

    /// The key under which the other side knows us.
    pub fn public_key(&self) -> PublicKey {
        self.peer.public_key
    }

    /// The key that the other side has proved to hold.
    pub fn remote_public_key(&self) -> PublicKey {
        self.peer.remote_public_key
    }

    /// Names this very connection; the same on both sides, and no secret between them.
    pub fn handshake_hash(&self) -> &[u8; 64] {
        &self.peer.handshake_hash
    }

    /// How long the other side took to answer in the handshake; `None` if the keys were
    /// agreed on elsewhere.
    pub fn round_trip(&self) -> Option<Duration> {
        self.peer.round_trip
    }

    /// Asks the owner, from now on, about channels of that protocol with that id, or any,
    /// that the other side opens. All others are rejected, so that this comes before the
    /// first [`next`](super::Connection::next).
    pub fn pair(&self, protocol: &str, id: Option<&[u8]>) {
        self.shared.with(|muxer| muxer.pair(protocol, id));
    }

    /// No longer asks about those.
    pub fn unpair(&self, protocol: &str, id: Option<&[u8]>) {
        self.shared.with(|muxer| muxer.unpair(protocol, id));
    }

    /// Takes `alias` as another name of that protocol, if the other side uses it.
    pub fn alias(&self, alias: &str, protocol: &str) {
        self.shared.with(|muxer| muxer.alias(alias, protocol));
    }

    /// Opens a channel: one that the other side has opened, or a new one. One can send on
    /// it at once.
    pub fn open(
        &self,
        protocol: &str,
        id: &[u8],
        handshake: impl Into<Bytes>,
    ) -> Result<ChannelId, OpenError> {
        self.shared
            .decide(|muxer| muxer.open(protocol, id, handshake.into()))
            .unwrap_or(Err(OpenError::Ended))
    }

    /// Rejects what the other side has opened for that protocol and id, and we have not.
    pub fn refuse(&self, protocol: &str, id: &[u8]) {
        self.shared.decide(|muxer| muxer.refuse(protocol, id));
    }

    /// Queues a message. It is not known when it has arrived, if it does.
    pub fn send(&self, channel: ChannelId, kind: u32, payload: impl Into<Bytes>) -> Result<(), SendError> {
        self.send_parts(channel, kind, &[payload.into()])
    }

    /// Queues a message whose payload is the parts, one behind the other: so that nobody
    /// copies a block to put something before it.
    pub fn send_parts(&self, channel: ChannelId, kind: u32, parts: &[Bytes]) -> Result<(), SendError> {
        self.shared.with(|muxer| muxer.send(channel, kind, parts)).unwrap_or(Err(SendError::Ended))
    }

    /// Returns at once while less than [`Options::outgoing`](super::Options::outgoing) waits
    /// to be sent; else waits until that is half as much, or the connection is over. May be
    /// cancelled.
    pub async fn ready(&self) {
        self.shared.room().await;
    }

    /// Would [`ready`](Self::ready) have to wait?
    pub fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// Closes a channel. What the other side sends on it from now on is not delivered.
    pub fn close_channel(&self, channel: ChannelId) {
        self.shared.with(|muxer| muxer.close(channel));
    }

    /// Is the channel neither closed nor rejected?
    pub fn is_open(&self, channel: ChannelId) -> bool {
        self.shared.with(|muxer| muxer.is_open(channel)).unwrap_or(false)
    }

    /// Holds back what is sent by anybody until the guard is dropped, so that it goes in as
    /// few frames as it can. (What is sent while the transport is busy does so anyway.)
    #[must_use]
    pub fn cork(&self) -> Cork {
        self.shared.with(|muxer| muxer.cork());
        Cork(Arc::clone(&self.shared))
    }

    /// Has anything come from the other side since the keys are agreed on?
    pub fn has_heard(&self) -> bool {
        self.shared.has_heard()
    }

    /// Sends an empty message now, which means nothing: if the other side is gone, that is
    /// found out the sooner.
    pub fn keep_alive(&self) {
        self.shared.keep_alive();
    }

    /// Ends the connection at once, for a reason that only we get to know.
    pub fn give_up(&self, reason: impl Into<String>) {
        self.shared.fail(ConnectionError::GivenUp(reason.into()));
    }

    /// What has gone over the transport so far, our own frames included.
    pub fn traffic(&self) -> Traffic {
        self.shared.traffic()
    }

    /// Why the connection ended; `None` while it has not, and if it ended well.
    pub fn error(&self) -> Option<ConnectionError> {
        self.shared.error()
    }

    /// Is the connection over?
    pub fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// Waits until the connection is over, and tells why. May be cancelled.
    pub async fn closed(&self) -> Result<(), ConnectionError> {
        self.shared.closed().await;
        self.error().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_initiator", &self.peer.is_initiator).finish_non_exhaustive()
    }
}

/// While it lives, nothing is sent: see [`Sender::cork`].
pub struct Cork(Arc<Shared>);

impl Drop for Cork {
    fn drop(&mut self) {
        self.0.with(|muxer| muxer.uncork());
    }
}

impl fmt::Debug for Cork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cork").finish_non_exhaustive()
    }
}
