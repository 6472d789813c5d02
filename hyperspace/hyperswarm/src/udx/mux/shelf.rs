//! What there is to do at one socket.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

/// Datagrams of others that wait to be passed on: what exceeds this is lost.
const PASSING: usize = 512 << 10;
/// What keeping one costs, beside its bytes.
const COST: usize = 64;

/// What there is to do at one socket.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Streams that may have something to send.
    pub(super) queue: VecDeque<u32>,
    /// How many streams are here.
    pub(super) streams: usize,
    /// Something was taken from here, and may not have been sent yet.
    pub(super) sending: bool,
    deadlines: BTreeSet<(Instant, u32)>,
    passing: VecDeque<(SocketAddr, Vec<u8>)>,
    held: usize,
}

impl Shelf {
    /// Adds a deadline. Whether none is earlier.
    pub(super) fn add_deadline(&mut self, at: Instant, id: u32) -> bool {
        self.deadlines.insert((at, id));
        self.deadlines.first() == Some(&(at, id))
    }

    pub(super) fn remove_deadline(&mut self, at: Instant, id: u32) {
        self.deadlines.remove(&(at, id));
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Takes a stream for which something is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u32> {
        let first = *self.deadlines.first()?;
        (first.0 <= now).then(|| {
            self.deadlines.remove(&first);
            first.1
        })
    }

    /// Adds a datagram that is passed on. Whether it is the only one.
    pub(super) fn pass(&mut self, remote: SocketAddr, datagram: Vec<u8>) -> bool {
        let cost = datagram.len() + COST;
        if self.held + cost > PASSING {
            return false;
        }
        self.held += cost;
        self.passing.push_back((remote, datagram));
        self.passing.len() == 1
    }

    /// What is passed on is as if lost on the way.
    pub(super) fn forget_passing(&mut self) {
        self.passing.clear();
        self.held = 0;
    }

    pub(super) fn take_passing(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let (remote, datagram) = self.passing.pop_front()?;
        self.held -= datagram.len() + COST;
        Some((remote, datagram))
    }
}
