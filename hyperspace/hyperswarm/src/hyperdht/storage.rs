//! What a persistent node keeps for others.

use super::records::{Announce, MAX_PEERS, MAX_RELAYS, MutablePut, MutableRecord, Peer, Peers};
use super::signing::{ForNode, target_of};
use super::topics::Topics;
use super::wire::error;
use crate::dht::Id;
use crate::dht::cache::Cache;
use crate::dht::random::Random;
use crate::hash::hash;
use crate::key_pair::PublicKey;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// The longest value that is kept: one that fits a datagram which is not cut in pieces.
pub const MAX_VALUE: usize = 1400;

/// In each of two generations.
const MAX_TOPIC_PEERS: usize = 32768;
const MAX_FORWARDS: usize = 16384;
const MAX_RECORDS: usize = 16384;

const PEERS_AGE: Duration = Duration::from_secs(20 * 60);
const RECORDS_AGE: Duration = Duration::from_secs(48 * 3600);

/// A clock that goes before ours by more than this is not believed.
const MAX_DRIFT_MS: u64 = 60_000;

/// Somebody has announced its own key: what is meant for it can be passed on.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    /// Where it announced itself from.
    pub relay: SocketAddrV4,
    record: Vec<u8>,
}

/// To which end of a chain of hashes belongs what.
#[derive(Clone, Debug)]
struct Refresh {
    target: Id,
    public_key: PublicKey,
    record: Vec<u8>,
    is_self: bool,
}

/// All of it.
pub(super) struct Storage {
    topics: Topics,
    forwards: Cache<Id, Forward>,
    refreshes: Cache<[u8; 32], Refresh>,
    bumps: Cache<Id, u64>,
    mutables: Cache<Id, MutableRecord>,
    immutables: Cache<Id, Vec<u8>>,
}

/// How much of what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Peers of topics.
    pub peers: usize,
    /// Peers that have announced their own keys.
    pub forwards: usize,
    /// Records.
    pub records: usize,
}

/// Which request it is about: what signatures are made for.
pub(super) struct Context<'a> {
    pub now: Instant,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    pub from: SocketAddrV4,
    pub for_node: ForNode<'a>,
}

impl Storage {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            topics: Topics::new(MAX_TOPIC_PEERS, PEERS_AGE, now),
            forwards: Cache::new(MAX_FORWARDS, PEERS_AGE, now),
            refreshes: Cache::new(MAX_FORWARDS, PEERS_AGE, now),
            bumps: Cache::new(MAX_FORWARDS, PEERS_AGE, now),
            mutables: Cache::new(MAX_RECORDS, RECORDS_AGE, now),
            immutables: Cache::new(MAX_RECORDS, RECORDS_AGE, now),
        }
    }

    pub(super) fn stored(&self) -> Stored {
        Stored {
            peers: self.topics.len(),
            forwards: self.forwards.len(),
            records: self.mutables.len() + self.immutables.len(),
        }
    }

    /// The value of an answer to FIND_PEER.
    pub(super) fn find_peer(&mut self, target: &Id, now: Instant) -> Option<Vec<u8>> {
        self.forwards.get(target, now).map(|forward| forward.record.clone())
    }

    /// Where the holder of a key announced itself from.
    pub(super) fn forward(&mut self, target: &Id, now: Instant) -> Option<SocketAddrV4> {
        self.forwards.get(target, now).map(|forward| forward.relay)
    }

    /// The value of an answer to LOOKUP.
    pub(super) fn lookup(&mut self, topic: &Id, random: &mut Random, now: Instant) -> Option<Vec<u8>> {
        let mut records = self.topics.pick(topic, MAX_PEERS, random, now);
        if records.len() < MAX_PEERS {
            records.extend(self.forwards.peek(topic, now).map(|forward| forward.record.clone()));
        }
        if records.is_empty() {
            return None;
        }
        let peers = records.iter().filter_map(|record| Peer::decode(record).ok()).collect();
        let bump = self.bumps.peek(topic, now).copied().unwrap_or(0);
        Some(Peers { peers, bump }.encode())
    }

    /// `false` if it is not as it must be, and is not to be answered.
    pub(super) fn announce(&mut self, context: &Context<'_>, announce: Announce) -> bool {
        let target = *context.for_node.target;
        let Some(peer) = &announce.peer else {
            return announce.refresh.is_some_and(|revealed| self.renew(context, &revealed));
        };
        if !context.for_node.verify(&announce) {
            return false;
        }
        let mut kept = peer.clone();
        kept.relays.truncate(MAX_RELAYS);
        let is_self = target_of(&peer.public_key) == target;
        let refresh = Refresh { target, public_key: peer.public_key, record: kept.encode(), is_self };
        self.keep(context, &refresh);
        if let Some(bump) = announce.bump
            && !is_self
            && bump <= context.wall_ms + MAX_DRIFT_MS
            && self.bumps.peek(&target, context.now).is_none_or(|old| bump > *old)
        {
            self.bumps.insert(target, bump, context.now);
        }
        if let Some(end) = announce.refresh {
            self.refreshes.insert(end, refresh, context.now);
        }
        true
    }

    /// Somebody reveals what comes before the end of his chain: that only he can know.
    fn renew(&mut self, context: &Context<'_>, revealed: &[u8; 32]) -> bool {
        let Some(refresh) = self.refreshes.remove(&hash(&[revealed])) else { return false };
        self.keep(context, &refresh);
        self.refreshes.insert(*revealed, refresh, context.now);
        true
    }

    fn keep(&mut self, context: &Context<'_>, refresh: &Refresh) {
        let Refresh { target, public_key, record, is_self } = refresh;
        if *is_self {
            self.topics.remove(target, public_key);
            let forward = Forward { relay: context.from, record: record.clone() };
            self.forwards.insert(*target, forward, context.now);
        } else {
            self.topics.insert(*target, *public_key, record.clone(), context.now);
        }
    }

    /// `false` if it is not to be answered.
    pub(super) fn unannounce(&mut self, context: &Context<'_>, announce: &Announce) -> bool {
        let Some(peer) = announce.peer.as_ref().filter(|_| context.for_node.verify(announce)) else {
            return false;
        };
        self.drop_peer(context.for_node.target, &peer.public_key);
        true
    }

    /// Forgets a peer of a topic, or of its own key.
    pub(super) fn drop_peer(&mut self, target: &Id, key: &PublicKey) {
        self.topics.remove(target, key);
        if target_of(key) == *target {
            self.forwards.remove(target);
        }
    }

    /// The error to answer with; none if it is not to be answered.
    pub(super) fn mutable_put(&mut self, target: &Id, put: MutablePut, now: Instant) -> Option<u64> {
        let MutablePut { public_key, record } = put;
        let fits = !record.value.is_empty() && record.value.len() <= MAX_VALUE;
        if !fits || target_of(&public_key) != *target || !record.is_by(&public_key) {
            return None;
        }
        if let Some(old) = self.mutables.get(target, now) {
            if old.seq > record.seq {
                return Some(error::SEQ_TOO_LOW);
            }
            if old.seq == record.seq && old.value != record.value {
                return Some(error::SEQ_REUSED);
            }
        }
        self.mutables.insert(*target, record, now);
        Some(0)
    }

    pub(super) fn mutable_get(&mut self, target: &Id, seq: u64, now: Instant) -> Option<Vec<u8>> {
        self.mutables.get(target, now).filter(|record| record.seq >= seq).map(MutableRecord::encode)
    }

    /// `false` if it is not to be answered.
    pub(super) fn immutable_put(&mut self, target: &Id, value: &[u8], now: Instant) -> bool {
        let fits = !value.is_empty() && value.len() <= MAX_VALUE;
        if fits && hash(&[value]) == *target {
            self.immutables.insert(*target, value.to_vec(), now);
            return true;
        }
        false
    }

    pub(super) fn immutable_get(&mut self, target: &Id, now: Instant) -> Option<Vec<u8>> {
        self.immutables.get(target, now).cloned()
    }
}
