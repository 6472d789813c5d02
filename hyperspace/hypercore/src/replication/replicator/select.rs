//! Whom to ask for what.
//!
//! Each peer is asked for as much as its window allows, the urgent first: the way to a newer
//! fork, blocks that somebody waits for, seeks, then ranges. A longer tree comes along with a
//! block if one is asked for, else alone. A peer with room left is asked for what others are
//! slow to give; whoever is first wins, and the others are told to forget it.

use super::{Cx, DemandId, MAX_IN_FLIGHT, Replicator};
use crate::merkle::missing_nodes;
use crate::merkle::proof::{BlockRequest, Request, UpgradeRequest};
use crate::replication::have::Has;
use crate::replication::peer::{InFlight, PeerId, Position, Purpose};
use crate::replication::wire::{Message, RequestMessage};
use hyperspace_api::Core;

/// Ranges that are tried for one request.
const MAX_RANGES: usize = 64;

/// Places in a range that are looked at for one request.
const MAX_LOOKS: usize = 1 << 16;

/// Peers that a block is asked of at the same time.
const MAX_ASKED: usize = 3;

/// Blocks in flight that are looked at for being slow.
const MAX_SLOW: usize = 64;

impl Replicator {
    /// Asks all peers for as much as they have room for.
    pub(super) fn fill(&mut self, cx: Cx<'_>) {
        if self.pause.is_some_and(|pause| cx.now < pause) || !self.wants_data() {
            return;
        }
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in &peers {
            self.ask_what_it_has(cx, *peer);
            while self.ask(cx, *peer) {}
        }
        if peers.len() > 1 && !self.flights.is_empty() {
            for peer in peers {
                self.swap(cx, peer);
            }
        }
    }

    /// Sends one request, if there is anything to ask. `false` if not.
    fn ask(&mut self, cx: Cx<'_>, peer: PeerId) -> bool {
        let Some(state) = self.peers.get(&peer) else { return false };
        let Some(remote) = state.remote.filter(|_| state.is_useful()) else { return false };
        if remote.fork != self.local.fork {
            return self.ask_reorg(cx, peer);
        }
        if remote.length == 0 {
            return self.ask_manifest(cx, peer);
        }
        if !state.has_room(true) {
            return false;
        }
        let room = state.has_room(false) && self.has_room(state.window.size());
        self.ask_longer(cx, peer)
            || self.ask_wanted(cx, peer)
            || self.ask_seek(cx, peer)
            || (room && self.ask_range(cx, peer))
    }

    fn has_room(&self, size: u64) -> bool {
        self.flights.len() as u64 * size.max(1) < MAX_IN_FLIGHT
    }

    /// Sends a request; gives its number.
    pub(super) fn request(
        &mut self,
        cx: Cx<'_>,
        peer: PeerId,
        mut message: RequestMessage,
        purpose: Purpose,
        promised: bool,
    ) -> u64 {
        let Some(state) = self.peers.get_mut(&peer) else { return 0 };
        message.id = state.next_id();
        if state.in_flight.is_empty() {
            state.heard = cx.now;
        }
        state.in_flight.insert(message.id, InFlight { message, purpose, sent: cx.now, promised });
        self.send(peer, Message::Request(message));
        message.id
    }

    /// A peer that has nothing yet may still know the manifest.
    fn ask_manifest(&mut self, cx: Cx<'_>, peer: PeerId) -> bool {
        let needs = cx.core.shared().authority().manifest.is_none();
        let fork = self.local.fork;
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        if !needs || state.asked_manifest || !state.remote.is_some_and(|remote| remote.has_manifest) {
            return false;
        }
        state.asked_manifest = true;
        let message = RequestMessage { fork, manifest: true, ..RequestMessage::default() };
        self.request(cx, peer, message, Purpose::Manifest, true);
        true
    }

    /// What makes our tree as long as the peer's; `None` if that cannot be asked now.
    fn upgrade_part(&self, cx: Cx<'_>, peer: PeerId) -> Option<UpgradeRequest> {
        let remote = self.peers.get(&peer)?.remote?;
        let length = self.local.length;
        let possible = self.upgrade.is_none()
            && remote.can_upgrade
            && remote.fork == self.local.fork
            && remote.length > length
            // It has to know of our length, for that is from where it proves.
            && remote.remote_length == length
            // Of a core that we write, what is not flushed yet is of no interest to anyone.
            && cx.core.length() == length;
        possible.then(|| UpgradeRequest { start: length, length: remote.length - length })
    }

    /// Asks for a longer tree, together with a block past our end if one is wanted.
    fn ask_longer(&mut self, cx: Cx<'_>, peer: PeerId) -> bool {
        let length = self.local.length;
        if !self.followed && !self.demands.reach(length) && !self.seeks_beyond(cx) {
            return false;
        }
        let Some(upgrade) = self.upgrade_part(cx, peer) else { return false };
        let end = upgrade.start + upgrade.length;
        let Some(state) = self.peers.get(&peer) else { return false };
        let wanted = self.demands.blocks.range(length..end).map(|(index, _)| *index).next();
        let ranged = self.demands.in_range(length).then_some(length);
        // Of a peer that has only said how long it is, we do not know yet what it has. If it
        // turns out not to have the block, the longer tree is asked for once more.
        let lacks = |index: &u64| match state.have.get(*index) {
            Has::Yes => false,
            Has::No => true,
            Has::Unknown => self.demands.blocks.get(index).is_none_or(|block| block.lacking.contains(&peer)),
        };
        let block = wanted.or(ranged).filter(|index| !lacks(index) && !self.flights.contains_key(index));
        match block {
            Some(block) => {
                let promised = state.have.get(block) == Has::Yes;
                self.ask_block(cx, peer, block, wanted.is_some(), promised)
            }
            None => {
                let message =
                    self.message(cx, peer, Request { upgrade: Some(upgrade), ..Request::default() });
                let id = self.request(cx, peer, message, Purpose::Upgrade, true);
                self.upgrade = Some((peer, id));
                true
            }
        }
    }

    fn message(&self, cx: Cx<'_>, peer: PeerId, request: Request) -> RequestMessage {
        let knows = self.peers.get(&peer).and_then(|state| state.remote).is_some_and(|r| r.has_manifest);
        let manifest = knows && request.upgrade.is_some() && cx.core.shared().authority().manifest.is_none();
        RequestMessage { id: 0, fork: self.local.fork, request, manifest, priority: 0 }
    }

    /// Can the peer prove a block to us? One that is behind us has nodes only up to its own
    /// length; then we need the roots of that.
    pub(super) fn may_ask(&self, peer: PeerId, index: u64) -> bool {
        let Some(state) = self.peers.get(&peer) else { return false };
        let Some(remote) = state.remote.filter(|remote| remote.fork == self.local.fork) else {
            return false;
        };
        index < remote.length && (remote.length >= self.local.length || state.can_upgrade)
    }

    /// Asks a peer for a block.
    pub(super) fn ask_block(
        &mut self,
        cx: Cx<'_>,
        peer: PeerId,
        index: u64,
        urgent: bool,
        promised: bool,
    ) -> bool {
        if !self.may_ask(peer, index) {
            return false;
        }
        let mut request = Request::default();
        let mut nodes = 0;
        if index >= self.local.length {
            request.upgrade = self.upgrade_part(cx, peer);
            if request.upgrade.is_none() {
                return false;
            }
        } else {
            let Ok(tree) = cx.core.present_tree() else { return false };
            let Ok(levels) = missing_nodes(&cx.core.nodes(), &tree, 2 * index) else { return false };
            nodes = levels;
        }
        request.block = Some(BlockRequest { index, nodes });
        let mut message = self.message(cx, peer, request);
        message.priority = u64::from(urgent);
        let id = self.request(cx, peer, message, Purpose::Block(index), promised);
        if request.upgrade.is_some() {
            self.upgrade = Some((peer, id));
        }
        let flight = self.flights.entry(index).or_default();
        flight.push((peer, id));
        self.oldest.push_back((cx.now, index));
        if self.oldest.len() > 4 * self.flights.len() + 64 {
            self.oldest.retain(|(_, index)| self.flights.contains_key(index));
        }
        self.demands.set_idle(index, false);
        true
    }

    /// Asks for a block that somebody waits for. A peer of which we do not know whether it
    /// has the block is asked, too, if no other is known to have it.
    fn ask_wanted(&mut self, cx: Cx<'_>, peer: PeerId) -> bool {
        let wanted: Option<(u64, bool)> = self.demands.idle().find_map(|index| {
            let state = self.peers.get(&peer)?;
            if !self.may_ask(peer, index)
                || (index >= self.local.length && self.upgrade_part(cx, peer).is_none())
            {
                return None;
            }
            match state.have.get(index) {
                Has::Yes => Some((index, true)),
                Has::No => None,
                Has::Unknown => {
                    let known = self.peers.values().any(|other| other.have.get(index) == Has::Yes);
                    let lacks = self.demands.blocks.get(&index)?.lacking.contains(&peer);
                    (!known && !lacks).then_some((index, false))
                }
            }
        });
        wanted.is_some_and(|(index, promised)| self.ask_block(cx, peer, index, true, promised))
    }

    /// Asks which blocks the peer has, around those that somebody waits for.
    fn ask_what_it_has(&mut self, cx: Cx<'_>, peer: PeerId) {
        let fork = self.local.fork;
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let length = state.length(fork);
        let mut out = Vec::new();
        for index in self.demands.blocks.keys().copied().take(MAX_RANGES) {
            if index < length && state.have.get(index) == Has::Unknown && !state.have.is_asked(index) {
                state.have.ask(cx.now, index, &mut out);
            }
        }
        for message in out {
            self.send(peer, message);
        }
    }

    /// Asks for a block of a range.
    fn ask_range(&mut self, cx: Cx<'_>, peer: PeerId) -> bool {
        // Who can prove nothing to us is not asked for anything.
        if !self.may_ask(peer, 0) {
            return false;
        }
        let ids: Vec<DemandId> = self.demands.ranges.keys().copied().take(MAX_RANGES).collect();
        ids.into_iter().any(|id| {
            let Some(index) = self.next_in_range(cx, peer, id) else { return false };
            let asked = self.ask_block(cx, peer, index, false, true);
            if !asked {
                // It was taken for asked.
                self.demands.ask_again(index);
            }
            asked
        })
    }

    /// The next block of a range that is neither here nor asked for, and that the peer has.
    fn next_in_range(&mut self, cx: Cx<'_>, peer: PeerId, id: DemandId) -> Option<u64> {
        let length = self.local.length;
        let alone = self.peers.len() == 1;
        let chance = self.chance(1 << 53);
        let range = self.demands.ranges.get_mut(&id)?;
        let state = self.peers.get_mut(&peer)?;
        let end = range.end.min(length).min(state.length(self.local.fork));
        let epoch = range.epoch + state.have_epoch + length;
        let position = state.positions.entry(id).or_insert(Position { epoch: 0, next: None, wrap: None });
        if position.epoch != epoch && (range.linear || alone || position.next.is_none()) {
            let mut start = range.asked;
            let mut wrap = None;
            if !range.linear && !alone && end > start {
                // Each peer from another place, so that they soon have something to exchange.
                start += chance % (end - start);
                wrap = Some(start);
            }
            *position = Position { epoch, next: Some(start), wrap };
        }
        let mut at = position.next?;
        // Was everything from where blocks were asked for up to here found to be on its way?
        let mut gapless = at <= range.asked;
        let mut out = Vec::new();
        let mut found = None;
        let tail = cx.core.shared().tail.read();
        for _ in 0..MAX_LOOKS {
            let missing = if at < end { tail.held.find(at..end, false) } else { None };
            let Some(missing) = missing else {
                match position.wrap.take() {
                    Some(_) => {
                        at = range.asked;
                        gapless = true;
                        continue;
                    }
                    None => {
                        position.next = None;
                        break;
                    }
                }
            };
            if self.flights.contains_key(&missing) {
                at = missing + 1;
                continue;
            }
            match state.have.next(missing..end) {
                Some((index, Has::Yes)) if index == missing => {
                    found = Some(index);
                    position.next = Some(index + 1);
                    if gapless {
                        range.asked = range.asked.max(index + 1);
                    }
                    break;
                }
                Some((index, Has::Yes)) => at = index,
                Some((index, _)) => {
                    state.have.ask(cx.now, index, &mut out);
                    at = (index / crate::storage::bitfield::PAGE_BITS + 1)
                        * crate::storage::bitfield::PAGE_BITS;
                }
                None => at = end,
            }
            gapless = false;
            position.next = Some(at);
        }
        drop(tail);
        for message in out {
            self.send(peer, message);
        }
        found
    }

    /// Asks a peer with room left for what others are slow to give.
    fn swap(&mut self, cx: Cx<'_>, peer: PeerId) {
        let Some(state) = self.peers.get(&peer) else { return };
        if !state.is_useful() || state.is_stalled(cx.now) {
            return;
        }
        let patience = state.patience();
        let slow: Vec<u64> = self
            .oldest
            .iter()
            .take(MAX_SLOW)
            .take_while(|(since, _)| cx.now.saturating_duration_since(*since) > patience)
            .map(|(_, index)| *index)
            .collect();
        for index in slow {
            let Some(state) = self.peers.get(&peer) else { return };
            if !state.has_room(false) || state.in_flight.len() >= (state.window.requests() / 2).max(16) {
                return;
            }
            let swaps = self.flights.get(&index).is_some_and(|flight| {
                flight.len() < MAX_ASKED && flight.iter().all(|(asked, _)| *asked != peer)
            });
            if swaps && state.have.get(index) == Has::Yes {
                self.ask_block(cx, peer, index, self.demands.blocks.contains_key(&index), true);
            }
        }
    }
}
