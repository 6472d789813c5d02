//! Watching the blocks that come in and go out.

use crate::core::RemoteHypercore;
use crate::queue::Queue;
use crate::session::Session;
use futures::Stream;
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

/// A block that came in from a peer, or went out to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which.
    pub index: u64,
    /// Its size.
    pub byte_length: u64,
}

/// From peers, or to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Down,
    Up,
}

impl Direction {
    /// Makes the server tell, or stop telling.
    pub fn watch(self, session: &Session, id: u32, on: bool) {
        let request = m::WatchRequest { id: id.into() };
        match (self, on) {
            (Self::Down, true) => session.mux.tell::<hypercore::WatchDownloads>(&request),
            (Self::Down, false) => session.mux.tell::<hypercore::UnwatchDownloads>(&request),
            (Self::Up, true) => session.mux.tell::<hypercore::WatchUploads>(&request),
            (Self::Up, false) => session.mux.tell::<hypercore::UnwatchUploads>(&request),
        }
    }
}

/// The watches of one core.
#[derive(Default)]
pub(crate) struct Watches {
    down: Vec<Weak<Queue<Transfer>>>,
    up: Vec<Weak<Queue<Transfer>>>,
}

impl Watches {
    fn of(&mut self, direction: Direction) -> &mut Vec<Weak<Queue<Transfer>>> {
        match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        }
    }

    /// A block was transferred.
    pub fn tell(&mut self, direction: Direction, index: u64, byte_length: u64) {
        for watch in self.of(direction).iter().filter_map(Weak::upgrade) {
            watch.put(Transfer { index, byte_length });
        }
    }

    /// What the server is to tell.
    pub fn wanted(&mut self) -> Vec<Direction> {
        let mut wanted = vec![Direction::Down, Direction::Up];
        wanted.retain(|direction| !self.of(*direction).is_empty());
        wanted
    }
}

/// A stream of [`Transfer`]s; see [`RemoteHypercore::watch_downloads`]. Never ends by
/// itself. Bounded by [`crate::QUEUE`].
pub struct Watch {
    core: RemoteHypercore,
    direction: Direction,
    queue: Arc<Queue<Transfer>>,
}

impl Watch {
    pub(crate) fn new(core: RemoteHypercore, direction: Direction) -> Self {
        let queue = Arc::default();
        let first = {
            let mut watches = core.state().watches.lock();
            let watches = watches.of(direction);
            watches.push(Arc::downgrade(&queue));
            watches.len() == 1
        };
        // If it is not open at this moment, it is told to watch when it is.
        if first && let Some((session, id)) = core.state().bound_now() {
            direction.watch(&session, id, true);
        }
        Self { core, direction, queue }
    }

    /// The next block.
    pub async fn recv(&mut self) -> Transfer {
        std::future::poll_fn(|context| self.queue.poll(context)).await
    }

    /// How many were dropped because nobody took them.
    pub fn missed(&self) -> u64 {
        self.queue.missed()
    }
}

impl Stream for Watch {
    type Item = Transfer;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Transfer>> {
        self.queue.poll(context).map(Some)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let last = {
            let mut watches = self.core.state().watches.lock();
            let watches = watches.of(self.direction);
            watches.retain(|watch| watch.as_ptr() != Arc::as_ptr(&self.queue));
            watches.is_empty()
        };
        if last && let Some((session, id)) = self.core.state().bound_now() {
            self.direction.watch(&session, id, false);
        }
    }
}
