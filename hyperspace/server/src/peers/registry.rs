//! Who is connected: one connection a peer.
//!
//! Two peers that call each other at the same time have two connections for a moment. Both
//! sides keep the same one of them, without talking about it: that of the caller whose key
//! is the greater. Of two in the same direction, the later counts: the earlier is one that
//! its caller has lost. Which of two that the swarm has made counts, the swarm has decided
//! before we hear of it; and one by an address that somebody has given counts more than one
//! that the swarm has made.

use super::in_swarm;
use crate::networker::{ConnectionInfo, SwarmEvent};
use hyperspace_api::{Key, Peer};
use hyperswarm::Sender;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Instant;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events that a slow listener may fall behind before it misses some.
const EVENTS: usize = 1024;

pub(super) struct Registry {
    connected: Mutex<HashMap<Key, Connected>>,
    events: broadcast::Sender<SwarmEvent>,
}

#[derive(Clone)]
struct Connected {
    sender: Sender,
    peer: Peer,
    /// Tells two connections of a peer apart.
    number: u64,
    since: Instant,
}

/// A connection that counts, until it is dropped.
pub(super) struct Place<'a> {
    registry: &'a Registry,
    key: Key,
    number: u64,
}

/// What becomes of a new connection.
pub(super) enum Verdict<'a> {
    /// It counts.
    Kept(Place<'a>),
    /// There is a better one, which is this.
    Superfluous(Sender),
}

impl Default for Registry {
    fn default() -> Self {
        Self { connected: Mutex::default(), events: broadcast::Sender::new(EVENTS) }
    }
}

impl Registry {
    pub(super) fn events(&self) -> broadcast::Receiver<SwarmEvent> {
        self.events.subscribe()
    }

    pub(super) fn peers(&self) -> Vec<Peer> {
        self.connected.lock().values().map(|connected| connected.peer.clone()).collect()
    }

    pub(super) fn connections(&self) -> Vec<ConnectionInfo> {
        let connected = self.connected.lock();
        let describe = |connected: &Connected| {
            let traffic = connected.sender.traffic();
            ConnectionInfo {
                peer: connected.peer.clone(),
                is_initiator: connected.sender.is_initiator(),
                age: connected.since.elapsed(),
                received: traffic.received,
                sent: traffic.sent,
            }
        };
        connected.values().map(describe).collect()
    }

    /// Ready when the peer `key` is connected. `events` are those since it was lost.
    pub(super) async fn returned(&self, key: Key, mut events: broadcast::Receiver<SwarmEvent>) {
        while !self.connected.lock().contains_key(&key) {
            if let Err(RecvError::Closed) = events.recv().await {
                return;
            }
        }
    }

    /// A connection to `peer` is open.
    pub(super) fn admit(&self, sender: Sender, peer: Peer) -> Verdict<'_> {
        let key = peer.remote_public_key;
        let mut connected = self.connected.lock();
        let number = match connected.get(&key) {
            None => 0,
            Some(other) if !other.sender.is_over() && !replaces((&sender, &peer), other) => {
                return Verdict::Superfluous(other.sender.clone());
            }
            Some(other) => {
                other.sender.give_up("another connection to the same peer takes its place");
                // The peer is the same one: it neither left nor came.
                other.number + 1
            }
        };
        let news = connected
            .insert(key, Connected { sender, peer: peer.clone(), number, since: Instant::now() })
            .is_none();
        drop(connected);
        if news {
            let _ = self.events.send(SwarmEvent::PeerAdd(peer));
        }
        Verdict::Kept(Place { registry: self, key, number })
    }
}

/// Both to the same peer: does the new one count?
fn replaces((new, peer): (&Sender, &Peer), old: &Connected) -> bool {
    match (peer.kind == in_swarm::KIND, old.peer.kind == in_swarm::KIND) {
        (true, true) | (false, true) => true,
        (true, false) => false,
        (false, false) => {
            new.is_initiator() == old.sender.is_initiator()
                || new.is_initiator() == (new.public_key() > new.remote_public_key())
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut connected = self.registry.connected.lock();
        if connected.get(&self.key).is_some_and(|connected| connected.number == self.number)
            && let Some(gone) = connected.remove(&self.key)
        {
            drop(connected);
            let _ = self.registry.events.send(SwarmEvent::PeerRemove(gone.peer));
        }
    }
}
