//! One HRPC connection: many calls at a time over one stream.
//!
//! A call takes an id from the [`slots`], queues its frame in the [`outbox`] and
//! waits. Who writes and who reads is decided by [`io`]: usually one task, but a
//! caller that is alone does both itself, since waking another thread costs more
//! than the call. Replies are taken in by the batch.
//!
//! Bounds: [`Limits`]. A peer that sends what is not HRPC ends the connection and
//! nothing else.

mod io;
mod outbox;
mod slots;
pub(crate) mod socket;

pub(crate) use outbox::{BY_REFERENCE, Outbox};
pub(crate) use slots::{Completion, Farewell, Outcome};

use crate::error::from_rpc;
use bytes::{Bytes, BytesMut};
use hyperspace_api::CoreError;
use hyperspace_schema::frame::{self, Decoder, Frame, Kind};
use hyperspace_schema::messages::RpcError;
use hyperspace_schema::methods::{Event, Method};
use parking_lot::{Mutex, MutexGuard};
use prost::Message;
use slots::{Action, Slots};
use socket::Socket;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;
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

/// What only the thread that holds the [`Role`] touches.
struct Reader {
    scratch: Vec<u8>,
    input: BytesMut,
    decoder: Decoder,
    batch: Vec<(Frame, Outcome)>,
    actions: Vec<Action>,
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

/// Bytes taken from the socket with one read.
const READ: usize = 256 * 1024;

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
            reader: Mutex::new(Reader {
                scratch: vec![0; READ],
                input: BytesMut::new(),
                decoder: Decoder::new(limits.max_frame),
                batch: Vec::new(),
                actions: Vec::new(),
            }),
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

    /// Calls `M` and waits for its answer. Dropping the future gives up, and says
    /// `farewell`. `slow` calls usually wait for something other than the server.
    pub async fn call<M: Method>(
        self: &Arc<Self>,
        request: &M::Request,
        farewell: Option<Farewell>,
        slow: bool,
    ) -> Result<M::Response, CallError> {
        let encode = |out: &mut Outbox, id| out.push(|to| frame::request::<M>(to, id, request));
        self.call_with::<M>(farewell, slow, encode).await
    }

    /// [`call`](Self::call) with the frame written by `encode`.
    pub async fn call_with<M: Method>(
        self: &Arc<Self>,
        farewell: Option<Farewell>,
        slow: bool,
        encode: impl FnOnce(&mut Outbox, u64),
    ) -> Result<M::Response, CallError> {
        self.admit().await;
        let pending = self.begin(M::SERVICE, M::METHOD, farewell, slow, encode)?;
        match pending.await {
            Outcome::Reply(payload) => M::Response::decode(payload).map_err(|error| {
                self.die(format!("the server's answer to {} cannot be read: {error}", M::NAME));
                CallError::Lost
            }),
            Outcome::Failed(payload) => match RpcError::decode(payload) {
                Ok(error) => Err(CallError::Refused(from_rpc(error))),
                Err(error) => {
                    self.die(format!("the server's error cannot be read: {error}"));
                    Err(CallError::Lost)
                }
            },
            Outcome::Lost => Err(CallError::Lost),
        }
    }

    /// Waits until one more call is within the [`Limits`].
    async fn admit(&self) {
        loop {
            if self.has_room(&self.state.lock()) {
                return;
            }
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.has_room(&self.state.lock()) {
                return;
            }
            room.await;
        }
    }

    fn has_room(&self, state: &State) -> bool {
        state.dead.is_some()
            || (state.slots.in_flight() < self.limits.max_in_flight
                && state.out.queued() <= self.limits.max_queued)
    }

    fn begin(
        self: &Arc<Self>,
        service: u64,
        method: u64,
        farewell: Option<Farewell>,
        slow: bool,
        encode: impl FnOnce(&mut Outbox, u64),
    ) -> Result<Pending, CallError> {
        let mut state = self.state.lock();
        if state.dead.is_some() {
            return Err(CallError::Lost);
        }
        let id = state.slots.insert(service, method, slow);
        encode(&mut state.out, id);
        let alone = !slow && state.slots.quick() == 1;
        if alone {
            state.slots.start_clock(id, Instant::now());
        }
        let pending = Pending { mux: self.clone(), id, farewell, ended: false };
        self.send(state, if alone { io::Made::Alone(id) } else { io::Made::Among });
        Ok(pending)
    }

    /// Makes calls whose outcomes `to` gets, as many as are possible without waiting;
    /// returns how many.
    pub fn call_later<M: Method>(
        &self,
        requests: impl Iterator<Item = (M::Request, [u64; 2])>,
        to: &Weak<dyn Completion>,
    ) -> usize {
        let mut state = self.state.lock();
        let mut made = 0;
        for (request, token) in requests {
            if state.dead.is_some() || !self.has_room(&state) {
                break;
            }
            let id = state.slots.insert_callback(M::SERVICE, M::METHOD, to.clone(), token);
            state.out.push(|out| frame::request::<M>(out, id, &request));
            made += 1;
        }
        if made > 0 {
            self.send(state, io::Made::Last);
        }
        made
    }

    /// Calls `M` without wanting an answer.
    pub fn tell<M: Method>(&self, request: &M::Request) {
        self.tell_with(|out| frame::request::<M>(out, 0, request));
    }

    fn tell_with(&self, encode: impl FnOnce(&mut BytesMut)) {
        let mut state = self.state.lock();
        if state.dead.is_none() {
            state.out.push(encode);
            self.send(state, io::Made::Among);
        }
    }

    fn say(&self, farewell: Farewell) {
        self.tell_with(|out| (farewell.encode)(out, farewell.args));
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

    /// Reads once, and hands out what came. `None`: nothing there.
    fn read(&self, reader: &mut Reader) -> Option<()> {
        use std::io::ErrorKind::{Interrupted, WouldBlock};
        let read = match self.socket.read(&mut reader.scratch) {
            Ok(0) if reader.input.is_empty() => Err("the server closed the connection".to_owned()),
            Ok(0) => Err("the server closed the connection within a message".to_owned()),
            Ok(read) => Ok(read),
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => return None,
            Err(error) => Err(format!("the connection failed: {error}")),
        };
        let taken = read.and_then(|read| {
            reader.input.extend_from_slice(&reader.scratch[..read]);
            self.take_in(reader)
        });
        if let Err(reason) = taken {
            self.die(reason);
        }
        Some(())
    }

    fn take_in(&self, reader: &mut Reader) -> Result<(), String> {
        let garbage = |error: &dyn std::fmt::Display| format!("the server does not speak HRPC: {error}");
        while let Some(frame) = reader.decoder.next(&mut reader.input).map_err(|e| garbage(&e))? {
            match frame.kind {
                Kind::Response | Kind::Error => {
                    let outcome = if frame.kind == Kind::Response { Outcome::Reply } else { Outcome::Failed };
                    let outcome = outcome(frame.payload.clone());
                    reader.batch.push((frame, outcome));
                }
                Kind::Request => {
                    self.settle(reader).map_err(|e| garbage(&e))?;
                    match Event::decode(frame.service, frame.method, frame.payload) {
                        Ok(event) => (self.events)(event),
                        // A newer server may have events that we do not know.
                        Err(hyperspace_schema::methods::DecodeError::UnknownMethod { .. }) => {}
                        Err(error) => return Err(garbage(&error)),
                    }
                    if frame.id != 0 {
                        let (service, method, id) = (frame.service, frame.method, frame.id);
                        self.tell_with(|out| {
                            let nothing = hyperspace_schema::messages::Void {};
                            frame::encode(out, Kind::Response, service, method, id, &nothing);
                        });
                    }
                }
                Kind::Unassigned => {}
            }
        }
        self.settle(reader).map_err(|e| garbage(&e))
    }

    /// Hands out the replies of a batch under one lock.
    fn settle(&self, reader: &mut Reader) -> Result<(), slots::Unasked> {
        if reader.batch.is_empty() {
            return Ok(());
        }
        let mut failure = None;
        {
            let mut state = self.state.lock();
            if state.dead.is_some() {
                reader.batch.clear();
                return Ok(());
            }
            let crowded = !self.has_room(&state);
            for (frame, outcome) in reader.batch.drain(..) {
                match state.slots.settle(frame.id, frame.service, frame.method, outcome) {
                    Ok((action, started)) => {
                        if let Some(started) = started {
                            state.rhythm.answered(started.elapsed());
                        }
                        reader.actions.push(action);
                    }
                    Err(unasked) => failure = failure.or(Some(unasked)),
                }
            }
            if crowded && self.has_room(&state) {
                self.room.notify_waiters();
            }
        }
        for action in reader.actions.drain(..) {
            self.act(action);
        }
        failure.map_or(Ok(()), Err)
    }
}

/// A call that was made.
struct Pending {
    mux: Arc<Mux>,
    id: u64,
    farewell: Option<Farewell>,
    ended: bool,
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = self.mux.state.lock().slots.poll(self.id, context.waker());
        match outcome {
            Some(outcome) => {
                self.ended = true;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.mux.state.lock();
        let (say, later) = match self.farewell {
            Some(farewell) if farewell.after_reply => {
                if state.slots.was_granted(self.id) {
                    (Some(farewell), None)
                } else {
                    (None, Some(farewell))
                }
            }
            now => (now, None),
        };
        let granted = state.slots.was_granted(self.id);
        let in_flight = state.slots.abandon(self.id, later);
        drop(state);
        if let Some(farewell) = say
            && (in_flight || (granted && farewell.after_reply))
        {
            self.mux.say(farewell);
        }
    }
}

/// The payload of a reply that lives longer than the read buffer it came in: small
/// ones are copied, so that a few bytes never hold a whole buffer.
pub(crate) fn unshare(block: Bytes) -> Bytes {
    if block.len() <= 16 * 1024 { Bytes::copy_from_slice(&block) } else { block }
}
