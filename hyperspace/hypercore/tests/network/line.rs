//! A connection in memory, with channels by discovery key.

use bytes::Bytes;
use hypercore::hyperspace_api::{DiscoveryKey, Key};
use hypercore::replication::{Attached, ConnectionInfo, Link, Replication, ReplicationOptions};
use hypercore::{Corestore, StoreOptions};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// Bytes on the way that make a link full.
const FULL: usize = 256 << 10;

enum Event {
    LocalOpen(DiscoveryKey),
    LocalClose(DiscoveryKey),
    Open(DiscoveryKey, Bytes),
    Refuse(DiscoveryKey),
    Message(DiscoveryKey, u32, Bytes),
    Close(DiscoveryKey),
    End,
}

/// What both sides of one direction share.
#[derive(Default)]
struct Flow {
    queued: AtomicUsize,
    room: Notify,
    over: AtomicBool,
}

pub struct MemoryLink {
    own: mpsc::UnboundedSender<Event>,
    other: mpsc::UnboundedSender<Event>,
    flow: Arc<Flow>,
}

impl Link for MemoryLink {
    type Channel = DiscoveryKey;

    fn open(&self, key: &DiscoveryKey, handshake: Bytes) -> Option<DiscoveryKey> {
        self.other.send(Event::Open(*key, handshake)).ok()?;
        self.own.send(Event::LocalOpen(*key)).ok()?;
        Some(*key)
    }

    fn refuse(&self, key: &DiscoveryKey) {
        let _ = self.other.send(Event::Refuse(*key));
    }

    fn send(&self, channel: DiscoveryKey, kind: u32, parts: &[Bytes]) -> bool {
        let body: Bytes = parts.concat().into();
        self.flow.queued.fetch_add(body.len(), Ordering::SeqCst);
        self.other.send(Event::Message(channel, kind, body)).is_ok()
    }

    fn close(&self, channel: DiscoveryKey) {
        let _ = self.other.send(Event::Close(channel));
        let _ = self.own.send(Event::LocalClose(channel));
    }

    fn is_full(&self) -> bool {
        self.flow.queued.load(Ordering::SeqCst) >= FULL
    }

    async fn ready(&self) {
        loop {
            let room = self.flow.room.notified();
            if !self.is_full() || self.flow.over.load(Ordering::SeqCst) {
                return;
            }
            room.await;
        }
    }

    fn give_up(&self, _: &str) {
        let _ = self.own.send(Event::End);
        let _ = self.other.send(Event::End);
    }
}

/// What a side knows of a channel.
#[derive(Default)]
struct Pair {
    local: bool,
    remote: Option<Bytes>,
    waiting: Vec<(u32, Bytes)>,
}

async fn pump(attached: Attached<MemoryLink>, mut events: mpsc::UnboundedReceiver<Event>, from: Arc<Flow>) {
    let mut pairs: HashMap<DiscoveryKey, Pair> = HashMap::new();
    while let Some(event) = events.recv().await {
        let key = match event {
            Event::LocalOpen(key) => {
                pairs.entry(key).or_default().local = true;
                key
            }
            Event::Open(key, handshake) => {
                let pair = pairs.entry(key).or_default();
                pair.remote = Some(handshake);
                if !pair.local {
                    attached.requested(key);
                }
                key
            }
            Event::Message(key, kind, body) => {
                from.queued.fetch_sub(body.len(), Ordering::SeqCst);
                from.room.notify_waiters();
                match pairs.get_mut(&key) {
                    Some(pair) if pair.local => attached.message(key, kind, body).await,
                    Some(pair) => pair.waiting.push((kind, body)),
                    None => {}
                }
                continue;
            }
            Event::Close(key) => {
                pairs.remove(&key);
                attached.closed(key, false);
                continue;
            }
            Event::Refuse(key) => {
                pairs.remove(&key);
                attached.closed(key, true);
                continue;
            }
            Event::LocalClose(key) => {
                pairs.remove(&key);
                continue;
            }
            Event::End => break,
        };
        if let Some(pair) = pairs.get_mut(&key)
            && pair.local
            && let Some(handshake) = &pair.remote
        {
            attached.opened(key, handshake);
            for (kind, body) in std::mem::take(&mut pair.waiting) {
                attached.message(key, kind, body).await;
            }
        }
    }
    from.over.store(true, Ordering::SeqCst);
    from.room.notify_waiters();
}

/// A store that is replicated.
pub struct Node {
    pub store: Corestore,
    pub replication: Arc<Replication>,
    pub key: Key,
}

impl Node {
    pub fn new(seed: u8) -> Self {
        let options = StoreOptions { primary_key: Some([seed; 32]), ..StoreOptions::default() };
        Self::of(seed, Corestore::memory_with(options).expect("memory"))
    }

    pub fn of(seed: u8, store: Corestore) -> Self {
        let replication =
            Arc::new(Replication::new(&store, ReplicationOptions::default()).expect("a runtime"));
        Self { store, replication, key: Key::from([seed; 32]) }
    }
}

/// A line; dropped, it is cut.
pub struct Line {
    ends: [mpsc::UnboundedSender<Event>; 2],
    pumps: Vec<JoinHandle<()>>,
}

impl Line {
    pub fn new(a: &Node, b: &Node) -> Self {
        Self::with_secrets(a, b, [[1; 64]; 2])
    }

    /// With what each side believes to be the handshake's hash.
    pub fn with_secrets(a: &Node, b: &Node, secrets: [[u8; 64]; 2]) -> Self {
        let (to_a, at_a) = mpsc::unbounded_channel();
        let (to_b, at_b) = mpsc::unbounded_channel();
        let (a_to_b, b_to_a) = (Arc::new(Flow::default()), Arc::new(Flow::default()));
        let mut pumps = Vec::new();
        for (node, remote, own, other, events, out, from, secret, initiator) in [
            (a, b, &to_a, &to_b, at_a, &a_to_b, &b_to_a, secrets[0], true),
            (b, a, &to_b, &to_a, at_b, &b_to_a, &a_to_b, secrets[1], false),
        ] {
            let link = MemoryLink { own: own.clone(), other: other.clone(), flow: out.clone() };
            let info = ConnectionInfo {
                remote_public_key: remote.key,
                remote_address: "memory".into(),
                kind: "tcp".into(),
                handshake_hash: secret,
                is_initiator: initiator,
            };
            let attached = node.replication.attach(info, link).expect("not banned");
            pumps.push(tokio::spawn(pump(attached, events, from.clone())));
        }
        Self { ends: [to_a, to_b], pumps }
    }

    /// Cuts it, and waits until both sides know.
    pub async fn cut(mut self) {
        self.end();
        for pump in self.pumps.drain(..) {
            pump.await.expect("it does not panic");
        }
    }

    /// Waits until it is cut by a side.
    pub async fn over(mut self) {
        for pump in self.pumps.drain(..) {
            pump.await.expect("it does not panic");
        }
    }

    fn end(&self) {
        for end in &self.ends {
            let _ = end.send(Event::End);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}
