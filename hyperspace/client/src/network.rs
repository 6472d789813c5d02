//! The server's place in the swarm.

use crate::client::Shared;
use crate::extension::{Extension, Inbox};
use crate::mux::CallError;
use crate::network_info::NetworkInfo;
use crate::retry::repeat;
use crate::session::{Session, peer};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, DiscoveryKey, Key, Peer};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::network;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::broadcast;

/// How to be in the swarm for a topic. What is `None` is left to `copy_from`, else
/// it is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The topic.
    pub discovery_key: DiscoveryKey,
    /// Let peers find us.
    pub announce: Option<bool>,
    /// Look for peers.
    pub lookup: Option<bool>,
    /// Do so again when the server starts again.
    pub remember: Option<bool>,
    /// Return only when that is done.
    pub flush: bool,
    /// Take what is `None` from this topic's configuration.
    pub copy_from: Option<DiscoveryKey>,
    /// Change a configuration that there is already. `true`.
    pub overwrite: bool,
}

impl NetworkConfig {
    /// Nothing set yet.
    pub fn new(discovery_key: DiscoveryKey) -> Self {
        Self {
            discovery_key,
            announce: None,
            lookup: None,
            remember: None,
            flush: false,
            copy_from: None,
            overwrite: true,
        }
    }

    fn request(&self) -> m::ConfigureNetworkRequest {
        let bytes = |key: &DiscoveryKey| Bytes::copy_from_slice(key.as_ref());
        m::ConfigureNetworkRequest {
            configuration: m::NetworkStatus {
                discovery_key: bytes(&self.discovery_key),
                announce: self.announce,
                lookup: self.lookup,
                remember: self.remember,
            },
            flush: Some(self.flush),
            copy_from: self.copy_from.as_ref().map(bytes),
            overwrite: Some(self.overwrite),
        }
    }
}

/// How the server is in the swarm for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkStatus {
    /// The topic.
    pub discovery_key: DiscoveryKey,
    /// Do peers find us? For any of the server's clients.
    pub announce: bool,
    /// Do we look for peers? For any of the server's clients.
    pub lookup: bool,
    /// Does the server do so again when it starts again?
    pub remember: bool,
}

impl NetworkStatus {
    fn read(status: m::NetworkStatus) -> Result<Self, CoreError> {
        let discovery_key = DiscoveryKey::try_from(status.discovery_key.as_ref()).map_err(|_| {
            CoreError::Invalid("The server told of a topic whose key is not of 32 bytes".into())
        })?;
        Ok(Self {
            discovery_key,
            announce: status.announce.unwrap_or(false),
            lookup: status.lookup.unwrap_or(false),
            remember: status.remember.unwrap_or(false),
        })
    }
}

/// An address that the server calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// `HOST:PORT`.
    pub address: String,
    /// Who is connected there.
    pub connected: Option<Key>,
    /// Why nobody is; `None` also before the first call has come to an end.
    pub error: Option<String>,
    /// Is it called again when the server starts again?
    pub remember: bool,
}

impl PeerAddress {
    fn read(at: m::PeerAddress) -> Self {
        Self {
            address: at.address,
            connected: at.remote_public_key.and_then(|key| Key::try_from(key.as_ref()).ok()),
            error: at.error,
            remember: at.remember.unwrap_or(false),
        }
    }
}

/// A peer came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    /// It connected.
    PeerAdd(Peer),
    /// It left.
    PeerRemove(Peer),
}

/// Events that a slow receiver may fall behind before it misses some.
const EVENTS: usize = 256;

/// What a new connection must be told again, and who listens.
pub(crate) struct NetworkState {
    events: broadcast::Sender<NetworkEvent>,
    pub extensions: Mutex<Vec<Weak<Inbox>>>,
    configured: Mutex<HashMap<DiscoveryKey, NetworkConfig>>,
}

impl Default for NetworkState {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(EVENTS),
            extensions: Mutex::default(),
            configured: Mutex::default(),
        }
    }
}

impl NetworkState {
    pub fn peer(&self, peer: Peer, there: bool) {
        let event = if there { NetworkEvent::PeerAdd(peer) } else { NetworkEvent::PeerRemove(peer) };
        // An error means only that nobody listens.
        let _ = self.events.send(event);
    }

    /// Makes the configurations of this client again, which the server forgot with the
    /// last connection, and registers its extensions.
    pub async fn restore(&self, session: &Arc<Session>) -> Result<(), CallError> {
        let configured: Vec<_> = self.configured.lock().values().cloned().collect();
        for config in configured {
            let request = NetworkConfig { flush: false, ..config }.request();
            match session.mux.call::<network::Configure>(&request, None, false).await {
                Err(CallError::Lost) => return Err(CallError::Lost),
                Err(CallError::Refused(error)) => tracing::warn!("a topic was not configured again: {error}"),
                Ok(_) => {}
            }
        }
        let inboxes: Vec<_> = {
            let mut extensions = self.extensions.lock();
            extensions.retain(|inbox| inbox.strong_count() > 0);
            extensions.iter().filter_map(Weak::upgrade).collect()
        };
        for inbox in inboxes {
            inbox.register(session, 0).await?;
        }
        Ok(())
    }
}

/// Joins and leaves topics, and knows the server's peers. Cheap to clone.
///
/// What a client configures holds while it is connected: the server is in the swarm
/// for a topic as long as one of its clients wants that, or it was told to remember.
#[derive(Clone)]
pub struct RemoteNetworker {
    client: Arc<Shared>,
}

impl RemoteNetworker {
    pub(crate) fn new(client: Arc<Shared>) -> Self {
        Self { client }
    }

    /// The public key by which peers know the server.
    pub async fn public_key(&self) -> Result<Key, CoreError> {
        let opened = self.opened().await?;
        Key::try_from(opened.public_key.as_ref())
            .map_err(|_| CoreError::Invalid("The server's public key is not of 32 bytes".into()))
    }

    /// The peers that are connected.
    pub async fn peers(&self) -> Result<Vec<Peer>, CoreError> {
        Ok(self.opened().await?.peers.into_iter().filter_map(peer).collect())
    }

    async fn opened(&self) -> Result<m::OpenNetworkResponse, CoreError> {
        repeat!(self.client, |session| session.mux.call::<network::Open>(&m::Void {}, None, false).await)
    }

    /// Peers that come and go from now on.
    pub fn events(&self) -> broadcast::Receiver<NetworkEvent> {
        self.client.network.events.subscribe()
    }

    /// Joins or leaves a topic; returns how the server is in the swarm for it then,
    /// `None` if it is not.
    pub async fn configure(&self, config: NetworkConfig) -> Result<Option<NetworkStatus>, CoreError> {
        let request = config.request();
        let answer = repeat!(self.client, |session| {
            session.mux.call::<network::Configure>(&request, None, config.flush).await
        })?;
        let status = answer.status.map(NetworkStatus::read).transpose()?;
        let off = |on: Option<bool>| on == Some(false);
        let mut configured = self.client.network.configured.lock();
        if off(config.announce) && off(config.lookup) {
            configured.remove(&config.discovery_key);
        } else {
            configured.insert(config.discovery_key, config);
        }
        Ok(status)
    }

    /// How the server is in the swarm for a topic; `None` if it is not.
    pub async fn status(&self, discovery_key: DiscoveryKey) -> Result<Option<NetworkStatus>, CoreError> {
        let request =
            m::NetworkStatusRequest { discovery_key: Bytes::copy_from_slice(discovery_key.as_ref()) };
        let answer =
            repeat!(self.client, |session| session.mux.call::<network::Status>(&request, None, false).await)?;
        answer.status.map(NetworkStatus::read).transpose()
    }

    /// Every topic for which the server is in the swarm.
    pub async fn all_statuses(&self) -> Result<Vec<NetworkStatus>, CoreError> {
        let answer = repeat!(self.client, |session| session
            .mux
            .call::<network::AllStatuses>(&m::Void {}, None, false)
            .await)?;
        answer.statuses.into_iter().map(NetworkStatus::read).collect()
    }

    /// Announces a core, looks for its peers, and asks them for news of it; that
    /// nobody has any is no error.
    pub async fn replicate(&self, core: &impl Core) -> Result<(), CoreError> {
        let config = NetworkConfig {
            announce: Some(true),
            lookup: Some(true),
            ..NetworkConfig::new(core.discovery_key())
        };
        self.configure(config).await?;
        match core.update(None).await {
            Err(error @ CoreError::Disconnected(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Has the server call the peer at `HOST:PORT` from now on, for all its clients; with
    /// `remember`, also when it starts again.
    pub async fn add_peer(&self, address: &str, remember: bool) -> Result<(), CoreError> {
        let request = m::AddPeerRequest { address: address.into(), remember: Some(remember) };
        repeat!(self.client, |session| session.mux.call::<network::AddPeer>(&request, None, false).await)?;
        Ok(())
    }

    /// No longer has it call that address; a connection there ends.
    ///
    /// # Errors
    /// If it does not call it.
    pub async fn remove_peer(&self, address: &str) -> Result<(), CoreError> {
        let request = m::RemovePeerRequest { address: address.into() };
        repeat!(self.client, |session| session.mux.call::<network::RemovePeer>(&request, None, false).await)?;
        Ok(())
    }

    /// The addresses that the server calls, and how that goes.
    pub async fn peer_addresses(&self) -> Result<Vec<PeerAddress>, CoreError> {
        let answer = repeat!(self.client, |session| session
            .mux
            .call::<network::PeerAddresses>(&m::Void {}, None, false)
            .await)?;
        Ok(answer.addresses.into_iter().map(PeerAddress::read).collect())
    }

    /// How the server is in the network.
    ///
    /// # Errors
    /// Also if the server is one that cannot tell, such as npm hyperspace.
    pub async fn info(&self) -> Result<NetworkInfo, CoreError> {
        let answer = repeat!(self.client, |session| session
            .mux
            .call::<network::Info>(&m::Void {}, None, false)
            .await)?;
        NetworkInfo::read(answer)
    }

    /// Registers an extension of all connections.
    pub async fn register_extension(&self, name: &str) -> Result<Extension, CoreError> {
        Extension::of_network(&self.client, name).await
    }
}
