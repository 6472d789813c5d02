//! What the streams and sockets of one instance share: the [`Mux`], and who waits for it.

use super::config::Config;
use super::handle::UdxStream;
use super::mux::{Mux, NumberTaken};
use super::path::SocketId;
use super::socket::{self, Datagrams, UdxSocket};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;
use tokio::sync::Notify;

/// Who waits for a stream.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    pub(super) read: Option<Waker>,
    pub(super) write: Option<Waker>,
    /// For anything else.
    pub(super) other: Arc<Notify>,
}

/// Everything that is changed under the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) mux: Mux,
    pub(super) waiters: HashMap<u32, Waiters>,
    /// The task of each socket, while it waits.
    pub(super) tasks: HashMap<SocketId, Waker>,
    next_socket: u32,
    /// Told when nothing is left to be sent by those who are to be silent.
    pub(super) quiet: Arc<Notify>,
    /// How many datagrams were given to the system.
    pub(super) sent: Arc<AtomicU64>,
}

/// What all of an instance share.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<State>);

impl Shared {
    /// Changes something, and wakes whoever that concerns.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.lock();
        let result = change(&mut state);
        let mut wakers = Vec::new();
        let mut others = Vec::new();
        state.collect(&mut wakers, &mut others);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        others.into_iter().for_each(|other| other.notify_waiters());
        result
    }
}

impl State {
    fn collect(&mut self, wakers: &mut Vec<Waker>, others: &mut Vec<Arc<Notify>>) {
        while let Some(socket) = self.mux.poll_woken() {
            wakers.extend(self.tasks.remove(&socket));
        }
        if self.mux.is_silent() && self.mux.is_quiet() {
            others.push(Arc::clone(&self.quiet));
        }
        while let Some((id, happened)) = self.mux.poll() {
            let Some(waiters) = self.waiters.get_mut(&id) else { continue };
            if happened.readable {
                wakers.extend(waiters.read.take());
            }
            if happened.writable || happened.connected {
                wakers.extend(waiters.write.take());
            }
            let other = happened.message
                || happened.acknowledged
                || happened.closed
                || happened.connected
                || happened.remote_changed;
            if other {
                others.push(Arc::clone(&waiters.other));
            }
        }
    }
}

/// Streams and sockets that know of each other: a stream is on one of the sockets, and may
/// move to another.
#[derive(Clone, Debug, Default)]
pub struct Udx {
    pub(super) shared: Arc<Shared>,
}

impl Udx {
    /// No sockets and no streams yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a socket: an address of `[::]` takes IPv4 as well. Also gives what comes by it
    /// that is for no stream.
    ///
    /// # Panics
    /// Outside of tokio.
    pub fn bind(&self, address: SocketAddr) -> io::Result<(UdxSocket, Datagrams)> {
        let id = self.shared.with(|state| {
            let id = SocketId(state.next_socket);
            state.next_socket = state.next_socket.wrapping_add(1);
            id
        });
        socket::bind(&self.shared, id, address)
    }

    /// A stream with a number that no other has, chosen at random.
    pub fn stream(&self, config: Config) -> io::Result<UdxStream> {
        let config = Arc::new(config);
        loop {
            let id = getrandom::u32().map_err(io::Error::other)?;
            if let Ok(stream) = self.open(id, Arc::clone(&config)) {
                return Ok(stream);
            }
        }
    }

    /// A stream with this number.
    pub fn stream_with_id(&self, id: u32, config: Config) -> Result<UdxStream, NumberTaken> {
        self.open(id, Arc::new(config))
    }

    fn open(&self, id: u32, config: Arc<Config>) -> Result<UdxStream, NumberTaken> {
        let other = self.shared.with(|state| {
            state.mux.open(now(), id, config)?;
            let waiters = Waiters::default();
            let other = Arc::clone(&waiters.other);
            state.waiters.insert(id, waiters);
            Ok(other)
        })?;
        Ok(UdxStream::new(Arc::clone(&self.shared), id, other))
    }

    /// Gives up all streams, tells their peers, and then sends nothing any more, whoever wants
    /// it, until it is [resumed](Self::resume). The sockets stay bound. Returns when the last
    /// datagram has left, or if it is resumed before.
    pub async fn suspend(&self) {
        let quiet = self.shared.with(|state| {
            state.mux.silence();
            Arc::clone(&state.quiet)
        });
        loop {
            let mut notified = pin!(quiet.notified());
            // From here on, nothing is missed.
            notified.as_mut().enable();
            if self.shared.with(|state| !state.mux.is_silent() || state.mux.is_quiet()) {
                return;
            }
            notified.await;
        }
    }

    /// May send again.
    pub fn resume(&self) {
        self.shared.with(|state| {
            state.mux.speak();
            // Whoever waits for its end.
            state.quiet.notify_waiters();
        });
    }

    /// How many datagrams were given to the system so far.
    pub fn sent(&self) -> u64 {
        self.shared.with(|state| state.sent.load(Ordering::Relaxed))
    }

    /// How many streams there are, with those that nobody holds any more but whose peers may
    /// have to be answered.
    pub fn streams(&self) -> usize {
        self.shared.with(|state| state.mux.len())
    }
}

/// The time, as tokio has it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
