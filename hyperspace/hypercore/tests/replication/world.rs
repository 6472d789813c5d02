//! Nodes with one core each, lines between them with delay and capacity, and a clock.

use bytes::Bytes;
use hypercore::hyperspace_api::Core;
use hypercore::merkle::proof::{BlockRequest, Request};
use hypercore::replication::PeerId;
use hypercore::replication::replicator::{Action, Demand, DemandId, Options, Outcome, Replicator, Work};
use hypercore::replication::upload::{UploadQueue, answer, block_of};
use hypercore::replication::wire::{Message, RequestMessage};
use hypercore::{Corestore, LocalCore, StoreOptions};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// Names a node.
pub type NodeId = usize;

/// How fast a line is, each way.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub delay: Duration,
    pub bytes_per_second: u64,
}

impl Line {
    pub const FAST: Self = Self { delay: Duration::from_millis(1), bytes_per_second: 100_000_000 };
    pub const FAR: Self = Self { delay: Duration::from_millis(80), bytes_per_second: 4_000_000 };
    pub const SLOW: Self = Self { delay: Duration::from_millis(30), bytes_per_second: 100_000 };
}

/// Bytes that wait on a line before a node stops uploading.
const ROOM: u64 = 64 * 1024;

/// One end of a line.
struct End {
    /// The node at the other end, and what we are called there.
    to: NodeId,
    back: PeerId,
    line: Line,
    /// When what is queued has left.
    free: Instant,
    queue: UploadQueue,
    /// It is looked again when there is room.
    waiting: bool,
}

/// What a node does to its messages before they are sent.
pub type Lie = Box<dyn FnMut(Message) -> Vec<Message>>;

pub struct Node {
    pub core: LocalCore,
    pub replicator: Replicator,
    ends: BTreeMap<PeerId, End>,
    pub finished: HashMap<DemandId, Outcome>,
    pub banned: Vec<String>,
    pub closed: usize,
    pub uploaded: u64,
    pub sent: HashMap<u64, u64>,
    pub sent_bytes: u64,
    lie: Option<Lie>,
    timer: Option<Instant>,
}

enum Event {
    Deliver(NodeId, PeerId, u64, Bytes),
    Room(NodeId, PeerId),
    Timer(NodeId),
}

pub struct World {
    pub now: Instant,
    pub nodes: Vec<Node>,
    events: BinaryHeap<Reverse<(Instant, u64)>>,
    what: HashMap<u64, Event>,
    next: u64,
}

fn store(seed: u8) -> Corestore {
    Corestore::memory_with(StoreOptions { primary_key: Some([seed; 32]), ..Default::default() })
        .expect("memory")
}

impl World {
    pub fn new() -> Self {
        let now = Instant::now();
        let (events, what) = Default::default();
        Self { now, nodes: Vec::new(), events, what, next: 0 }
    }

    fn add(&mut self, core: LocalCore, options: Options) -> NodeId {
        let replicator = Replicator::new(&core, options);
        self.nodes.push(Node {
            core,
            replicator,
            ends: BTreeMap::new(),
            finished: HashMap::new(),
            banned: Vec::new(),
            closed: 0,
            uploaded: 0,
            sent: HashMap::new(),
            sent_bytes: 0,
            lie: None,
            timer: None,
        });
        self.nodes.len() - 1
    }

    /// A node that writes a core of these blocks.
    pub fn writer(&mut self, blocks: &[Bytes]) -> NodeId {
        let seed = self.nodes.len() as u8 + 1;
        let store = store(seed);
        let core = store.open_name("core").expect("memory");
        core.append_now(blocks, None).expect("memory");
        self.add(core, Options { seed: seed.into(), ..Options::default() })
    }

    /// A node that reads the core of another.
    pub fn reader(&mut self, of: NodeId) -> NodeId {
        self.reader_with(of, Options { seed: self.nodes.len() as u64 + 77, ..Options::default() })
    }

    pub fn reader_with(&mut self, of: NodeId, options: Options) -> NodeId {
        let store = store(self.nodes.len() as u8 + 1);
        let core = store.open_key(self.nodes[of].core.key()).expect("memory");
        self.add(core, options)
    }

    /// Makes a node lie: each message it sends goes through that first.
    pub fn lie(&mut self, node: NodeId, lie: impl FnMut(Message) -> Vec<Message> + 'static) {
        self.nodes[node].lie = Some(Box::new(lie));
    }

    pub fn connect(&mut self, a: NodeId, b: NodeId, line: Line) {
        let (at_a, at_b) = (self.next * 2 + 1, self.next * 2 + 2);
        self.next += 1;
        let now = self.now;
        for (node, own, to, back) in [(a, at_a, b, at_b), (b, at_b, a, at_a)] {
            let end = End { to, back, line, free: now, queue: UploadQueue::default(), waiting: false };
            self.nodes[node].ends.insert(own, end);
        }
        for (node, own) in [(a, at_a), (b, at_b)] {
            let Node { replicator, core, .. } = &mut self.nodes[node];
            replicator.connect(now, core, own, true);
            self.act(node);
        }
    }

    pub fn disconnect(&mut self, a: NodeId, b: NodeId) {
        let own = self.nodes[a].ends.iter().find(|(_, end)| end.to == b).map(|(own, _)| *own);
        self.hang_up(a, own.expect("they are connected"));
    }

    fn hang_up(&mut self, node: NodeId, own: PeerId) {
        let Some(end) = self.nodes[node].ends.remove(&own) else { return };
        self.nodes[end.to].ends.remove(&end.back);
        let now = self.now;
        for (node, own) in [(node, own), (end.to, end.back)] {
            let Node { replicator, core, .. } = &mut self.nodes[node];
            replicator.disconnect(now, core, own);
            self.act(node);
        }
    }

    pub fn is_connected(&self, a: NodeId, b: NodeId) -> bool {
        self.nodes[a].ends.values().any(|end| end.to == b)
    }

    /// A node with the same key pair, and these blocks.
    pub fn twin(&mut self, of: NodeId, blocks: &[Bytes]) -> NodeId {
        let store = store(of as u8 + 1);
        let core = store.open_name("core").expect("memory");
        core.append_now(blocks, None).expect("memory");
        self.add(core, Options { seed: 5, ..Options::default() })
    }

    /// Makes a node send blocks that nobody asked for, after the first that was.
    pub fn push_after(&mut self, node: NodeId, to: NodeId, pushed: &[u64]) {
        let core = self.nodes[node].core.clone();
        let mut pushed = pushed.to_vec();
        assert!(self.is_connected(node, to));
        self.lie(node, move |message| {
            let mut out = vec![message];
            if block_of(&out[0]).is_some() {
                for index in pushed.drain(..) {
                    let request =
                        Request { block: Some(BlockRequest { index, nodes: 5 }), ..Request::default() };
                    let message = RequestMessage { request, ..RequestMessage::default() };
                    out.extend(answer(&core, &Work::Request(message)));
                }
            }
            out
        });
    }

    /// A node that reads from one with these blocks only, which it got from there.
    pub fn partial(&mut self, of: NodeId, ranges: &[(u64, u64)]) -> NodeId {
        let node = self.reader(of);
        self.connect(of, node, Line::FAST);
        let update = self.demand(node, Demand::Update { length: 1 });
        assert_eq!(self.finish(node, update), Outcome::Done);
        for (start, end) in ranges {
            self.download(node, *start, *end, true);
        }
        self.disconnect(of, node);
        node
    }

    /// A node's peers.
    pub fn peers(&self, node: NodeId) -> Vec<PeerId> {
        self.nodes[node].replicator.peers().collect()
    }

    pub fn demand(&mut self, node: NodeId, demand: Demand) -> DemandId {
        let now = self.now;
        let Node { replicator, core, .. } = &mut self.nodes[node];
        let id = replicator.demand(demand);
        replicator.settle(now, core);
        self.act(node);
        id
    }

    pub fn cancel(&mut self, node: NodeId, demand: DemandId) {
        let now = self.now;
        let Node { replicator, core, .. } = &mut self.nodes[node];
        replicator.cancel(demand);
        replicator.settle(now, core);
        self.act(node);
    }

    pub fn follow(&mut self, node: NodeId) {
        let now = self.now;
        let Node { replicator, core, .. } = &mut self.nodes[node];
        replicator.follow(now, core, true);
        self.act(node);
    }

    pub fn append(&mut self, node: NodeId, blocks: &[Bytes]) {
        self.nodes[node].core.append_now(blocks, None).expect("memory");
        self.changed(node);
    }

    pub fn changed(&mut self, node: NodeId) {
        let now = self.now;
        let Node { replicator, core, .. } = &mut self.nodes[node];
        replicator.changed(now, core);
        self.act(node);
    }

    pub fn push(&mut self, node: NodeId, start: u64, end: u64) {
        let Node { replicator, core, .. } = &mut self.nodes[node];
        replicator.push(core, start, end);
        self.act(node);
    }

    /// Asks some peer of a node for blocks by an extension, and takes so many.
    pub fn consult(&mut self, node: NodeId, blocks: &[u64], takes: u64) {
        let payload: Vec<u8> = blocks.iter().flat_map(|block| block.to_le_bytes()).collect();
        self.nodes[node].replicator.consult(self.now, "blocks", payload.into(), takes);
        self.act(node);
    }

    /// Gives all peers of a node these blocks.
    pub fn give(&mut self, node: NodeId, blocks: &[u64]) {
        for peer in self.peers(node) {
            self.give_to(node, peer, blocks);
        }
        self.act(node);
    }

    fn give_to(&mut self, node: NodeId, peer: PeerId, blocks: &[u64]) {
        let remote = self.nodes[node].replicator.remote(peer).expect("it has said what it has");
        let Some(end) = self.nodes[node].ends.get_mut(&peer) else { return };
        for block in blocks {
            end.queue.give(remote.fork, remote.length, *block);
        }
    }

    pub fn clear(&mut self, node: NodeId, start: u64, end: u64) {
        self.nodes[node].core.clear_now(start, end).expect("memory");
        self.nodes[node].replicator.cleared(start, end);
        self.act(node);
    }

    fn at(&mut self, when: Instant, event: Event) {
        self.next += 1;
        self.what.insert(self.next, event);
        self.events.push(Reverse((when, self.next)));
    }

    /// Does what a node's replicator wants done.
    fn act(&mut self, node: NodeId) {
        let now = self.now;
        loop {
            if self.nodes[node].replicator.unsettled() > 0 {
                let Node { replicator, core, .. } = &mut self.nodes[node];
                replicator.settle(now, core);
            }
            let Some(action) = self.nodes[node].replicator.poll() else { break };
            match action {
                Action::Send { peer, message } => self.send(node, peer, message),
                Action::Serve { peer, work } => {
                    if let Some(end) = self.nodes[node].ends.get_mut(&peer)
                        && end.queue.push(work).is_err()
                    {
                        self.nodes[node].banned.push("flood".into());
                        self.hang_up(node, peer);
                    }
                }
                Action::Finish { demand, outcome } => {
                    let before = self.nodes[node].finished.insert(demand, outcome);
                    assert!(before.is_none(), "a demand ends once");
                }
                Action::Extension { peer, payload, .. } => {
                    let block = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight"));
                    let blocks: Vec<u64> = payload.chunks(8).map(block).collect();
                    self.give_to(node, peer, &blocks);
                }
                Action::Close { peer } => {
                    self.nodes[node].closed += 1;
                    self.hang_up(node, peer);
                }
                Action::Ban { peer, reason } => {
                    self.nodes[node].banned.push(reason);
                    self.hang_up(node, peer);
                }
                Action::Flush => {
                    let Node { replicator, core, .. } = &mut self.nodes[node];
                    replicator.flushed(now, core);
                }
            }
        }
        self.upload(node);
        let next = self.nodes[node].replicator.next_time(now);
        if let Some(next) = next
            && self.nodes[node].timer.is_none_or(|timer| timer <= now || next < timer)
        {
            self.nodes[node].timer = Some(next);
            self.at(next, Event::Timer(node));
        }
    }

    fn send(&mut self, node: NodeId, peer: PeerId, message: Message) {
        let messages = match &mut self.nodes[node].lie {
            Some(lie) => lie(message),
            None => vec![message],
        };
        for message in messages {
            let Some(end) = self.nodes[node].ends.get_mut(&peer) else { return };
            let body = message.to_bytes();
            let takes =
                Duration::from_secs_f64((body.len() as f64 + 10.0) / end.line.bytes_per_second as f64);
            end.free = end.free.max(self.now) + takes;
            let (when, to, back) = (end.free + end.line.delay, end.to, end.back);
            self.nodes[node].sent_bytes += body.len() as u64;
            *self.nodes[node].sent.entry(message.kind()).or_default() += 1;
            self.at(when, Event::Deliver(to, back, message.kind(), body));
        }
    }

    /// Answers the peers of a node in turn, as far as their lines have room.
    fn upload(&mut self, node: NodeId) {
        loop {
            let mut any = false;
            let peers: Vec<PeerId> = self.nodes[node].ends.keys().copied().collect();
            for peer in peers {
                let now = self.now;
                let Some(end) = self.nodes[node].ends.get_mut(&peer) else { continue };
                let queued =
                    end.free.saturating_duration_since(now).as_secs_f64() * end.line.bytes_per_second as f64;
                if end.queue.is_empty() {
                    continue;
                }
                if queued as u64 > ROOM {
                    if std::mem::replace(&mut end.waiting, true) {
                        continue;
                    }
                    let when = end.free
                        - Duration::from_secs_f64(ROOM as f64 / 2.0 / end.line.bytes_per_second as f64);
                    self.at(when.max(now + Duration::from_micros(100)), Event::Room(node, peer));
                    continue;
                }
                let Some(work) = end.queue.pop() else { continue };
                any = true;
                if let Some(message) = answer(&self.nodes[node].core, &work) {
                    self.nodes[node].uploaded += u64::from(block_of(&message).is_some());
                    self.send(node, peer, message);
                }
            }
            if !any {
                return;
            }
        }
    }

    /// Lets things happen until `until` says so, or nothing happens any more, or the time is
    /// up. Gives the time it took.
    pub fn run(&mut self, limit: Duration, mut until: impl FnMut(&Self) -> bool) -> Duration {
        let (began, end) = (self.now, self.now + limit);
        while !until(self) {
            let Some(Reverse((when, id))) = self.events.pop() else { break };
            if when > end {
                self.events.push(Reverse((when, id)));
                self.now = end;
                break;
            }
            self.now = self.now.max(when);
            let node = match self.what.remove(&id).expect("each happens once") {
                Event::Deliver(node, peer, kind, body) => {
                    if !self.nodes[node].ends.contains_key(&peer) {
                        continue;
                    }
                    let Node { replicator, core, .. } = &mut self.nodes[node];
                    match Message::decode(kind, &body) {
                        Ok(Some(message)) => replicator.receive(self.now, core, peer, message),
                        Ok(None) => {}
                        Err(error) => {
                            self.nodes[node].banned.push(error.to_string());
                            self.hang_up(node, peer);
                        }
                    }
                    replicator_settle(&mut self.nodes[node], self.now);
                    node
                }
                Event::Room(node, peer) => {
                    if let Some(end) = self.nodes[node].ends.get_mut(&peer) {
                        end.waiting = false;
                    }
                    node
                }
                Event::Timer(node) => {
                    if self.nodes[node].timer.is_none_or(|timer| timer > self.now) {
                        continue;
                    }
                    self.nodes[node].timer = None;
                    let Node { replicator, core, .. } = &mut self.nodes[node];
                    replicator.elapsed(self.now, core);
                    node
                }
            };
            self.act(node);
        }
        self.now - began
    }

    /// Runs until a demand has ended.
    pub fn finish(&mut self, node: NodeId, demand: DemandId) -> Outcome {
        self.run(Duration::from_secs(600), |world| world.nodes[node].finished.contains_key(&demand));
        self.nodes[node]
            .finished
            .get(&demand)
            .cloned()
            .unwrap_or_else(|| panic!("demand {demand} did not end"))
    }

    /// Fetches a range; gives the time it took.
    pub fn download(&mut self, node: NodeId, start: u64, end: u64, linear: bool) -> Duration {
        let began = self.now;
        let demand = self.demand(node, Demand::Range { start, end, linear });
        assert_eq!(self.finish(node, demand), Outcome::Done);
        self.now - began
    }

    /// Everything that a node holds is what the writer wrote.
    pub fn check(&self, node: NodeId, blocks: &[Bytes]) -> usize {
        let core = &self.nodes[node].core;
        let mut held = 0;
        for index in 0..core.length() {
            if let Some(block) = core.get_now(index) {
                assert_eq!(block, blocks[index as usize], "block {index} of node {node}");
                held += 1;
            }
        }
        held
    }
}

fn replicator_settle(node: &mut Node, now: Instant) {
    node.replicator.settle(now, &node.core);
}

/// Blocks no two of which are alike, of about that size.
pub fn blocks(count: usize, size: usize) -> Vec<Bytes> {
    (0..count)
        .map(|at| {
            let mut block = format!("block {at} ").into_bytes();
            block.resize(size.max(1) + at % 7, at as u8);
            block.into()
        })
        .collect()
}
