//! The server: one store, its sessions, and what they share.

use crate::extensions::Extensions;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::lock::SessionId;
use crate::mailbox::{Mailbox, Note, peers};
use crate::networker::addresses::Addresses;
use crate::networker::remembered::Remembered;
use crate::networker::{Networker, Offline, Swarm, SwarmEvent};
use crate::session::Session;
use crate::transport::Transport;
use crate::workers::Workers;
use crate::{Store, listen};
use hyperspace_api::{CoreError, Corestore, Key};
use hyperspace_schema::messages as m;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a [`Server`] behaves.
#[derive(Clone, Default)]
pub struct Options {
    /// What one client may cost.
    pub limits: Limits,
    /// Never announce anything, whatever clients ask for.
    pub no_announce: bool,
    /// Told when clients come and go.
    pub on_client: Option<OnClient>,
    /// The network; none by default.
    pub swarm: Option<Arc<dyn Swarm>>,
}

/// Called when a client comes or goes.
pub type OnClient = Arc<dyn Fn(ClientChange) + Send + Sync>;

/// A client came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientChange {
    /// It is connected.
    Opened,
    /// It is gone.
    Closed,
}

/// Serves a store over HRPC.
///
/// Dropping it stops nothing that runs: call [`Server::close`].
#[derive(Clone)]
pub struct Server<S: Store> {
    shared: Arc<Shared<S>>,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

/// What all sessions share.
pub(crate) struct Shared<S: Store> {
    pub(crate) hub: Hub<S>,
    pub(crate) networker: Networker,
    pub(crate) core_extensions: Extensions<Key>,
    pub(crate) network_extensions: Extensions<()>,
    pub(crate) remembered: Remembered<<S as Corestore>::Core>,
    pub(crate) addresses: Addresses<<S as Corestore>::Core>,
    pub(crate) limits: Limits,
    pub(crate) stop: CancellationToken,
    on_client: Option<OnClient>,
    next_session: AtomicU64,
    sessions: Mutex<HashMap<SessionId, Arc<Mailbox>>>,
}

impl<S: Store> Server<S> {
    /// Takes up what `store` remembers. Nothing listens yet.
    pub async fn new(store: S, options: Options) -> Result<Self, CoreError> {
        let remembered = Remembered::load(&store).await?;
        let swarm = options.swarm.unwrap_or_else(|| Arc::new(Offline::default()));
        let swarm_events = swarm.events();
        let identity = store.identity();
        let networker = Networker::new(swarm, identity, options.no_announce, options.limits.topics);
        networker.restore(remembered.all().await);
        let addresses = Addresses::load(&store).await?;
        for address in addresses.all().await {
            if let Err(error) = networker.swarm.add_peer(&address) {
                tracing::warn!(address, %error, "a remembered peer is not called");
            }
        }
        let shared = Arc::new(Shared {
            hub: Hub::new(store),
            networker,
            core_extensions: Extensions::default(),
            network_extensions: Extensions::default(),
            remembered,
            addresses,
            limits: options.limits,
            stop: CancellationToken::new(),
            on_client: options.on_client,
            next_session: AtomicU64::new(1),
            sessions: Mutex::default(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(shared.stop.clone().run_until_cancelled_owned(pump(shared.clone(), swarm_events)));
        let places = Arc::new(Semaphore::new(options.limits.sessions));
        Ok(Self { shared, tasks, places })
    }

    /// Serves one client over any byte stream, until it leaves or the server stops.
    pub fn serve_stream(&self, stream: impl Transport) {
        let shared = self.shared.clone();
        self.tasks.spawn(async move { shared.serve(stream).await });
    }

    /// Accepts clients until the server stops. They are served by threads of their own,
    /// one for each processor.
    pub async fn accept(&self, listener: &listen::Listener) -> io::Result<()> {
        let workers = Workers::start()?;
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { break };
            let stop = &self.shared.stop;
            let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
            match accepted {
                Ok(accepted) => {
                    let shared = self.shared.clone();
                    workers.run(self.tasks.track_future(async move {
                        match accepted.into_stream() {
                            Ok(stream) => shared.serve(stream).await,
                            Err(error) => tracing::warn!(%error, "cannot serve a client"),
                        }
                        drop(place);
                    }));
                }
                Err(error) => {
                    // Out of descriptors, most likely: no event tells when some are free.
                    tracing::warn!(%error, "cannot accept a client");
                    let pause = tokio::time::sleep(std::time::Duration::from_millis(100));
                    if stop.run_until_cancelled(pause).await.is_none() {
                        break;
                    }
                }
            }
        }
        // The threads end with the last of their sessions.
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }

    /// Cancelled when the server is to stop: by a client, by [`Server::close`], or by
    /// whoever cancels it. Ends [`Server::accept`] and all sessions.
    pub fn stop_token(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    /// Ends all sessions, waits for the appends that had begun, flushes the store and
    /// closes it.
    pub async fn close(&self) -> Result<(), CoreError> {
        self.shared.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.shared.networker.swarm.close().await;
        self.shared.hub.release_weak();
        let store = self.shared.hub.store();
        let flushed = store.flush().await;
        store.close().await.and(flushed)
    }

    /// How many cores clients have open, each counted once.
    pub fn open_cores(&self) -> usize {
        self.shared.hub.open_cores()
    }

    /// How many clients are connected.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.lock().len()
    }

    /// The store.
    pub fn store(&self) -> &S {
        self.shared.hub.store()
    }
}

/// Passes on what the swarm tells, to every session.
async fn pump<S: Store>(shared: Arc<Shared<S>>, mut events: tokio::sync::broadcast::Receiver<SwarmEvent>) {
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        for mailbox in shared.sessions.lock().values() {
            mailbox.push(match event.clone() {
                SwarmEvent::PeerAdd(peer) => Note::NetworkPeerAdd { peer },
                SwarmEvent::PeerRemove(peer) => Note::NetworkPeerRemove { peer },
            });
        }
    }
}

impl<S: Store> Shared<S> {
    async fn serve(self: Arc<Self>, stream: impl Transport) {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        self.tell(ClientChange::Opened);
        let stop = self.stop.clone();
        if let Err(reason) = Session::new(self.clone(), id).run(stream, stop).await {
            tracing::info!(session = id, %reason, "closed a client's connection");
        }
        self.tell(ClientChange::Closed);
    }

    fn tell(&self, change: ClientChange) {
        if let Some(on_client) = &self.on_client {
            on_client(change);
        }
    }

    /// A session begins.
    pub(crate) fn welcome(&self, id: SessionId, mailbox: &Arc<Mailbox>) {
        self.sessions.lock().insert(id, mailbox.clone());
    }

    /// A session ends.
    pub(crate) fn farewell(&self, id: SessionId) {
        self.sessions.lock().remove(&id);
        self.networker.withdraw(id);
    }

    /// What `Hyperspace.Status` answers.
    pub(crate) fn status(&self) -> m::HyperspaceStatusResponse {
        m::HyperspaceStatusResponse {
            api_version: hyperspace_schema::API_VERSION.into(),
            holepunchable: self.networker.swarm.holepunchable(),
            remote_address: Some(self.networker.swarm.remote_address().unwrap_or_default()),
            version: Some(env!("CARGO_PKG_VERSION").into()),
        }
    }

    /// What `Network.Open` answers.
    pub(crate) fn network(&self) -> m::OpenNetworkResponse {
        m::OpenNetworkResponse {
            public_key: bytes::Bytes::copy_from_slice(self.networker.identity.as_bytes()),
            peers: peers(self.networker.swarm.peers()),
        }
    }
}
