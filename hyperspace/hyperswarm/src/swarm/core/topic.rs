//! One topic: who wants it, and how far its round is.

use crate::dht::Id;
use crate::key_pair::PublicKey;
use crate::swarm::types::{Ask, Join, QueryId, SessionId, TopicStatus, WaitId};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddrV4;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Between rounds.
    Idle,
    /// A round is to begin.
    Queued,
    /// A round begins when we are reachable.
    Listening,
    /// A round is under way.
    Asking {
        id: QueryId,
        ask: Ask,
        /// How many more may be dialled.
        left: Option<usize>,
    },
    /// It is being taken back. If it is wanted again by then, a round begins after that.
    Withdrawing(QueryId),
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) number: u32,
    pub(super) sessions: BTreeMap<SessionId, Join>,
    pub(super) limit: Option<usize>,
    /// What the last round wanted.
    pub(super) is_server: bool,
    pub(super) is_client: bool,
    pub(super) stage: Stage,
    /// Nodes that keep that we are there.
    pub(super) nodes: Vec<SocketAddrV4>,
    /// What may have been left from an earlier run is taken back.
    pub(super) cleared: bool,
    /// Whoever announced itself at the same time as we did, was not found: we look again.
    pub(super) look_again: bool,
    /// Somebody may know that we are there.
    pub(super) is_told: bool,
    pub(super) failures: u32,
    pub(super) due: Option<Instant>,
    /// When the last round began.
    pub(super) began: Option<Instant>,
    /// It has just been put off, since it was late.
    pub(super) put_off: bool,
    pub(super) discovered: HashSet<PublicKey>,
    /// How many peers are known because of it.
    pub(super) known: usize,
    pub(super) flushing: Vec<WaitId>,
    pub(super) leaving: Vec<WaitId>,
}

impl Topic {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            sessions: BTreeMap::new(),
            limit: None,
            is_server: false,
            is_client: false,
            stage: Stage::Idle,
            nodes: Vec::new(),
            cleared: false,
            look_again: false,
            is_told: false,
            failures: 0,
            due: None,
            began: None,
            put_off: false,
            discovered: HashSet::new(),
            known: 0,
            flushing: Vec::new(),
            leaving: Vec::new(),
        }
    }

    pub(super) fn leave_all(&mut self) {
        self.sessions.clear();
    }

    pub(super) fn wanted(&self) -> (bool, bool) {
        let all = self.sessions.values();
        all.fold((false, false), |(server, client), join| (server || join.server, client || join.client))
    }

    pub(super) fn status(&self, topic: Id, peers: usize) -> TopicStatus {
        let (server, client) = self.wanted();
        TopicStatus { topic, server, client, announced_by: self.nodes.len(), peers, is_busy: self.is_busy() }
    }

    /// Is a round wanted that has not ended?
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Queued | Stage::Listening | Stage::Asking { .. })
    }
}
