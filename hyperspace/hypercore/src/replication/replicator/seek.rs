//! Finding the block that has a byte, with the help of peers.
//!
//! A peer is asked for the nodes on the way to the byte. What it says of sizes is not all
//! proven by that: it leads to a block, which is then fetched; the nodes that prove the block
//! prove the sizes on its way, too.

use super::{Cx, DemandId, Outcome, Replicator};
use crate::flat_tree;
use crate::merkle::proof::{HashRequest, Request, SeekRequest};
use crate::merkle::seek::{Position, locate};
use crate::merkle::{ReadError, Tree, WithHints, missing_nodes};
use crate::replication::have::Has;
use crate::replication::peer::{PeerId, Purpose};
use crate::replication::wire::RequestMessage;
use hyperspace_api::{CoreError, Seek};
use std::collections::HashMap;
use std::sync::Arc;

/// Requests after which a byte is called not to be found.
const MAX_STEPS: u32 = 128;

/// Hints that are remembered of a seek.
const MAX_HINTS: usize = 1024;

impl Replicator {
    /// Ends the seeks whose block is known for sure.
    pub(super) fn advance_seeks(&mut self, cx: Cx<'_>) {
        if self.demands.seeks.is_empty() {
            return;
        }
        let Ok(tree) = tree(cx) else { return };
        let mut ended = Vec::new();
        for (id, seek) in &mut self.demands.seeks {
            if seek.hints.len() > MAX_HINTS {
                seek.hints.clear();
            }
            match locate(&cx.core.nodes(), &tree, seek.bytes, 0) {
                Ok(Position::Block { index, offset }) => {
                    ended.push((*id, Outcome::Found(Seek { index, offset })));
                }
                Err(ReadError::Source(error)) => ended.push((*id, Outcome::Failed(error))),
                _ if seek.steps > MAX_STEPS => ended.push((*id, Outcome::NotAvailable)),
                _ => {}
            }
        }
        for (id, outcome) in ended {
            self.demands.remove(id);
            self.finish(id, outcome);
        }
    }

    /// Does a seek go past the core's end?
    pub(super) fn seeks_beyond(&self, cx: Cx<'_>) -> bool {
        use hyperspace_api::Core;
        self.demands.seeks.values().any(|seek| seek.bytes > cx.core.byte_length())
    }

    /// Asks a peer for the next step of a seek. `true` if it was asked.
    pub(super) fn ask_seek(&mut self, cx: Cx<'_>, peer: PeerId) -> bool {
        let Ok(tree) = tree(cx) else { return false };
        let ids: Vec<DemandId> =
            self.demands.seeks.iter().filter(|(_, seek)| !seek.in_flight).map(|(id, _)| *id).collect();
        ids.into_iter().any(|id| self.ask_step(cx, peer, id, &tree))
    }

    fn ask_step(&mut self, cx: Cx<'_>, peer: PeerId, id: DemandId, tree: &Tree) -> bool {
        let Some(seek) = self.demands.seeks.get(&id) else { return false };
        let nodes = cx.core.nodes();
        let hinted = WithHints { source: &nodes, hints: &seek.hints };
        let (candidates, is_block) = match locate(&hinted, tree, seek.bytes, 0) {
            Ok(Position::Block { index, .. }) => (index..index + 1, true),
            Ok(Position::Below { node, .. }) => (flat_tree::blocks(node), false),
            Err(_) => return false,
        };
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        let span = candidates.end - candidates.start;
        let middle = candidates.start + span / 2;
        let mut asked = Vec::new();
        let found = match state.have.next(middle..candidates.end) {
            Some((block, Has::Yes)) => Some(block),
            _ => match state.have.next(candidates.clone()) {
                Some((block, Has::Yes)) => Some(block),
                Some((block, Has::Unknown)) => {
                    state.have.ask(cx.now, block, &mut asked);
                    None
                }
                _ => None,
            },
        };
        let bytes = seek.bytes;
        let by_hash = !is_block && state.seeks;
        for message in asked {
            self.send(peer, message);
        }
        let Some(block) = found.filter(|block| self.may_ask(peer, *block)) else { return false };
        if by_hash {
            let Ok(levels) = missing_nodes(&nodes, tree, 2 * block) else { return false };
            let request = Request {
                hash: Some(HashRequest { index: 2 * block, nodes: levels }),
                seek: Some(SeekRequest { bytes, padding: 0 }),
                ..Request::default()
            };
            let fork = self.local.fork;
            let message = RequestMessage { id: 0, fork, request, manifest: false, priority: 1 };
            self.request(cx, peer, message, Purpose::Seek(id), true);
            if let Some(seek) = self.demands.seeks.get_mut(&id) {
                seek.in_flight = true;
                seek.steps += 1;
            }
            return true;
        }
        // Its way up proves the sizes; if it is here already, the hints have lied.
        if cx.core.shared().tail.read().held.get(block) {
            if let Some(seek) = self.demands.seeks.get_mut(&id) {
                seek.hints = HashMap::new();
                seek.steps += 1;
            }
            return false;
        }
        if let Some(seek) = self.demands.seeks.get_mut(&id) {
            seek.steps += 1;
        }
        !self.flights.contains_key(&block) && self.ask_block(cx, peer, block, true, true)
    }

    /// The seeks for bytes that no peer can lead us to.
    pub(super) fn hopeless_seeks(&self, cx: Cx<'_>, longest: u64) -> Vec<DemandId> {
        use hyperspace_api::Core;
        let grows = longest > cx.core.length();
        let byte_length = cx.core.byte_length();
        self.demands
            .seeks
            .iter()
            .filter(|(_, seek)| {
                seek.if_available
                    && !seek.in_flight
                    && if seek.bytes > byte_length { !grows } else { !self.somebody_serves() }
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// Is there a peer that has our history?
    fn somebody_serves(&self) -> bool {
        self.peers.values().any(|peer| peer.is_useful() && peer.length(self.local.fork) > 0)
    }
}

fn tree(cx: Cx<'_>) -> Result<Arc<Tree>, CoreError> {
    cx.core.present_tree()
}
