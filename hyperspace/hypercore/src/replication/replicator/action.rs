//! What is to be done, by whoever drives the replicator.

use super::Replicator;
use super::demand::{DemandId, Outcome};
use crate::replication::peer::PeerId;
use crate::replication::wire::{Message, RequestMessage, Want};
use bytes::Bytes;

/// Something to be done, by whoever drives the replicator.
#[derive(Debug)]
pub enum Action {
    /// Send it.
    Send {
        /// To whom.
        peer: PeerId,
        /// What.
        message: Message,
    },
    /// Answer it, when there is room: see [`upload`](crate::replication::upload).
    Serve {
        /// Whom.
        peer: PeerId,
        /// What it asks.
        work: Work,
    },
    /// A demand has come to its end.
    Finish {
        /// Which.
        demand: DemandId,
        /// How.
        outcome: Outcome,
    },
    /// An extension's message.
    Extension {
        /// From whom.
        peer: PeerId,
        /// Whose.
        name: String,
        /// What.
        payload: Bytes,
    },
    /// Close the peer's channel: neither side wants anything.
    Close {
        /// Whose.
        peer: PeerId,
    },
    /// The peer lies, or is broken: have nothing more to do with it.
    Ban {
        /// Which.
        peer: PeerId,
        /// What it did.
        reason: String,
    },
    /// Peers wait for what is not on the disk yet: flush the core, then call
    /// [`flushed`](Replicator::flushed).
    Flush,
}

/// What a peer asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A proof.
    Request(RequestMessage),
    /// Which blocks we have.
    Want(Want),
    /// Nothing any more.
    Cancel(u64),
    /// Nothing at all, but it takes what we want to give.
    Push {
        /// Which block.
        index: u64,
        /// The peer's length.
        length: u64,
    },
    /// Whatever blocks we think it needs: this one.
    Give {
        /// Which block.
        index: u64,
        /// Of which history.
        fork: u64,
        /// The nodes that prove it: as in [`BlockRequest`](crate::merkle::proof::BlockRequest).
        nodes: u64,
    },
}

impl Replicator {
    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn send(&mut self, peer: PeerId, message: Message) {
        self.actions.push_back(Action::Send { peer, message });
    }

    pub(super) fn serve(&mut self, peer: PeerId, work: Work) {
        self.actions.push_back(Action::Serve { peer, work });
    }

    pub(super) fn finish(&mut self, demand: DemandId, outcome: Outcome) {
        self.actions.push_back(Action::Finish { demand, outcome });
    }
}
