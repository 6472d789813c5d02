//! One core and all its peers: decides whom to ask for what, and what to make of the answers.
//!
//! A [`Replicator`] has no sockets, no threads and no clock. It is told what happens (a peer
//! came, sent something, left; somebody wants a block; the core has changed), each time with
//! the present moment, and hands out [`Action`]s. [`settle`](Replicator::settle) does the
//! work that takes time: it checks and stores everything that came since it was called last,
//! with one commit, and asks for more. Call it where it may take its time.

mod action;
mod announce;
mod arrive;
mod conflict;
mod consult;
mod demand;
mod flights;
mod reorg;
mod seek;
mod select;
mod sync;
mod timing;
mod wanting;

pub use action::{Action, Work};
pub use demand::{Demand, DemandId, Outcome};

use super::peer::{InFlight, Peer, PeerId};
use super::wire::{Message, Sync};
use crate::core::LocalCore;
use demand::Demands;
use hyperspace_api::Traffic;
use reorg::Reorging;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Bytes that all peers of a core together may owe us.
const MAX_IN_FLIGHT: u64 = 32 << 20;

/// How long a channel stays open of which neither side wants anything.
const UNWANTED: Duration = Duration::from_secs(2);

/// How long storing is not tried again after it failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How a core is replicated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Take blocks that we did not ask for.
    pub allow_push: bool,
    /// What chance goes by.
    pub seed: u64,
}

/// The moment, and the core.
#[derive(Clone, Copy)]
struct Cx<'a> {
    now: Instant,
    core: &'a LocalCore,
}

/// Those whom a block was asked of: their requests.
type Flight = Vec<(PeerId, u64)>;

/// What came in and is not checked yet.
struct Arrived {
    peer: PeerId,
    flight: InFlight,
    data: Box<super::wire::DataMessage>,
}

/// What we last looked at of the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Local {
    fork: u64,
    /// As peers may see it.
    length: u64,
    has_manifest: bool,
}

/// See the module's text.
pub struct Replicator {
    options: Options,
    peers: BTreeMap<PeerId, Peer>,
    /// Those that may open the core, and since when.
    expected: BTreeMap<PeerId, Instant>,
    demands: Demands,
    /// Blocks that were asked for.
    flights: HashMap<u64, Flight>,
    /// The same, oldest first; and some that are no more.
    oldest: VecDeque<(Instant, u64)>,
    /// Who was asked for a longer tree.
    upgrade: Option<(PeerId, u64)>,
    reorg: Option<Reorging>,
    arrived: Vec<Arrived>,
    actions: VecDeque<Action>,
    local: Local,
    /// Goes up whenever what we have changes.
    version: u64,
    /// Does somebody follow the core for as long as it grows?
    followed: bool,
    /// Might more peers come soon?
    hopes: bool,
    linger: Option<Instant>,
    /// No requests before then.
    pause: Option<Instant>,
    flushing: bool,
    /// Peers that are greeted when that is done.
    ungreeted: Vec<PeerId>,
    downloaded: Traffic,
    random: u64,
    lies: u64,
}

impl Replicator {
    /// For a core without peers.
    pub fn new(core: &LocalCore, options: Options) -> Self {
        let mut replicator = Self {
            options,
            peers: BTreeMap::new(),
            expected: BTreeMap::new(),
            demands: Demands::default(),
            flights: HashMap::new(),
            oldest: VecDeque::new(),
            upgrade: None,
            reorg: None,
            arrived: Vec::new(),
            actions: VecDeque::new(),
            local: Local::default(),
            version: 1,
            followed: false,
            hopes: false,
            linger: None,
            pause: None,
            flushing: false,
            ungreeted: Vec::new(),
            downloaded: Traffic::default(),
            // Neighbouring seeds have to lead apart.
            random: (options.seed.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            lies: 0,
        };
        replicator.look(core);
        replicator
    }

    /// We have opened the core with somebody who may do so, too.
    pub fn expect(&mut self, now: Instant, peer: PeerId) {
        self.expected.insert(peer, now);
    }

    /// A peer has opened the core, and so have we.
    pub fn connect(&mut self, now: Instant, core: &LocalCore, peer: PeerId, seeks: bool) {
        self.expected.remove(&peer);
        if core.is_frozen() {
            // Nothing more is to be said about it.
            return;
        }
        self.peers.insert(peer, Peer::new(now, seeks));
        let cx = Cx { now, core };
        self.refresh(cx);
        if self.flushing {
            // What it is told first should be all there is: it may be asking for just that.
            self.ungreeted.push(peer);
        } else {
            self.greet(cx, peer);
        }
    }

    /// A peer is gone.
    pub fn disconnect(&mut self, now: Instant, core: &LocalCore, peer: PeerId) {
        // What it gave is no worse for that.
        self.store(Cx { now, core });
        let awaited = self.expected.remove(&peer).is_some();
        let Some(gone) = self.peers.remove(&peer) else {
            if awaited {
                self.work(Cx { now, core });
            }
            return;
        };
        for (id, flight) in gone.in_flight {
            self.lost(peer, id, &flight);
        }
        for block in self.demands.blocks.values_mut() {
            block.lacking.retain(|lacking| *lacking != peer);
        }
        self.work(Cx { now, core });
    }

    /// A peer has sent something. What takes long is put off until [`settle`](Self::settle).
    pub fn receive(&mut self, now: Instant, core: &LocalCore, peer: PeerId, message: Message) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        match message {
            Message::Sync(sync) => self.synced(Cx { now, core }, peer, sync),
            Message::Request(request) => self.serve(peer, Work::Request(request)),
            Message::Cancel { request } => self.serve(peer, Work::Cancel(request)),
            Message::Want(want) => {
                if state.wants.add(want, self.version) {
                    self.serve(peer, Work::Want(want));
                }
            }
            Message::Unwant(want) => state.wants.remove(&want),
            Message::Bitfield(bitfield) => {
                state.have.bitfield(&bitfield);
                state.have_epoch += 1;
            }
            Message::Range(range) => {
                state.have.range(&range);
                state.have_epoch += u64::from(!range.drop);
            }
            Message::Data(data) => self.arrived(now, peer, data),
            Message::NoData(no_data) => self.refused(peer, no_data),
            Message::Extension { name, payload } => {
                if !name.is_empty() {
                    state.last_extension.clone_from(&name);
                }
                let name = state.last_extension.clone();
                if !name.is_empty() {
                    self.actions.push_back(Action::Extension { peer, name, payload });
                }
            }
        }
    }

    /// Checks and stores what came, and asks for more.
    pub fn settle(&mut self, now: Instant, core: &LocalCore) {
        let cx = Cx { now, core };
        self.store(cx);
        self.work(cx);
    }

    /// Bytes that came in and are not stored yet.
    pub fn unsettled(&self) -> usize {
        self.arrived.len()
    }

    /// Follows the core: gets every longer tree that a peer has. Or stops that.
    pub fn follow(&mut self, now: Instant, core: &LocalCore, follow: bool) {
        self.followed = follow;
        self.work(Cx { now, core });
    }

    /// Might further peers come soon (a lookup is under way, a channel is being opened)?
    /// While that is so, nothing is called unavailable.
    pub fn set_hopes(&mut self, now: Instant, core: &LocalCore, hopes: bool) {
        if self.hopes != hopes {
            self.hopes = hopes;
            self.work(Cx { now, core });
        }
    }

    /// The core was changed: appended to, truncated.
    pub fn changed(&mut self, now: Instant, core: &LocalCore) {
        self.work(Cx { now, core });
    }

    /// [`Action::Flush`] is done.
    pub fn flushed(&mut self, now: Instant, core: &LocalCore) {
        self.flushing = false;
        let cx = Cx { now, core };
        self.refresh(cx);
        for peer in std::mem::take(&mut self.ungreeted) {
            if self.peers.contains_key(&peer) {
                self.greet(cx, peer);
            }
        }
        self.work(cx);
    }

    /// What a peer told last of its state.
    pub fn remote(&self, peer: PeerId) -> Option<Sync> {
        self.peers.get(&peer)?.remote
    }

    /// The peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// What came from a peer, and how much it is asked for at a time.
    pub fn peer(&self, peer: PeerId) -> Option<(Traffic, usize)> {
        self.peers.get(&peer).map(|peer| (peer.downloaded, peer.window.requests()))
    }

    /// Blocks that came from all peers there ever were.
    pub fn downloaded(&self) -> Traffic {
        self.downloaded
    }

    /// Peers that lied.
    pub fn lies(&self) -> u64 {
        self.lies
    }

    /// Is there nothing to keep it for?
    pub fn is_idle(&self) -> bool {
        self.peers.is_empty() && self.expected.is_empty() && !self.is_wanted()
    }

    /// Everything that has to be looked at after anything has happened.
    fn work(&mut self, cx: Cx<'_>) {
        self.refresh(cx);
        self.fulfil(cx);
        self.fill(cx);
        self.give_up(cx);
        self.linger(cx.now);
        self.tell_state(cx);
    }

    /// Cuts a peer off. What it owes us is asked of others.
    fn ban(&mut self, cx: Cx<'_>, peer: PeerId, reason: String) {
        self.lies += 1;
        self.actions.push_back(Action::Ban { peer, reason });
        self.disconnect(cx.now, cx.core, peer);
    }

    /// A number below `bound`.
    fn chance(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound.max(1)
    }
}
