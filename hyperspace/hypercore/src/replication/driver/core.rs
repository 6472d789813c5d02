//! One core that is replicated: what happens to it is queued, and worked off in turns.

mod acting;
mod traffic;
mod wanted;

pub use traffic::{CoreTraffic, PeerTraffic};

use super::Shared;
use super::channel::Channel;
use super::connection::Held;
use super::extension::{Greetings, Registered};
use super::pool::{Task, Turn};
use super::timers::Alarm;
use crate::core::LocalCore;
use crate::replication::peer::PeerId;
use crate::replication::replicator::{Demand, DemandId, Options, Outcome, Replicator};
use crate::replication::wire::Message;
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, Peer, Traffic};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::oneshot;
use traffic::Snapshot;

/// Messages that are looked at before what they brought is stored.
const BATCH: usize = 512;

/// Bytes of them, likewise.
const BATCH_BYTES: usize = 4 << 20;

/// Something that has happened.
pub(super) enum Input {
    /// We have opened the core with a peer that may do so, too.
    Expect { peer: PeerId },
    /// It has.
    Connect { peer: PeerId, seeks: bool },
    /// It is gone.
    Disconnect { peer: PeerId },
    /// It has sent something.
    Message { peer: PeerId, kind: u64, body: Bytes, held: Held },
    /// Somebody wants something.
    Demand { token: u64, demand: Demand, done: oneshot::Sender<Outcome> },
    /// Nobody does any more.
    Cancel { token: u64 },
    /// Who follows the core, or looks for peers, has changed.
    Look,
    /// The core has.
    Changed,
    /// It was flushed, as peers wanted.
    Flushed,
    /// Blocks were cleared.
    Cleared { start: u64, end: u64 },
    /// A peer is to be asked which blocks we need.
    Consult { name: String, payload: Bytes, blocks: u64 },
    /// Blocks are to be given to those who take them.
    Push { start: u64, end: u64 },
    /// Time has gone by.
    Elapsed,
    /// It is no longer replicated.
    End,
}

/// See the module's text.
pub(crate) struct ReplicatedCore {
    pub(super) core: LocalCore,
    pub(super) shared: Arc<Shared>,
    inbox: Mutex<Inbox>,
    state: Mutex<State>,
    turn: Turn,
    /// Channels that are open on both sides.
    pub(super) peers: Mutex<BTreeMap<PeerId, Arc<Channel>>>,
    pub(super) extensions: Mutex<HashMap<String, Registered>>,
    pub(super) greetings: Mutex<Greetings>,
    pub(super) uploaded: Mutex<Traffic>,
    downloaded: Mutex<Snapshot>,
    /// What was exchanged when it was replicated before.
    past: CoreTraffic,
    /// Those who follow the core as it grows.
    followers: AtomicUsize,
    /// Those who are looking for peers.
    lookups: AtomicUsize,
    wanted: AtomicBool,
    tokens: AtomicU64,
}

#[derive(Default)]
struct Inbox {
    inputs: VecDeque<Input>,
    /// Nobody looks into it any more.
    retired: bool,
}

struct State {
    replicator: Replicator,
    waiters: HashMap<DemandId, (u64, oneshot::Sender<Outcome>)>,
    demands: HashMap<u64, DemandId>,
    alarm: Option<Instant>,
}

impl ReplicatedCore {
    pub(super) fn new(core: LocalCore, shared: Arc<Shared>, past: CoreTraffic) -> Self {
        let options = Options { allow_push: shared.options.allow_push, seed: shared.next_seed() };
        let replicator = Replicator::new(&core, options);
        let state = State { replicator, waiters: HashMap::new(), demands: HashMap::new(), alarm: None };
        Self {
            core,
            shared,
            inbox: Mutex::default(),
            state: Mutex::new(state),
            turn: Turn::default(),
            peers: Mutex::default(),
            extensions: Mutex::default(),
            greetings: Mutex::default(),
            uploaded: Mutex::new(past.uploaded),
            downloaded: Mutex::new(Snapshot::of(&past)),
            past,
            followers: AtomicUsize::new(0),
            lookups: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            tokens: AtomicU64::new(1),
        }
    }

    /// Queues what has happened. `false` if the core is no longer replicated by this.
    pub(super) fn input(self: &Arc<Self>, input: Input) -> bool {
        {
            let mut inbox = self.inbox.lock();
            if inbox.retired {
                return false;
            }
            inbox.inputs.push_back(input);
        }
        self.shared.pool.wake(self.clone());
        true
    }

    /// The core was changed by somebody else than peers.
    pub(crate) fn changed(self: &Arc<Self>) {
        self.input(Input::Changed);
    }

    /// Gives blocks to those who take them.
    pub(crate) fn push(self: &Arc<Self>, start: u64, end: u64) {
        self.input(Input::Push { start, end });
    }

    /// Ends whatever is wanted of it.
    pub(super) fn end(self: &Arc<Self>) {
        self.input(Input::End);
    }

    /// Blocks were cleared.
    pub(crate) fn cleared(self: &Arc<Self>, start: u64, end: u64) {
        self.input(Input::Cleared { start, end });
    }

    /// Has its state looked at; `false` as with [`input`](Self::input).
    pub(super) fn look_again(self: &Arc<Self>) -> bool {
        self.input(Input::Changed)
    }

    /// Does anybody want data of it?
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Its peers.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.peers.lock().values().map(|channel| channel.remote()).collect()
    }

    /// Counts one who follows the core, or one less.
    pub(super) fn follow(self: &Arc<Self>, more: bool) -> bool {
        count(&self.followers, more);
        if more {
            self.wanted.store(true, Ordering::Release);
        }
        let alive = self.input(Input::Look);
        if more && alive {
            self.shared.open_everywhere(self);
        }
        alive
    }

    /// Counts one who looks for peers, or one less.
    pub(super) fn look_up(self: &Arc<Self>, more: bool) -> bool {
        count(&self.lookups, more);
        self.input(Input::Look)
    }

    fn take(&self, state: &mut State, now: Instant, input: Input) {
        let (replicator, core) = (&mut state.replicator, &self.core);
        match input {
            Input::Expect { peer } => replicator.expect(now, peer),
            Input::Connect { peer, seeks } => {
                replicator.connect(now, core, peer, seeks);
                if core.length() == 0 {
                    replicator.invite(peer, self.greetings.lock().blocks());
                }
            }
            Input::Disconnect { peer } => replicator.disconnect(now, core, peer),
            Input::Message { peer, kind, body, held: _held } => match Message::decode(kind, &body) {
                Ok(Some(message)) => {
                    tracing::trace!(target: "hypercore::wire", core = %core.key(), peer, "came {message}");
                    replicator.receive(now, core, peer, message);
                }
                Ok(None) => {}
                Err(error) => self.punish(peer, &error.to_string()),
            },
            Input::Demand { token, demand, done } => {
                let id = replicator.demand(demand);
                state.demands.insert(token, id);
                state.waiters.insert(id, (token, done));
            }
            Input::Cancel { token } => {
                if let Some(id) = state.demands.remove(&token) {
                    state.waiters.remove(&id);
                    replicator.cancel(id);
                }
            }
            Input::Look => {
                replicator.follow(now, core, self.followers.load(Ordering::Acquire) > 0);
            }
            Input::Changed => replicator.changed(now, core),
            Input::Flushed => replicator.flushed(now, core),
            Input::Cleared { start, end } => replicator.cleared(start, end),
            Input::Consult { name, payload, blocks } => replicator.consult(now, &name, payload, blocks),
            Input::Push { start, end } => replicator.push(core, start, end),
            Input::Elapsed => {
                state.alarm = None;
                replicator.elapsed(now, core);
            }
            Input::End => replicator.fail(&CoreError::NotAvailable),
        }
    }

    /// Might further peers come soon?
    fn has_hopes(&self) -> bool {
        self.lookups.load(Ordering::Acquire) > 0 || self.shared.expected.load(Ordering::Acquire) > 0
    }

    /// Everything that is looked at after a turn.
    fn look(self: &Arc<Self>, state: &mut State, now: Instant) {
        let wanted = state.replicator.is_wanted();
        self.wanted.store(wanted, Ordering::Release);
        if let Some(next) = state.replicator.next_time(now)
            && state.alarm.is_none_or(|alarm| next < alarm)
        {
            state.alarm = Some(next);
            let whom: Weak<Self> = Arc::downgrade(self);
            self.shared.timers.set(next, whom);
        }
        if state.replicator.is_idle() && self.extensions.lock().is_empty() {
            let mut inbox = self.inbox.lock();
            let users = self.followers.load(Ordering::Acquire) + self.lookups.load(Ordering::Acquire);
            if inbox.inputs.is_empty() && users == 0 {
                inbox.retired = true;
                self.shared.retire(self);
            }
        }
    }
}

fn count(counter: &AtomicUsize, more: bool) {
    if more {
        counter.fetch_add(1, Ordering::AcqRel);
    } else {
        counter.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Task for ReplicatedCore {
    fn turn(&self) -> &Turn {
        &self.turn
    }

    fn run(self: Arc<Self>) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        let now = Instant::now();
        let mut bytes = 0;
        let hopes = self.has_hopes();
        if hopes {
            state.replicator.set_hopes(now, &self.core, true);
        }
        for _ in 0..BATCH {
            let Some(input) = self.inbox.lock().inputs.pop_front() else { break };
            if let Input::Message { body, .. } = &input {
                bytes += body.len();
            }
            self.take(state, now, input);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        // Whoever was hoped for may be among what has just happened, or is still to be looked at.
        if !hopes && self.inbox.lock().inputs.is_empty() {
            state.replicator.set_hopes(now, &self.core, false);
        }
        state.replicator.settle(now, &self.core);
        if self.core.shared().closed.load(Ordering::Acquire) {
            state.replicator.fail(&CoreError::Closed);
        }
        // Before anybody is told of it.
        self.note(&state.replicator);
        self.act(state);
        self.look(state, Instant::now());
        !self.inbox.lock().inputs.is_empty()
    }
}

impl Alarm for ReplicatedCore {
    fn ring(self: Arc<Self>) {
        self.input(Input::Elapsed);
    }
}
