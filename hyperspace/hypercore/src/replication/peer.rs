//! One peer that has a core open: what it told us, what we told it, what it owes us.

use super::have::RemoteHave;
use super::replicator::DemandId;
use super::wants::RemoteWants;
use super::window::Window;
use super::wire::{RequestMessage, Sync};
use hyperspace_api::Traffic;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Names a peer of one core.
pub type PeerId = u64;

/// Requests that a peer may refuse, in excess of what it answers, before it is asked no
/// more.
const MAX_REFUSALS: u32 = 64;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A block, for whoever wants it.
    Block(u64),
    /// A longer tree, and nothing else.
    Upgrade,
    /// The way to a byte.
    Seek(DemandId),
    /// Another history.
    Reorg,
    /// The manifest alone.
    Manifest,
    /// Whether it has another history than ours.
    Conflict,
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// As it was sent.
    pub message: RequestMessage,
    /// What for.
    pub purpose: Purpose,
    /// When.
    pub sent: Instant,
    /// Did the peer claim to have what was asked for?
    pub promised: bool,
}

/// Where the search through a range goes on for a peer.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Of the range, when the search began.
    pub epoch: u64,
    /// The next block to look at; `None` when there is nothing more.
    pub next: Option<u64>,
    /// Blocks before it that are still to be looked at, after a start in the middle.
    pub wrap: Option<u64>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Peer {
    /// Does it understand seeks?
    pub seeks: bool,
    /// When it opened the channel.
    pub since: Instant,
    /// What it told last.
    pub remote: Option<Sync>,
    /// Which blocks it has.
    pub have: RemoteHave,
    /// Goes up when it may have blocks that it had not.
    pub have_epoch: u64,
    /// Which blocks it wants to hear about.
    pub wants: RemoteWants,
    /// What we told it last.
    pub sent: Option<Sync>,
    /// Can we prove to it how its tree grows to ours?
    pub can_upgrade: bool,
    /// It was told that we have everything below.
    pub told_contiguous: u64,
    /// What it owes us.
    pub in_flight: HashMap<u64, InFlight>,
    /// How much that may be.
    pub window: Window,
    /// Was it asked for the manifest alone?
    pub asked_manifest: bool,
    /// What it has sent that did not hold, until it is known whether it lies, or has another
    /// history.
    pub suspected: Option<(Instant, String)>,
    /// Histories that it has sent unasked.
    pub testimonies: u8,
    /// Where in which range.
    pub positions: HashMap<DemandId, Position>,
    /// Blocks that it may send although we did not ask for them.
    pub invited: u64,
    /// Blocks that came from it.
    pub downloaded: Traffic,
    /// Its extension messages with an empty name are about this one.
    pub last_extension: String,
    /// When it last gave an answer, or was asked while owing nothing.
    pub heard: Instant,
    /// Since when it wants nothing of us.
    pub unwanted: Option<Instant>,
    next_request: u64,
    refusals: u32,
}

impl Peer {
    /// A peer that has just opened the core.
    pub fn new(now: Instant, seeks: bool) -> Self {
        Self {
            seeks,
            since: now,
            remote: None,
            have: RemoteHave::default(),
            have_epoch: 0,
            wants: RemoteWants::default(),
            sent: None,
            can_upgrade: true,
            told_contiguous: 0,
            in_flight: HashMap::new(),
            window: Window::default(),
            asked_manifest: false,
            suspected: None,
            testimonies: 0,
            positions: HashMap::new(),
            invited: 0,
            downloaded: Traffic::default(),
            last_extension: String::new(),
            heard: now,
            unwanted: None,
            next_request: 1,
            refusals: 0,
        }
    }

    /// A number for the next request. Never used again, so that a late answer to a request
    /// that was taken back is not mistaken for another's.
    pub fn next_id(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request - 1
    }

    /// Its length, if it has that fork.
    pub fn length(&self, fork: u64) -> u64 {
        self.remote.filter(|remote| remote.fork == fork).map_or(0, |remote| remote.length)
    }

    /// Is there room for another request?
    pub fn has_room(&self, urgent: bool) -> bool {
        let extra = if urgent { 16 } else { 0 };
        self.in_flight.len() < self.window.requests() + extra
    }

    /// May it be asked at all?
    pub fn is_useful(&self) -> bool {
        self.refusals < MAX_REFUSALS
            && self.suspected.is_none()
            && self.remote.is_some_and(|remote| remote.uploading)
    }

    /// It did not give what it had to give.
    pub fn refused(&mut self) {
        self.refusals += 1;
    }

    /// It gave what was asked for.
    pub fn delivered(&mut self, now: Instant) {
        self.refusals = self.refusals.saturating_sub(1);
        self.heard = now;
    }

    /// How long an answer takes, for telling whether one is overdue.
    pub fn patience(&self) -> Duration {
        self.window.rtt().map_or(Duration::from_secs(1), |rtt| rtt * 2 + Duration::from_millis(20))
    }

    /// Does it owe us answers, and has given none for long?
    pub fn is_stalled(&self, now: Instant) -> bool {
        !self.in_flight.is_empty()
            && now.saturating_duration_since(self.heard) > (self.patience() * 4).max(Duration::from_secs(2))
    }
}
