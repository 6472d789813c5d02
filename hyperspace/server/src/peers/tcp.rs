//! Listening, and calling.

use super::connection::Ended;
use super::{ANSWER, Inner, MAX_ADDRESSES, RETURN};
use crate::networker::PeerAddress;
use hyperspace_api::{CoreError, Key};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

const KIND: &str = "tcp";
/// How long a call may ring.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before an address is called again, and the longest one: it doubles while calls
/// fail.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// A connection that lasted so long was a good one: that it broke says nothing of the next.
const LASTED: Duration = Duration::from_secs(1);
/// The pause after a caller could not be taken, since the system has no more descriptors:
/// no event tells when it has.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// An address that is called until this is dropped.
pub(super) struct Called {
    state: watch::Receiver<State>,
    stop: CancellationToken,
}

/// How the calls of an address go.
#[derive(Clone)]
enum State {
    /// The first one is under way.
    First {
        since: Instant,
    },
    Connected(Key),
    /// It was until then, and is called again.
    Lost {
        since: Instant,
        error: String,
    },
    Failed(String),
}

impl State {
    fn is_tried(&self) -> bool {
        !matches!(self, Self::First { .. })
    }

    /// Until when somebody may be there soon.
    fn hope(&self) -> Option<Instant> {
        match self {
            Self::First { since } => Some(*since + ANSWER),
            Self::Lost { since, .. } => Some(*since + RETURN),
            Self::Connected(_) | Self::Failed(_) => None,
        }
    }

    fn is_hopeful(&self) -> bool {
        self.hope().is_some_and(|until| Instant::now() < until)
    }
}

impl Called {
    pub(super) fn describe(&self, address: &str) -> PeerAddress {
        let (connected, error) = match self.state.borrow().clone() {
            State::First { .. } => (None, None),
            State::Connected(key) => (Some(key), None),
            State::Lost { error, .. } | State::Failed(error) => (None, Some(error)),
        };
        PeerAddress { address: address.to_owned(), connected, error }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Inner {
    /// Takes calls, for ever.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a peer's call");
                    sleep(EXHAUSTED).await;
                    continue;
                }
            };
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                tracing::warn!(%address, "too many connections: a peer is turned away");
                continue;
            };
            let (inner, stop) = (self.clone(), self.stop.clone());
            self.tasks.spawn(stop.run_until_cancelled_owned(async move {
                let _place = place;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
                let ended = inner.run(stream, false, KIND, address.to_string(), |_| {}, || {}).await;
                if let Err(error) = ended {
                    tracing::debug!(%address, %error, "a call came to nothing");
                }
            }));
        }
    }

    /// Calls `address` from now on, unless it is called already.
    pub(super) fn call(self: Arc<Self>, address: &str) -> Result<(), CoreError> {
        let mut called = self.called.lock();
        if called.contains_key(address) {
            return Ok(());
        }
        if called.len() >= MAX_ADDRESSES {
            return Err(CoreError::Invalid(format!("At most {MAX_ADDRESSES} addresses can be called")));
        }
        let (tell, state) = watch::channel(State::First { since: Instant::now() });
        let hoping = state.clone();
        let stop = self.stop.child_token();
        called.insert(address.to_owned(), Called { state, stop: stop.clone() });
        drop(called);
        self.look_for_hope();
        let (inner, address) = (self.clone(), address.to_owned());
        self.tasks.spawn(stop.run_until_cancelled_owned(async move {
            tokio::join!(inner.keep_calling(&address, &tell), inner.give_up_hope(hoping));
        }));
        Ok(())
    }

    /// Looks again whenever the hope for an address may have ended by itself.
    async fn give_up_hope(&self, mut state: watch::Receiver<State>) {
        loop {
            let until = state.borrow_and_update().hope();
            let ends = async {
                match until.filter(|until| Instant::now() < *until) {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ends => self.look_for_hope(),
                changed = state.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Looks whether somebody may be there soon. Till then, nothing that only peers have is
    /// called unavailable.
    pub(super) fn look_for_hope(&self) {
        let called = self.called.lock();
        let hopeful = called.values().any(|called| called.state.borrow().is_hopeful());
        // Under that lock, so that the last word is the last to be heard.
        let mut hope = self.hope.lock();
        if hopeful != hope.is_some() {
            *hope = hopeful.then(|| self.replication.expect_peers());
        }
    }

    /// Returns when every address was called once.
    pub(super) async fn first_calls(&self) {
        let states: Vec<_> = self.called.lock().values().map(|called| called.state.clone()).collect();
        for mut state in states {
            // An error: it is no longer called.
            let _ = state.wait_for(State::is_tried).await;
        }
    }

    async fn keep_calling(&self, address: &str, state: &watch::Sender<State>) {
        let tell = |now| {
            state.send_replace(now);
            self.look_for_hope();
        };
        let mut pause = PAUSES.0;
        let mut lost: Option<Instant> = None;
        loop {
            let began = Mutex::new(None::<Instant>);
            let connected = |key| {
                *began.lock() = Some(Instant::now());
                tell(State::Connected(key));
            };
            let was_good = AtomicBool::new(false);
            let over = || {
                if began.lock().is_some_and(|began| began.elapsed() >= LASTED) {
                    was_good.store(true, Ordering::Relaxed);
                    tell(State::Lost { since: Instant::now(), error: "the peer hung up".to_owned() });
                }
            };
            let error = match self.call_once(address, connected, over).await {
                Ok(Ended::Over(None)) => "the peer hung up".to_owned(),
                Ok(Ended::Over(Some(error))) => error.to_string(),
                Ok(Ended::Ourselves) => "this is our own address".to_owned(),
                Ok(Ended::Banned) => "the peer has sent what it could not prove".to_owned(),
                Ok(Ended::Superfluous(other)) => {
                    connected(Key::from(other.remote_public_key()));
                    // Why it ends is told by whoever has it.
                    let _ = other.closed().await;
                    "the peer hung up".to_owned()
                }
                Err(error) => error.to_string(),
            };
            if was_good.load(Ordering::Relaxed) {
                pause = PAUSES.0;
                lost = Some(Instant::now());
            }
            tracing::debug!(address, error, ?pause, "calling again later");
            tell(match lost.filter(|lost| lost.elapsed() < RETURN) {
                Some(since) => State::Lost { since, error },
                None => State::Failed(error),
            });
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn call_once(
        &self,
        address: &str,
        opened: impl FnOnce(Key),
        over: impl FnOnce(),
    ) -> io::Result<Ended> {
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            return Err(io::Error::other("there are too many connections"));
        };
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let remote = stream.peer_addr().map_or_else(|_| address.to_owned(), |remote| remote.to_string());
        self.run(stream, true, KIND, remote, opened, over).await.map_err(io::Error::other)
    }
}
