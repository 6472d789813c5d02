//! What is known of one peer, and when it is its turn.

use super::config::Config;
use std::net::SocketAddrV4;
use std::time::Instant;

/// Attempts after which we do not try any more.
const MAX_ATTEMPTS: u32 = 3;

/// How soon a peer is dialled: the first attempt after a failure comes before everything,
/// the later ones come late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    VeryLow,
    Low,
    Normal,
    High,
    VeryHigh,
}

impl Priority {
    pub(super) const COUNT: usize = 5;
}

/// A peer. Topics are numbers: see [`Core`](super::Core).
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) relays: Vec<SocketAddrV4>,
    pub(super) topics: Vec<u32>,
    /// The topic that counts it among those that it has found.
    pub(super) found_by: Option<u32>,
    pub(super) priority: Priority,
    pub(super) attempts: u32,
    /// We have been connected since it was found.
    pub(super) proven: bool,
    /// We dialled the last connection.
    pub(super) client: bool,
    pub(super) explicit: bool,
    /// In the queue, since so many flushes were begun.
    pub(super) queued: Option<u64>,
    /// Among the retries, and for which of the four waits.
    pub(super) waiting: Option<usize>,
    pub(super) force_relay: bool,
    /// The last round that found it: a round gives a peer that failed one fresh start, not
    /// one for every node that tells of it.
    pub(super) round: u64,
    pub(super) connected_at: Option<Instant>,
    pub(super) disconnected_at: Option<Instant>,
    /// A good connection was lost.
    pub(super) lost_at: Option<Instant>,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            relays: Vec::new(),
            topics: Vec::new(),
            found_by: None,
            priority: Priority::Normal,
            attempts: 0,
            proven: false,
            client: false,
            explicit: false,
            queued: None,
            waiting: None,
            force_relay: false,
            round: 0,
            connected_at: None,
            disconnected_at: None,
            lost_at: None,
        }
    }

    /// Decides whether it may be queued now, and how soon it is its turn.
    pub(super) fn may_queue(&mut self) -> bool {
        if self.explicit && self.attempts > MAX_ATTEMPTS {
            self.attempts = MAX_ATTEMPTS;
        }
        if self.queued.is_some() || self.attempts > MAX_ATTEMPTS {
            return false;
        }
        self.priority = match self.attempts {
            0 => Priority::Normal,
            1 => Priority::VeryHigh,
            2 => Priority::High,
            3 => Priority::Low,
            _ => Priority::VeryLow,
        };
        true
    }

    /// It was found again: what was before does not count, if it failed, or if we have not
    /// dialled it with success.
    pub(super) fn found_again(&mut self) {
        if self.priority < Priority::Normal || !self.client {
            self.client = false;
            self.proven = false;
            self.attempts = 0;
        }
    }

    pub(super) fn connected(&mut self, now: Instant) {
        self.proven = true;
        self.client = true;
        self.connected_at = Some(now);
    }

    /// A connection that we dialled is over, or did not open.
    pub(super) fn disconnected(&mut self, now: Instant, config: &Config) {
        self.disconnected_at = Some(now);
        if let Some(at) = self.connected_at.take()
            && now.saturating_duration_since(at) >= config.stable
        {
            self.attempts = 0;
            self.lost_at = Some(now);
        }
        self.attempts += 1;
        let is_missed = self.lost_at.is_some_and(|at| now.saturating_duration_since(at) < config.patience);
        if is_missed {
            self.attempts = self.attempts.min(2);
        }
    }

    /// Which of the four waits it has to wait; `None` for ever.
    pub(super) fn backoff(&self) -> Option<usize> {
        match (self.attempts, self.proven) {
            (0, _) | (1, true) => Some(0),
            (1, false) | (2, true) => Some(1),
            (2, false) | (3, _) => Some(2),
            _ => self.explicit.then_some(3),
        }
    }

    /// Has no attempt failed since it was found, or came back?
    pub(super) fn is_new(&self) -> bool {
        self.attempts == 0
    }

    /// Is there no reason to remember it, if it is not connected?
    pub(super) fn is_idle(&self) -> bool {
        !(self.queued.is_some() || self.explicit || self.waiting.is_some())
    }
}
