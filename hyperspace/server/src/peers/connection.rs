//! One connection, from handshake to end.

use super::Inner;
use super::extensions::{self, Joined};
use super::link::StreamLink;
use super::registry::Verdict;
use hypercore::replication::wire::{ALIAS, PROTOCOL};
use hypercore::replication::{AttachError, Attached, ConnectionInfo};
use hyperspace_api::{DiscoveryKey, Key, Peer};
use hyperswarm::{Connection, ConnectionError, Event, Options, Sender};
use tokio::io::{AsyncRead, AsyncWrite};

/// How a connection went.
pub(super) enum Ended {
    /// It was open, and is over.
    Over(Option<ConnectionError>),
    /// It was not needed: there is this one to the same peer.
    Superfluous(Sender),
    /// It led to ourselves.
    Ourselves,
    /// The peer has lied lately.
    Banned,
}

impl Inner {
    /// Opens a connection over `io`, and [runs](Self::take) it until it is over.
    pub(super) async fn run<T>(
        &self,
        io: T,
        initiator: bool,
        kind: &str,
        address: String,
        opened: impl FnOnce(Key),
        over: impl FnOnce(),
    ) -> Result<Ended, ConnectionError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut connection = Connection::new(io, initiator, &self.keys, Options::default()).await?;
        Ok(self.take(&mut connection, kind, address, opened, over).await)
    }

    /// Runs a connection until it is over. `kind` and `address` are for people to read;
    /// `opened` is told who is at the other end, `over` that it is over, before anybody who
    /// waits for the peer is.
    pub(super) async fn take(
        &self,
        connection: &mut Connection,
        kind: &str,
        address: String,
        opened: impl FnOnce(Key),
        over: impl FnOnce(),
    ) -> Ended {
        let remote_public_key = Key::from(connection.remote_public_key());
        if connection.remote_public_key() == connection.public_key() {
            return Ended::Ourselves;
        }
        let peer = Peer { remote_public_key, remote_address: address.clone(), kind: kind.to_owned() };
        let _place = match self.registry.admit(connection.sender(), peer.clone()) {
            Verdict::Kept(place) => place,
            Verdict::Superfluous(other) => return Ended::Superfluous(other),
        };
        tracing::debug!(peer = %remote_public_key, address, kind, "connected");
        connection.pair(PROTOCOL, None);
        connection.pair(extensions::PROTOCOL, None);
        connection.alias(ALIAS, PROTOCOL);
        let info = ConnectionInfo {
            remote_public_key,
            remote_address: address,
            kind: kind.to_owned(),
            handshake_hash: *connection.handshake_hash(),
            is_initiator: connection.is_initiator(),
        };
        let attached = match self.replication.attach(info, StreamLink(connection.sender())) {
            Ok(attached) => attached,
            Err(AttachError::Banned) => return Ended::Banned,
        };
        let joined = self.extensions.join(peer, connection.sender());
        // Only now: who waits for the first call to end asks this peer next.
        opened(remote_public_key);
        serve(connection, &attached, &joined).await;
        over();
        tracing::debug!(peer = %remote_public_key, error = ?connection.error(), "disconnected");
        Ended::Over(connection.error())
    }
}

/// Tells those concerned what the peer does.
async fn serve(connection: &mut Connection, attached: &Attached<StreamLink>, joined: &Joined) {
    while let Some(event) = connection.next().await {
        match event {
            Event::Requested { protocol, id, .. } if protocol == extensions::PROTOCOL => {
                joined.requested(&id)
            }
            Event::Requested { protocol, id, .. } => match DiscoveryKey::try_from(&id[..]) {
                Ok(discovery_key) => attached.requested(discovery_key),
                Err(_) => connection.refuse(&protocol, &id),
            },
            Event::Withdrawn { .. } => {}
            Event::Opened { channel, handshake } => {
                if !joined.opened(channel) {
                    attached.opened(channel, &handshake);
                }
            }
            Event::Message { channel, kind, payload } => {
                if !joined.message(channel, &payload) {
                    attached.message(channel, kind, payload).await;
                }
            }
            Event::Closed { channel, rejected } => {
                if !joined.closed(channel) {
                    attached.closed(channel, rejected);
                }
            }
        }
    }
}
