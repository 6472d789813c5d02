//! What was asked for, and how that ends without an answer.

use super::{Arrived, Replicator};
use crate::replication::have::Has;
use crate::replication::peer::{InFlight, PeerId, Purpose};
use crate::replication::wire::{Message, NoData, Reason};

impl Replicator {
    /// A request will not be answered.
    pub(super) fn lost(&mut self, peer: PeerId, id: u64, flight: &InFlight) {
        if self.upgrade == Some((peer, id)) {
            self.upgrade = None;
        }
        match flight.purpose {
            Purpose::Block(index) => {
                self.land(index, peer, id);
                if !self.flights.contains_key(&index) {
                    self.demands.ask_again(index);
                }
            }
            Purpose::Seek(demand) => {
                if let Some(seek) = self.demands.seeks.get_mut(&demand) {
                    seek.in_flight = false;
                }
            }
            Purpose::Reorg => self.reorg_lost(peer, id),
            Purpose::Upgrade | Purpose::Manifest | Purpose::Conflict => {}
        }
    }

    /// A peer's request for a block has come to its end.
    pub(super) fn land(&mut self, index: u64, peer: PeerId, id: u64) {
        if let Some(flight) = self.flights.get_mut(&index) {
            flight.retain(|asked| *asked != (peer, id));
            if flight.is_empty() {
                self.flights.remove(&index);
            }
        }
    }

    /// Takes back what was asked for a block, but of `except`, who gave it.
    pub(super) fn take_back(&mut self, index: u64, except: Option<PeerId>) {
        let Some(flight) = self.flights.remove(&index) else { return };
        for (peer, id) in flight.into_iter().filter(|(peer, _)| Some(*peer) != except) {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            // A request that brings a longer tree, too, is still of use.
            if state.in_flight.get(&id).is_some_and(|flight| flight.message.request.upgrade.is_some()) {
                continue;
            }
            state.in_flight.remove(&id);
            self.send(peer, Message::Cancel { request: id });
        }
    }

    /// A peer does not give what it was asked for.
    pub(super) fn refused(&mut self, peer: PeerId, no_data: NoData) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(flight) = state.in_flight.remove(&no_data.request) else { return };
        if state.remote.is_some_and(|remote| remote.fork != flight.message.fork) {
            // It has another history since: that says nothing about this one.
            return self.lost(peer, no_data.request, &flight);
        }
        if flight.purpose == Purpose::Conflict {
            // Whoever has no history to show has lied.
            let data = Box::default();
            return self.arrived.push(Arrived { peer, flight, data });
        }
        if flight.promised || no_data.reason == Reason::InvalidRequest {
            state.refused();
        }
        if let Purpose::Block(index) = flight.purpose {
            if no_data.reason != Reason::InvalidRequest {
                state.have.lacks(index);
            }
            if state.have.get(index) != Has::Yes
                && let Some(block) = self.demands.blocks.get_mut(&index)
                && !block.lacking.contains(&peer)
            {
                block.lacking.push(peer);
            }
        }
        self.lost(peer, no_data.request, &flight);
    }
}
