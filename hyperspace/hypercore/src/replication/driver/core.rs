//! One core that is replicated: what happens to it is queued, and worked off in turns.

use super::Shared;
use super::channel::Channel;
use super::connection::Held;
use super::extension::{Greetings, Registered, Reply};
use super::pool::{Task, Turn};
use super::timers::Alarm;
use crate::core::LocalCore;
use crate::replication::peer::PeerId;
use crate::replication::replicator::{Action, Demand, DemandId, Options, Outcome, Replicator, Work};
use crate::replication::wire::{Message, Sync};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, Peer, Traffic};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Messages that are looked at before what they brought is stored.
const BATCH: usize = 512;

/// Bytes of them, likewise.
const BATCH_BYTES: usize = 4 << 20;

/// How long a core is not flushed again after that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

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

/// What came in, as it was when it was looked at last.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    total: Traffic,
    peers: HashMap<PeerId, (Traffic, usize)>,
    lies: u64,
}

/// What was exchanged about a core with one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerTraffic {
    /// Who.
    pub peer: Peer,
    /// What went there.
    pub uploaded: Traffic,
    /// What came from there.
    pub downloaded: Traffic,
    /// Requests that it gets at a time.
    pub window: usize,
}

/// What was exchanged about a core since there is replication of its store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreTraffic {
    /// What went to all peers, those that are gone included.
    pub uploaded: Traffic,
    /// What came from them.
    pub downloaded: Traffic,
    /// Peers that lied.
    pub lies: u64,
    /// The peers that are there.
    pub peers: Vec<PeerTraffic>,
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
            downloaded: Mutex::new(Snapshot {
                total: past.downloaded,
                lies: past.lies,
                ..Snapshot::default()
            }),
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

    pub(crate) fn traffic(&self) -> CoreTraffic {
        let downloaded = self.downloaded.lock().clone();
        let peers = self.peers.lock();
        CoreTraffic {
            uploaded: *self.uploaded.lock(),
            downloaded: downloaded.total,
            lies: downloaded.lies,
            peers: peers
                .iter()
                .map(|(id, channel)| {
                    let (came, window) = downloaded.peers.get(id).copied().unwrap_or_default();
                    PeerTraffic {
                        peer: channel.remote(),
                        uploaded: channel.uploaded(),
                        downloaded: came,
                        window,
                    }
                })
                .collect(),
        }
    }

    /// Wants something; dropped, no longer. `None` if the core is no longer replicated by
    /// this.
    pub(super) fn want(self: &Arc<Self>, demand: Demand) -> Option<Wanted> {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (done, outcome) = oneshot::channel();
        self.wanted.store(true, Ordering::Release);
        // First, so that the demand is not given up for want of peers.
        self.shared.open_everywhere(self);
        self.input(Input::Demand { token, demand, done }).then(|| Wanted {
            core: self.clone(),
            token,
            outcome,
        })
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

    fn punish(&self, peer: PeerId, reason: &str) {
        let channel = self.peers.lock().get(&peer).cloned();
        if let Some(channel) = channel {
            channel.connection.punish(reason);
        }
    }

    /// Does what the replicator wants done.
    fn act(self: &Arc<Self>, state: &mut State) {
        let mut sends: Vec<(Arc<Channel>, Message)> = Vec::new();
        while let Some(action) = state.replicator.poll() {
            match action {
                Action::Send { peer, message } => {
                    let channel = match sends.last() {
                        Some((channel, _)) if channel.peer == peer => Some(channel.clone()),
                        _ => self.peers.lock().get(&peer).cloned(),
                    };
                    tracing::trace!(target: "hypercore::wire", core = %self.core.key(), peer, "sent {message}");
                    sends.extend(channel.map(|channel| (channel, message)));
                }
                Action::Serve { peer, work } => self.serve(peer, work),
                Action::Finish { demand, outcome } => {
                    if let Some((token, done)) = state.waiters.remove(&demand) {
                        state.demands.remove(&token);
                        // Who waited may have given up.
                        let _ = done.send(outcome);
                    }
                }
                Action::Extension { peer, name, payload } => {
                    self.extension(peer, &name, payload, state.replicator.remote(peer));
                }
                Action::Close { peer } => {
                    // What was said before is still to arrive.
                    send_all(&std::mem::take(&mut sends));
                    let channel = self.peers.lock().get(&peer).cloned();
                    if let Some(channel) = channel {
                        channel.connection.link.close(&channel);
                        channel.end();
                    }
                }
                Action::Ban { peer, reason } => self.punish(peer, &reason),
                Action::Flush => self.flush(),
            }
        }
        send_all(&sends);
    }

    fn serve(&self, peer: PeerId, work: Work) {
        let channel = self.peers.lock().get(&peer).cloned();
        if let Some(channel) = channel
            && let Err(error) = channel.ask(work)
        {
            channel.connection.punish(&error.to_string());
        }
    }

    fn extension(&self, peer: PeerId, name: &str, payload: Bytes, remote: Option<Sync>) {
        let Some(channel) = self.peers.lock().get(&peer).cloned() else { return };
        let answerer = self.shared.answerers.lock().get(name).cloned();
        if let Some(extension) = self.extensions.lock().get(name) {
            extension.receive(channel.remote(), payload.clone());
        }
        if let Some(answerer) = answerer {
            answerer.asked(&self.core, payload, Reply::new(channel, name, remote));
        }
    }

    fn flush(self: &Arc<Self>) {
        let core = Arc::downgrade(self);
        let local = self.core.clone();
        self.shared.runtime.spawn(async move {
            if let Err(error) = local.flush().await {
                tracing::warn!(core = %local.key(), "flushing for a peer: {error}");
                // It is asked for again at once, which would be of no use.
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            if let Some(core) = core.upgrade() {
                core.input(Input::Flushed);
            }
        });
    }

    /// Notes what came, for those who want to know.
    fn note(&self, replicator: &Replicator) {
        let peers = replicator.peers().filter_map(|id| Some((id, replicator.peer(id)?))).collect();
        let (before, now) = (self.past.downloaded, replicator.downloaded());
        let total = Traffic { blocks: before.blocks + now.blocks, bytes: before.bytes + now.bytes };
        let lies = self.past.lies + replicator.lies();
        *self.downloaded.lock() = Snapshot { total, peers, lies };
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

/// Sends messages, those for one peer after another in one go.
fn send_all(sends: &[(Arc<Channel>, Message)]) {
    for run in sends.chunk_by(|(a, _), (b, _)| a.peer == b.peer) {
        let Some((channel, _)) = run.first() else { continue };
        channel.connection.link.corked(&mut || {
            for (channel, message) in run {
                channel.send(message);
            }
        });
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

/// Something that is wanted of peers. Dropped, it is wanted no more.
pub(crate) struct Wanted {
    core: Arc<ReplicatedCore>,
    token: u64,
    outcome: oneshot::Receiver<Outcome>,
}

impl Wanted {
    /// What came of it.
    pub(crate) async fn outcome(mut self) -> Outcome {
        (&mut self.outcome).await.unwrap_or(Outcome::Failed(CoreError::Closed))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        // It costs little to take back what has come to its end.
        if self.outcome.try_recv().is_err() {
            self.core.input(Input::Cancel { token: self.token });
        }
    }
}
