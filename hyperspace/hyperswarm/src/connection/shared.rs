//! What the owner, the senders and the task of a connection share.

use super::{ConnectionError, Options, Traffic};
use crate::protomux::{Event, Muxer};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The channels, and who has to be woken when they change.
pub(super) struct Shared {
    state: Mutex<State>,
    /// The task has something to do: to send, to read again, or to end.
    work: Notify,
    /// The owner has something to read.
    events: Notify,
    /// Whoever waits for room to send, or for the end.
    room: Notify,
    incoming: usize,
    outgoing: usize,
    received: AtomicU64,
    sent: AtomicU64,
}

pub(super) struct State {
    pub(super) muxer: Muxer,
    /// The task found nothing to send, and is to be woken for the next frame.
    idle: bool,
    /// The task does not read, since too much waits for the owner.
    stalled: bool,
    /// Somebody waits for room.
    crowded: bool,
    /// Something has come from the other side.
    pub(super) heard: bool,
    /// An empty message is to be sent.
    pub(super) probe: bool,
    /// Our side is to be ended.
    pub(super) ending: bool,
    /// The connection is to be given up.
    pub(super) failed: Option<ConnectionError>,
    /// The task has ended.
    over: bool,
}

impl Shared {
    pub(super) fn new(options: &Options) -> Self {
        let state = State {
            muxer: Muxer::new(options.limits.clone()),
            idle: false,
            stalled: false,
            crowded: false,
            heard: false,
            probe: false,
            ending: false,
            failed: None,
            over: false,
        };
        Self {
            state: Mutex::new(state),
            work: Notify::new(),
            events: Notify::new(),
            room: Notify::new(),
            incoming: options.incoming,
            outgoing: options.outgoing,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        let (received, sent) = (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
        Traffic { received, sent }
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Changes something, and wakes the task if there is something to send now. `None` if
    /// the connection is over.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Muxer) -> T) -> Option<T> {
        let mut state = self.state.lock();
        if state.over || state.ending || state.failed.is_some() {
            return None;
        }
        let changed = change(&mut state.muxer);
        self.wake_to_send(state);
        Some(changed)
    }

    /// The same, when what is changed may let the owner have events that were held back: it
    /// may be another task's.
    pub(super) fn decide<T>(&self, change: impl FnOnce(&mut Muxer) -> T) -> Option<T> {
        let changed = self.with(change);
        self.events.notify_one();
        changed
    }

    fn wake_to_send(&self, mut state: MutexGuard<'_, State>) {
        if state.idle && state.muxer.has_outgoing() {
            state.idle = false;
            drop(state);
            self.work.notify_one();
        }
    }

    pub(super) fn has_heard(&self) -> bool {
        self.state.lock().heard
    }

    pub(super) fn keep_alive(&self) {
        self.state.lock().probe = true;
        self.work.notify_one();
    }

    // For the owner.

    pub(super) fn try_next(&self) -> Option<Event> {
        let mut state = self.state.lock();
        let polled = state.muxer.poll();
        let mut wake = false;
        if state.stalled && state.muxer.incoming_bytes() <= self.incoming / 2 {
            state.stalled = false;
            wake = true;
        }
        let event = polled.unwrap_or_else(|error| {
            state.failed.get_or_insert(error.into());
            wake = true;
            None
        });
        if wake {
            self.work.notify_one();
        }
        self.wake_to_send(state);
        event
    }

    pub(super) async fn next(&self) -> Option<Event> {
        loop {
            // Before looking: what comes after that, leaves a permit.
            let notified = self.events.notified();
            let over = self.is_over();
            match self.try_next() {
                None if !over => notified.await,
                event => return event,
            }
        }
    }

    // For the senders.

    pub(super) fn is_over(&self) -> bool {
        self.state.lock().over
    }

    pub(super) fn error(&self) -> Option<ConnectionError> {
        self.state.lock().failed.clone()
    }

    pub(super) fn is_full(&self) -> bool {
        self.state.lock().muxer.outgoing_bytes() >= self.outgoing
    }

    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ending = true;
        state.muxer.pull_corks();
        drop(state);
        self.work.notify_one();
    }

    pub(super) fn fail(&self, error: ConnectionError) {
        self.state.lock().failed.get_or_insert(error);
        self.work.notify_one();
    }

    /// Waits for the state to satisfy `enough`.
    pub(super) async fn wait_until(&self, mut enough: impl FnMut(&mut State) -> bool) {
        loop {
            let mut notified = std::pin::pin!(self.room.notified());
            notified.as_mut().enable();
            if enough(&mut self.state.lock()) {
                return;
            }
            notified.await;
        }
    }

    /// Waits until less waits to be sent than the high-water mark, or the connection is over.
    pub(super) async fn room(&self) {
        let most = self.outgoing;
        self.wait_until(|state| {
            let enough = state.over || state.muxer.outgoing_bytes() < most;
            state.crowded |= !enough;
            enough
        })
        .await;
    }

    pub(super) async fn closed(&self) {
        self.wait_until(|state| state.over).await;
    }

    // For the task.

    pub(super) fn work(&self) -> &Notify {
        &self.work
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Wakes whoever waits for room, if there is enough.
    pub(super) fn make_room(&self, state: &mut State) {
        if state.crowded && state.muxer.outgoing_bytes() <= self.outgoing / 2 {
            state.crowded = false;
            self.room.notify_waiters();
        }
    }

    /// Hands frames over to the owner.
    pub(super) fn deliver(&self, frames: impl Iterator<Item = Bytes>) {
        let mut state = self.state.lock();
        if state.ending {
            return;
        }
        frames.for_each(|frame| state.muxer.receive(frame));
        drop(state);
        self.events.notify_one();
    }

    /// May more be read? If not, the task is woken when it may.
    pub(super) fn may_read(&self) -> bool {
        let mut state = self.state.lock();
        state.stalled = !state.ending && state.muxer.incoming_bytes() >= self.incoming;
        !state.stalled
    }

    pub(super) fn finish(&self, error: Option<ConnectionError>) {
        let mut state = self.state.lock();
        state.over = true;
        if let Some(error) = error {
            state.failed.get_or_insert(error);
        }
        drop(state);
        self.events.notify_one();
        self.room.notify_waiters();
    }
}

impl State {
    /// Nothing is left to be sent: the task is to be woken when there is.
    pub(super) fn rest(&mut self) {
        self.idle = true;
    }
}
