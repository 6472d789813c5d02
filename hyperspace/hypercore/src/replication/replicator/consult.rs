//! Messages of extensions, and the blocks that may come of them.

use super::Replicator;
use crate::replication::peer::PeerId;
use crate::replication::wire::Message;
use bytes::Bytes;
use std::cmp::Reverse;
use std::time::Instant;

impl Replicator {
    /// Sends an extension's message to a peer. `false` if that is gone.
    pub fn extend(&mut self, peer: PeerId, name: &str, payload: Bytes) -> bool {
        if !self.peers.contains_key(&peer) {
            return false;
        }
        self.send(peer, Message::Extension { name: name.to_owned(), payload });
        true
    }

    /// Sends an extension's message, which asks for blocks that we do not know yet, to the
    /// peer that is likely to answer best, and takes up to `blocks` blocks from it that come
    /// of that. If there is none that has the core as we know it, all peers get the message.
    pub fn consult(&mut self, now: Instant, name: &str, payload: Bytes, blocks: u64) {
        let (fork, length) = (self.local.fork, self.local.length);
        let best = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_useful() && !peer.is_stalled(now) && peer.length(fork) >= length)
            .max_by_key(|(_, peer)| (peer.have.contiguous() >= length, Reverse(peer.window.rtt())))
            .map(|(peer, _)| *peer);
        if let Some(best) = best {
            self.invite(best, blocks);
        }
        let to = best.map_or_else(|| self.peers().collect(), |best| vec![best]);
        for peer in to {
            self.extend(peer, name, payload.clone());
        }
    }

    /// Takes up to `blocks` blocks from a peer that it was not asked for by their numbers.
    pub fn invite(&mut self, peer: PeerId, blocks: u64) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.invited = blocks;
        }
    }
}
