//! One HRPC connection: many calls at a time over one stream.
//!
//! A [call](calling) takes an id from the [`slots`], queues its frame in the [`outbox`] and
//! waits. Who writes and who reads is decided by [`io`]: usually one task, but a
//! caller that is alone does both itself, since waking another thread costs more
//! than the call. Replies are taken in by the batch.
//!
//! Bounds: [`Limits`]. A peer that sends what is not HRPC ends the connection and
//! nothing else.

mod calling;
mod io;
mod outbox;
mod reading;
mod slots;
pub(crate) mod socket;

pub(crate) use outbox::{BY_REFERENCE, Outbox};
pub(crate) use reading::unshare;
pub(crate) use slots::{Completion, Farewell, Outcome};

use hyperspace_api::CoreError;
use hyperspace_schema::methods::Event;
use parking_lot::{Mutex, MutexGuard};
use reading::Reader;
use slots::{Action, Slots};
use socket::Socket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// What a connection may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest frame taken from the server.
    pub max_frame: usize,
    /// Calls in flight; further ones wait their turn.
    pub max_in_flight: usize,
    /// Bytes queued for the socket; further calls wait until they are written.
    pub max_queued: usize,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The connection ended first; whether the server did it is not known.
    Lost,
    /// The server said no.
    Refused(CoreError),
}

/// Takes the server's events, in the order in which they came. Must be brief.
pub(crate) type EventSink = Box<dyn Fn(Event) + Send + Sync>;

/// Who looks after the socket at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Nobody; the I/O task sleeps until something happens.
    Nobody,
    /// The I/O task is awake.
    Task,
    /// The I/O task lets those run whom it has woken, and goes on then; one of them may
    /// take over.
    Yielding,
    /// A caller, inside its call.
    Caller,
}

struct State {
    slots: Slots,
    out: Outbox,
    /// A thread is writing; it will also write what is queued meanwhile.
    writing: bool,
    /// The socket is full; the I/O task waits until it is not.
    blocked: bool,
    /// The socket takes no more bytes, but may still have replies for us.
    mute: bool,
    role: Role,
    /// The I/O task found a caller at work, and wants to be told when it leaves.
    task_waits: bool,
    rhythm: io::Rhythm,
    /// Why the connection ended.
    dead: Option<Arc<str>>,
}

/// A connection. Ends when the peer ends it, sends garbage, or [`Mux::shutdown`].
pub(crate) struct Mux {
    socket: Arc<Socket>,
    state: Mutex<State>,
    reader: Mutex<Reader>,
    limits: Limits,
    events: EventSink,
    /// Tells the I/O task to look.
    kick: Notify,
    /// Tells callers that wait their turn to look.
    room: Notify,
    alive: AtomicBool,
    /// Told once, when the connection ends.
    ended: tokio_util::sync::CancellationToken,
}

/// With at most this many calls in flight a caller writes its own frame at once;
/// with more, frames are left to be coalesced.
const WRITE_AT_ONCE: usize = 2;

impl Mux {
    /// Takes the socket over; its I/O runs on the current tokio runtime.
    pub fn start(socket: Socket, limits: Limits, events: EventSink) -> Arc<Self> {
        let mux = Arc::new(Self {
            socket: Arc::new(socket),
            state: Mutex::new(State {
                slots: Slots::new(),
                out: Outbox::default(),
                writing: false,
                blocked: false,
                mute: false,
                role: Role::Nobody,
                task_waits: false,
                rhythm: io::Rhythm::default(),
                dead: None,
            }),
            reader: Mutex::new(Reader::new(limits.max_frame)),
            limits,
            events,
            kick: Notify::new(),
            room: Notify::new(),
            alive: AtomicBool::new(true),
            ended: tokio_util::sync::CancellationToken::new(),
        });
        tokio::spawn(io::run(mux.clone()));
        mux
    }

    fn has_room(&self, state: &State) -> bool {
        state.dead.is_some()
            || (state.slots.in_flight() < self.limits.max_in_flight
                && state.out.queued() <= self.limits.max_queued)
    }

    /// Why the connection ended, if it has.
    pub fn death(&self) -> Option<Arc<str>> {
        self.state.lock().dead.clone()
    }

    /// Has the connection not ended yet?
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Returns when the connection has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends the connection.
    pub fn shutdown(&self) {
        self.die("closed by this program".into());
    }

    fn die(&self, reason: String) {
        let actions = {
            let mut state = self.state.lock();
            if state.dead.is_some() {
                return;
            }
            state.dead = Some(reason.into());
            self.alive.store(false, Ordering::Release);
            state.out.clear();
            state.slots.lose_all()
        };
        self.socket.shutdown();
        for action in actions {
            self.act(action);
        }
        self.ended.cancel();
        self.room.notify_waiters();
        self.kick.notify_one();
    }

    fn act(&self, action: Action) {
        match action {
            Action::Nothing => {}
            Action::Wake(waker) => waker.wake(),
            Action::Complete(to, token, outcome) => {
                if let Some(to) = to.upgrade() {
                    to.complete(token, outcome);
                }
            }
            Action::Undo(farewell) => self.say(farewell),
        }
    }

    /// Writes all that is queued, and what is queued meanwhile. Whoever finds
    /// another thread at it leaves it to that thread.
    fn flush<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.writing || state.blocked || state.mute {
            return state;
        }
        let mut crowded = !self.has_room(&state);
        state.writing = true;
        while let Some(mut batch) = state.out.take() {
            let written = MutexGuard::unlocked(&mut state, || batch.write(&self.socket));
            crowded |= !self.has_room(&state);
            match written {
                Ok(true) => state.out.recycle(batch),
                Ok(false) => {
                    state.out.put_back(batch);
                    state.blocked = true;
                    self.kick.notify_one();
                    break;
                }
                // Replies may still be in the socket: reading them tells the end.
                Err(_) => {
                    state.mute = true;
                    state.out.clear();
                    self.kick.notify_one();
                    break;
                }
            }
        }
        state.writing = false;
        if crowded && self.has_room(&state) {
            self.room.notify_waiters();
        }
        state
    }
}
