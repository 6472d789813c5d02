//! What we and a peer tell each other of our state.

use super::{Action, Cx, Local, Replicator, UNWANTED};
use crate::core::LocalCore;
use crate::flat_tree;
use crate::merkle::NodeSource;
use crate::replication::peer::PeerId;
use crate::replication::wire::{Message, Range, Sync};
use hyperspace_api::Core;

impl Replicator {
    /// What peers may see of the core.
    pub(super) fn look(&mut self, core: &LocalCore) {
        // Not while a truncation is on its way to the disk; and a core that cannot be read
        // has nothing to show.
        let Ok(Some(served)) = core.served() else { return };
        let has_manifest = core.shared().authority().verifier.manifest().is_some();
        let (fork, length) = (served.tree.fork(), served.tree.length());
        self.local = Local { fork, length, has_manifest };
    }

    /// Looks at the core anew, and tells peers what it has more, or less.
    pub(super) fn refresh(&mut self, cx: Cx<'_>) {
        let before = self.local;
        self.look(cx.core);
        let now = self.local;
        if now != before {
            self.version += 1;
        }
        if now.fork != before.fork {
            self.new_history(before.length);
        } else if now.length > before.length {
            self.tell_gained(cx, before.length, now.length);
        }
        if (now.fork, now.length) != (before.fork, before.length) {
            let peers: Vec<PeerId> = self.peers.keys().copied().collect();
            for peer in peers {
                self.check_upgrade(cx, peer);
            }
        }
        if !self.flushing && !self.peers.is_empty() && cx.core.has_unflushed() {
            self.flushing = true;
            self.actions.push_back(Action::Flush);
        }
    }

    /// What was asked for about the old history is of no use.
    fn new_history(&mut self, old_length: u64) {
        let length = self.local.length;
        for (index, _) in self.flights.drain() {
            self.demands.set_idle(index, true);
        }
        self.oldest.clear();
        self.upgrade = None;
        for peer in self.peers.values_mut() {
            peer.in_flight.retain(|_, flight| flight.message.fork == self.local.fork);
            peer.told_contiguous = peer.told_contiguous.min(length);
            peer.positions.clear();
        }
        for seek in self.demands.seeks.values_mut() {
            seek.in_flight = false;
            seek.hints.clear();
        }
        for range in self.demands.ranges.values_mut() {
            (range.low, range.asked) = (range.start, range.start);
            range.epoch += 1;
        }
        let cut = length.min(old_length);
        self.tell_dropped(cut, old_length.max(cut));
    }

    /// The first messages to a peer.
    pub(super) fn greet(&mut self, cx: Cx<'_>, peer: PeerId) {
        self.tell_state_to(cx, peer, true);
        let contiguous = cx.core.contiguous_length().min(self.local.length);
        if contiguous > 0 {
            self.tell_contiguous(peer, contiguous);
        }
    }

    pub(super) fn tell_contiguous(&mut self, peer: PeerId, contiguous: u64) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.told_contiguous = contiguous;
            self.send(peer, Message::Range(Range { drop: false, start: 0, length: contiguous }));
        }
    }

    /// A peer told us its state.
    pub(super) fn synced(&mut self, cx: Cx<'_>, peer: PeerId, sync: Sync) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let before = state.remote.replace(sync);
        if before.is_some_and(|before| before.fork != sync.fork) {
            state.have.truncate(sync.length);
        }
        if before.is_none_or(|before| before.length < sync.length) {
            state.have_epoch += 1;
        }
        let average =
            (cx.core.byte_length() + 400 * cx.core.length()).checked_div(cx.core.length()).unwrap_or(0);
        state.window.expect(average);
        state.unwanted = if sync.downloading { None } else { state.unwanted.or(Some(cx.now)) };
        self.check_upgrade(cx, peer);
        self.tell_state_to(cx, peer, false);
    }

    /// Closes channels of which neither side wants anything for a while.
    pub(super) fn close_unwanted(&mut self, cx: Cx<'_>) {
        if self.is_downloading(cx.now) {
            return;
        }
        let unwanted: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, state)| state.unwanted.is_some_and(|since| since + UNWANTED <= cx.now))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in unwanted {
            self.actions.push_back(Action::Close { peer });
            self.disconnect(cx.now, cx.core, peer);
        }
    }

    /// Can we prove to the peer how its tree grows to ours? We need its roots for that.
    fn check_upgrade(&mut self, cx: Cx<'_>, peer: PeerId) {
        let local = self.local;
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(remote) = state.remote else { return };
        state.can_upgrade = remote.fork == local.fork
            && (remote.length == 0 || (remote.length < local.length && has_roots(cx.core, remote.length)));
    }

    /// Tells all peers our state, if it has changed.
    pub(super) fn tell_state(&mut self, cx: Cx<'_>) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.tell_state_to(cx, peer, false);
        }
    }

    pub(super) fn tell_state_to(&mut self, cx: Cx<'_>, peer: PeerId, always: bool) {
        if self.ungreeted.contains(&peer) {
            return;
        }
        let local = self.local;
        let downloading = self.is_downloading(cx.now);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let sync = Sync {
            can_upgrade: state.can_upgrade,
            uploading: true,
            downloading,
            has_manifest: local.has_manifest,
            allow_push: self.options.allow_push,
            fork: local.fork,
            length: local.length,
            remote_length: state.length(local.fork),
        };
        let same = state.sent.is_some_and(|sent| {
            // To know that we know of its length is of use only to a peer that is behind.
            let behind =
                state.remote.is_none_or(|remote| remote.fork == local.fork && remote.length < local.length);
            Sync { remote_length: sent.remote_length, ..sync } == sent
                && (sync.remote_length == sent.remote_length || !behind)
        });
        if same && !always {
            return;
        }
        state.sent = Some(sync);
        self.send(peer, Message::Sync(sync));
    }
}

/// Are all roots of a tree of that length kept here?
pub(super) fn has_roots(core: &LocalCore, length: u64) -> bool {
    flat_tree::full_roots(length).all(|root| matches!(core.nodes().node(root), Ok(Some(_))))
}
