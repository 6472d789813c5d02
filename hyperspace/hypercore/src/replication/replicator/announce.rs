//! What peers are told of the blocks that we have, and given of them unasked.

use super::action::Work;
use super::{Cx, Replicator};
use crate::core::LocalCore;
use crate::replication::have::Has;
use crate::replication::peer::PeerId;
use crate::replication::wire::{Message, Range};

/// Blocks this near to a core's end are of interest to everybody.
const NEAR_END: u64 = 256;

/// Blocks that are pushed at a time.
const MAX_PUSHED: usize = 1024;

impl Replicator {
    /// The blocks `start..end` were cleared.
    pub fn cleared(&mut self, start: u64, end: u64) {
        self.version += 1;
        self.tell_dropped(start, end);
    }

    /// Gives the blocks `start..end` that we have, and peers have not, to those who take what
    /// they did not ask for.
    pub fn push(&mut self, core: &LocalCore, start: u64, end: u64) {
        let end = end.min(self.local.length);
        let takers: Vec<(PeerId, u64)> = self
            .peers
            .iter()
            .filter_map(|(peer, state)| Some((*peer, state.remote?)))
            .filter(|(_, remote)| remote.allow_push && remote.fork == self.local.fork)
            .map(|(peer, remote)| (peer, remote.length))
            .collect();
        let mut at = start;
        let mut left = MAX_PUSHED;
        while let Some((from, to)) = core.held_run(at, end).filter(|_| left > 0) {
            for index in (from..to).take(left) {
                left -= 1;
                for (peer, length) in &takers {
                    if self.peers.get(peer).is_some_and(|state| state.have.get(index) != Has::Yes) {
                        self.serve(*peer, Work::Push { index, length: *length });
                    }
                }
            }
            at = to;
        }
    }

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
