//! What peers are told of the blocks that we have.

use super::{Cx, Replicator};
use crate::replication::peer::PeerId;
use crate::replication::wire::{Message, Range};

/// Blocks this near to a core's end are of interest to everybody.
const NEAR_END: u64 = 256;

impl Replicator {
    /// Tells of the blocks of `start..end` that we have, which peers could not know before.
    pub(super) fn tell_gained(&mut self, cx: Cx<'_>, start: u64, end: u64) {
        let mut at = start;
        while let Some((from, to)) = cx.core.held_run(at, end) {
            self.tell_run(cx, from, to);
            at = to;
        }
    }

    /// Tells those of it who might want to know.
    pub(super) fn tell_run(&mut self, cx: Cx<'_>, start: u64, end: u64) {
        let length = self.local.length;
        let end = end.min(length);
        if start >= end {
            return;
        }
        let contiguous = cx.core.contiguous_length();
        let complete = contiguous >= length;
        let near_end = end + NEAR_END > length;
        let mut told = Vec::new();
        for (peer, state) in &self.peers {
            if complete {
                if state.told_contiguous < length && state.have.contiguous() < length {
                    told.push((*peer, Range { drop: false, start: 0, length }));
                }
            } else if state.have.contiguous() < end && (near_end || state.wants.covers(start..end)) {
                told.push((*peer, Range { drop: false, start, length: end - start }));
            }
        }
        for (peer, range) in told {
            if complete {
                self.tell_contiguous(peer, length);
            } else {
                self.send(peer, Message::Range(range));
            }
        }
    }

    /// Tells all that we have these blocks no longer.
    pub(super) fn tell_dropped(&mut self, start: u64, end: u64) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.told_contiguous = state.told_contiguous.min(start);
            }
            let length = end.saturating_sub(start);
            self.send(peer, Message::Range(Range { drop: true, start, length }));
        }
    }
}
