//! The client: one connection that is made anew when the server was away.

use crate::cache::BlockCache;
use crate::core::Handle;
use crate::corestore::RemoteCorestore;
use crate::endpoint::{Dialer, Endpoint, Stream};
use crate::mux::{CallError, Limits};
use crate::network::{NetworkState, RemoteNetworker};
use crate::retry::repeat;
use crate::session::Session;
use hyperspace_api::{CoreError, Key};
use hyperspace_schema::messages::Void;
use hyperspace_schema::methods::hyperspace as methods;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a client behaves, and what it may hold.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Bytes of the block cache that all cores of the client share; 0 turns it off,
    /// and reading ahead with it. 64 MiB.
    pub cache_bytes: usize,
    /// Connect again when the server was away, and open its cores again. `true`.
    pub reconnect: bool,
    /// How long a call waits for a server that is away before it fails with
    /// [`CoreError::Disconnected`]. 10 s.
    pub patience: Duration,
    /// The largest message taken from the server. 64 MiB.
    pub max_frame: usize,
    /// Calls in flight; further ones wait their turn. 16,384.
    pub max_in_flight: usize,
    /// Bytes queued to be sent; further calls wait until they are written. A single
    /// call may exceed it. 16 MiB.
    pub max_queued: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            reconnect: true,
            patience: Duration::from_secs(10),
            max_frame: hyperspace_schema::frame::MAX_BODY,
            max_in_flight: 16 * 1024,
            max_queued: 16 << 20,
        }
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// The version of the RPC messages.
    pub api_version: String,
    /// The server's own version.
    pub version: Option<String>,
    /// Can peers behind other NATs reach it? `None` while that is not known.
    pub holepunchable: Option<bool>,
    /// Its address as peers see it, if known.
    pub remote_address: Option<String>,
}

/// Events that a slow receiver of [`RemoteCorestore::feeds`] may fall behind.
const FEEDS: usize = 256;

/// First and longest pause between attempts to connect again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Cores opened again at a time.
const REOPEN: usize = 64;

/// A program's connection to a Hyperspace server.
///
/// Clones share it. It ends when every clone, and every core opened through it, is
/// dropped, or with [`close`](Self::close). While the server is away calls wait for
/// it, at most [`ClientOptions::patience`]; when it comes back, the cores are opened
/// again beneath their handles, extensions and watches registered again, and network
/// configurations made again. A call that was in progress when the connection broke
/// is repeated if that is harmless (`get`, `has`, `seek`, `info`, …), else it fails
/// with [`CoreError::Disconnected`]. Locks are lost with the connection.
#[derive(Clone)]
pub struct HyperspaceClient {
    shared: Arc<Shared>,
}

/// The state of the connection.
#[derive(Clone)]
enum Link {
    Up(Arc<Session>),
    /// Being made again; the last thing that went wrong.
    Away(Arc<str>),
    /// For good.
    Over(Arc<str>),
}

/// What all handles of a client share.
pub(crate) struct Shared {
    dialer: Dialer,
    pub options: ClientOptions,
    link: watch::Sender<Link>,
    /// Ends the task that connects again.
    over: CancellationToken,
    /// A server that is away is waited for no longer than until then.
    last_moment: watch::Sender<Option<Instant>>,
    pub cache: BlockCache,
    /// The open cores that are shared by those who open the same key or name.
    pub cores: Mutex<HashMap<Key, Weak<Handle>>>,
    pub names: Mutex<HashMap<String, Weak<Handle>>>,
    pub feeds: broadcast::Sender<Key>,
    pub network: NetworkState,
}

impl HyperspaceClient {
    /// Connects to the server at `endpoint`. Fails at once if none is there; see
    /// [`server_ready`](Self::server_ready).
    pub async fn connect(endpoint: Endpoint) -> Result<Self, CoreError> {
        Self::connect_with(endpoint, ClientOptions::default()).await
    }

    /// [`connect`](Self::connect), with other options.
    pub async fn connect_with(endpoint: Endpoint, options: ClientOptions) -> Result<Self, CoreError> {
        Self::start(Dialer::Endpoint(endpoint), options).await
    }

    /// Speaks HRPC over a stream that is there already. It cannot be made again: when
    /// it ends, the client is closed.
    pub async fn connect_stream(stream: impl Stream, options: ClientOptions) -> Result<Self, CoreError> {
        let once = Mutex::new(Some(stream));
        let dial = move || {
            let stream = once.lock().take().ok_or(io::Error::from(io::ErrorKind::NotConnected));
            async move { stream }
        };
        Self::connect_by(dial, ClientOptions { reconnect: false, ..options }).await
    }

    /// Connects in the caller's own way, now and whenever the connection was lost.
    pub async fn connect_by<S, F>(
        dial: impl Fn() -> F + Send + Sync + 'static,
        options: ClientOptions,
    ) -> Result<Self, CoreError>
    where
        S: Stream,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let dial = move || {
            let dialed = dial();
            Box::pin(async move { Ok(Box::new(dialed.await?) as Box<dyn Stream>) }) as _
        };
        Self::start(Dialer::Custom(Arc::new(dial)), options).await
    }

    async fn start(dialer: Dialer, options: ClientOptions) -> Result<Self, CoreError> {
        let shared = Arc::new(Shared {
            link: watch::Sender::new(Link::Away("not connected yet".into())),
            over: CancellationToken::new(),
            last_moment: watch::Sender::new(None),
            cache: BlockCache::new(options.cache_bytes),
            cores: Mutex::default(),
            names: Mutex::default(),
            feeds: broadcast::Sender::new(FEEDS),
            network: NetworkState::default(),
            dialer,
            options,
        });
        let session = shared.dial().await.map_err(|error| shared.unreachable(&error.to_string()))?;
        shared.link.send_replace(Link::Up(session.clone()));
        tokio::spawn(supervise(Arc::downgrade(&shared), session, shared.over.clone()));
        Ok(Self { shared })
    }

    /// Waits until a server answers at `endpoint`, at most `patience`.
    pub async fn server_ready(endpoint: &Endpoint, patience: Duration) -> Result<(), CoreError> {
        let deadline = Instant::now() + patience;
        let options = ClientOptions { cache_bytes: 0, reconnect: false, ..ClientOptions::default() };
        loop {
            let asked = async {
                Self::connect_with(endpoint.clone(), options.clone()).await?.status().await.map(drop)
            };
            match tokio::time::timeout_at(deadline, asked).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if Instant::now() >= deadline => return Err(error),
                Err(_) => return Err(CoreError::Timeout),
                // There is no event that tells that somebody listens.
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// What the server says of itself.
    pub async fn status(&self) -> Result<ServerStatus, CoreError> {
        let status = repeat!(self.shared, |session| {
            session.mux.call::<methods::Status>(&Void {}, None, false).await
        })?;
        Ok(ServerStatus {
            api_version: status.api_version,
            version: status.version,
            holepunchable: status.holepunchable,
            remote_address: status.remote_address.filter(|address| !address.is_empty()),
        })
    }

    /// Shuts the server down. Returns when the connection has ended, at the latest
    /// after [`ClientOptions::patience`]; the client is closed then.
    pub async fn stop(&self) -> Result<(), CoreError> {
        let session = self.shared.session().await?;
        self.shared.end("the server was stopped by this program");
        let stop = session.mux.call::<methods::Stop>(&Void {}, None, true);
        let stopped = tokio::time::timeout(self.shared.options.patience, async {
            match stop.await {
                Ok(_) => {
                    session.mux.ended().await;
                    Ok(())
                }
                Err(CallError::Lost) => Ok(()),
                Err(CallError::Refused(error)) => Err(error),
            }
        });
        let result = stopped.await.unwrap_or(Err(CoreError::Timeout));
        session.mux.shutdown();
        result
    }

    /// The server's cores. The store's [default core](RemoteCorestore::default_core) is
    /// the one named `namespace`; other names mean the same core in every namespace, as
    /// they always have over HRPC.
    pub fn corestore(&self, namespace: Option<&str>) -> RemoteCorestore {
        RemoteCorestore::new(self.shared.clone(), namespace)
    }

    /// The server's place in the swarm.
    pub fn network(&self) -> RemoteNetworker {
        RemoteNetworker::new(self.shared.clone())
    }

    /// Is there a connection at this moment?
    pub fn is_connected(&self) -> bool {
        matches!(&*self.shared.link.borrow(), Link::Up(session) if session.mux.is_alive())
    }

    /// From now on, for a program that is about to end: calls wait for a server that is away
    /// no longer than until `grace` from now, those that wait already and all later ones. One
    /// that is there is waited for as ever. Said again, the earliest moment counts.
    pub fn hurry(&self, grace: Duration) {
        let last = Instant::now() + grace;
        self.shared.last_moment.send_modify(|moment| {
            *moment = Some(moment.map_or(last, |earlier| earlier.min(last)));
        });
    }

    /// Ends the connection. Every call in progress, and every later one, fails.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Shared {
    async fn dial(self: &Arc<Self>) -> io::Result<Arc<Session>> {
        let limits = Limits {
            max_frame: self.options.max_frame,
            max_in_flight: self.options.max_in_flight,
            max_queued: self.options.max_queued,
        };
        Session::connect(&self.dialer, limits, Arc::downgrade(self)).await
    }

    fn close(&self) {
        if let Some(Link::Up(session)) = self.end("it was closed by this program") {
            session.mux.shutdown();
        }
    }

    /// No more connections; returns the link as it was, unless it was over already.
    fn end(&self, reason: &str) -> Option<Link> {
        self.over.cancel();
        let mut before = None;
        self.link.send_if_modified(|link| {
            let open = !matches!(link, Link::Over(_));
            if open {
                before = Some(std::mem::replace(link, Link::Over(reason.into())));
            }
            open
        });
        before
    }

    /// The error of a server that is not there.
    pub fn unreachable(&self, why: &str) -> CoreError {
        let what_to_do = match &self.dialer {
            Dialer::Endpoint(_) => "; is it running? Start one with `hyperspace`",
            Dialer::Custom(_) => "",
        };
        CoreError::Disconnected(format!("{}: {why}{what_to_do}", self.dialer))
    }

    /// The connection, waiting for it at most [`ClientOptions::patience`].
    pub async fn session(&self) -> Result<Arc<Session>, CoreError> {
        self.session_until(None).await
    }

    /// The connection, waiting for it until `deadline`.
    pub async fn session_until(&self, deadline: Option<Instant>) -> Result<Arc<Session>, CoreError> {
        match &*self.link.borrow() {
            Link::Up(session) if session.mux.is_alive() => return Ok(session.clone()),
            Link::Over(reason) => return Err(self.over_error(reason)),
            _ => {}
        }
        let deadline = deadline.unwrap_or_else(|| Instant::now() + self.options.patience);
        let mut link = self.link.subscribe();
        let settled = link.wait_for(|link| match link {
            Link::Up(session) => session.mux.is_alive(),
            Link::Over(_) => true,
            Link::Away(_) => false,
        });
        let settled = tokio::select! {
            // What is there at the last moment is there.
            biased;
            settled = settled => settled.ok().map(|link| link.clone()),
            () = self.out_of_patience(deadline) => None,
        };
        match settled {
            Some(Link::Up(session)) => Ok(session),
            Some(Link::Over(reason)) => Err(self.over_error(&reason)),
            _ => match &*self.link.borrow() {
                Link::Away(why) => Err(self.unreachable(why)),
                _ => Err(self.unreachable("the connection was lost")),
            },
        }
    }

    /// Returns at `deadline`, or earlier if that is the [last moment](HyperspaceClient::hurry).
    async fn out_of_patience(&self, deadline: Instant) {
        let mut last_moment = self.last_moment.subscribe();
        loop {
            let until = last_moment.borrow_and_update().map_or(deadline, |last| last.min(deadline));
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                // It is not dropped before us.
                _ = last_moment.changed() => {}
            }
        }
    }

    fn over_error(&self, reason: &str) -> CoreError {
        CoreError::Disconnected(format!("the connection to {} is over: {reason}", self.dialer))
    }

    /// The error of a call that cannot be repeated.
    pub fn interrupted(&self, error: CallError, session: &Session) -> CoreError {
        match error {
            CallError::Refused(error) => error,
            CallError::Lost => {
                let why = session.mux.death().unwrap_or_else(|| "it ended".into());
                CoreError::Disconnected(format!(
                    "the connection to {} was lost during the call ({why}); \
                     whether it took effect is not known",
                    self.dialer
                ))
            }
        }
    }

    /// A core was opened in the server.
    pub fn fed(&self, key: Key) {
        // An error means only that nobody listens.
        let _ = self.feeds.send(key);
    }

    /// The cores that are open now. Handles, lest one be dropped under the lock.
    fn open_cores(&self) -> Vec<Arc<Handle>> {
        self.cores.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Makes a new connection what the last one was.
    async fn restore(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), CallError> {
        self.network.restore(session).await?;
        let cores = self.open_cores();
        for some in cores.chunks(REOPEN) {
            let opened = futures::future::join_all(some.iter().map(|core| core.state.bind(session))).await;
            if opened.contains(&Err(CallError::Lost)) {
                return Err(CallError::Lost);
            }
        }
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

/// Connects again whenever the connection was lost, until the client is gone.
async fn supervise(client: Weak<Shared>, first: Arc<Session>, over: CancellationToken) {
    let mut mux = first.mux.clone();
    drop(first);
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            () = mux.ended() => {}
        }
        let why = mux.death().unwrap_or_else(|| "the connection was lost".into());
        {
            let Some(client) = client.upgrade() else { return };
            if !client.options.reconnect {
                client.end(&why);
                return;
            }
            client.set(Link::Away(why));
        }
        let mut pause = BACKOFF.0;
        mux = loop {
            let again = async {
                let client = client.upgrade()?;
                Some(match client.dial().await {
                    Ok(session) => {
                        let restored =
                            tokio::time::timeout(client.options.patience, client.restore(&session)).await;
                        if matches!(restored, Ok(Ok(()))) {
                            let mux = session.mux.clone();
                            client.set(Link::Up(session));
                            Some(mux)
                        } else {
                            session.mux.shutdown();
                            None
                        }
                    }
                    Err(error) => {
                        client.set(Link::Away(error.to_string().into()));
                        None
                    }
                })
            };
            let again = tokio::select! {
                () = over.cancelled() => return,
                again = again => again,
            };
            match again {
                None => return,
                Some(Some(mux)) => break mux,
                Some(None) => {}
            }
            tokio::select! {
                () = over.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACKOFF.1);
        };
    }
}

impl Shared {
    /// Sets the link, unless it is over.
    fn set(&self, new: Link) {
        let mut new = Some(new);
        self.link.send_if_modified(|link| {
            let open = !matches!(link, Link::Over(_));
            if let (true, Some(new)) = (open, new.take()) {
                *link = new;
            }
            open
        });
        if let Some(Link::Up(session)) = new {
            session.mux.shutdown();
        }
    }
}
