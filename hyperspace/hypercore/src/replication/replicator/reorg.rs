//! Following peers to a newer fork of the core.

use super::{Cx, Replicator};
use crate::core::{Received, Refused};
use crate::merkle::Reorg;
use crate::merkle::proof::{Request, UpgradeRequest};
use crate::replication::have::Has;
use crate::replication::peer::{InFlight, PeerId, Purpose};
use crate::replication::wire::RequestMessage;
use hyperspace_api::Core;

/// A newer fork that is looked into.
pub(super) struct Reorging {
    /// Its number.
    fork: u64,
    /// Its signed tree, and what both share; nothing before that has come.
    state: Option<Box<Reorg>>,
    /// The request that is out.
    asked: Option<(PeerId, u64)>,
}

impl Replicator {
    /// Do we take over what a peer says is a newer history? Not of a core that we write
    /// ourselves: then somebody else has our key, and which history is right is not for a
    /// peer to say.
    pub(super) fn follows_forks(&self, cx: Cx<'_>) -> bool {
        !cx.core.writable() || cx.core.length() == 0
    }

    /// Asks a peer that has a newer fork for what we need to follow. `true` if it was asked.
    pub(super) fn ask_reorg(&mut self, cx: Cx<'_>, peer: PeerId) -> bool {
        let Some(state) = self.peers.get(&peer) else { return false };
        let Some(remote) = state.remote.filter(|remote| remote.fork > self.local.fork) else {
            return false;
        };
        if remote.length == 0 || !self.follows_forks(cx) || !state.has_room(true) {
            return false;
        }
        if self.reorg.as_ref().is_none_or(|reorg| reorg.fork < remote.fork) {
            self.reorg = Some(Reorging { fork: remote.fork, state: None, asked: None });
        }
        let Some(reorg) = &mut self.reorg else { return false };
        if reorg.fork != remote.fork || reorg.asked.is_some() {
            return false;
        }
        let mut request = Request::default();
        match &reorg.state {
            None => request.upgrade = Some(UpgradeRequest { start: 0, length: remote.length }),
            Some(narrowing) => {
                let Some(wanted) = narrowing.wants() else { return false };
                // Asking for a node of a block that a peer has not is dangerous to some.
                let Some((block, Has::Yes)) = state.have.next(wanted) else { return false };
                request.hash = narrowing.request(block);
            }
        }
        let manifest = remote.has_manifest && cx.core.shared().authority().manifest.is_none();
        let message = RequestMessage { id: 0, fork: remote.fork, request, manifest, priority: 1 };
        let id = self.request(cx, peer, message, Purpose::Reorg, true);
        if let Some(reorg) = &mut self.reorg {
            reorg.asked = Some((peer, id));
        }
        true
    }

    /// An answer about another fork than ours has come.
    pub(super) fn reorg_arrived(
        &mut self,
        cx: Cx<'_>,
        peer: PeerId,
        id: u64,
        flight: &InFlight,
        received: Received,
    ) {
        let Some(mut reorg) = self.reorg.take_if(|reorg| reorg.asked == Some((peer, id))) else {
            return self.lost(peer, id, flight);
        };
        reorg.asked = None;
        let outcome = match reorg.state.take() {
            None => cx.core.begin_reorg(&received).map(Box::new),
            Some(mut state) => match cx.core.narrow_reorg(&mut state, &received.proof) {
                Ok(()) | Err(Refused::Outdated) => Ok(state),
                Err(error) => {
                    // What was known of the fork before is still true.
                    reorg.state = Some(state);
                    Err(error)
                }
            },
        };
        match outcome {
            Ok(state) if state.is_done() => match cx.core.apply_reorg(&state) {
                Ok(_) => self.refresh(cx),
                Err(error) => self.fail(&error),
            },
            Ok(state) => {
                reorg.state = Some(state);
                self.reorg = Some(reorg);
            }
            Err(Refused::Invalid(reason)) => {
                self.reorg = reorg.state.is_some().then_some(reorg);
                self.ban(cx, peer, reason);
            }
            Err(error) => tracing::debug!(core = %cx.core.key(), "a newer fork is not followed: {error}"),
        }
    }

    /// A request about another fork will not be answered.
    pub(super) fn reorg_lost(&mut self, peer: PeerId, id: u64) {
        if let Some(reorg) = &mut self.reorg
            && reorg.asked == Some((peer, id))
        {
            reorg.asked = None;
        }
        self.drop_reorg();
    }

    /// The peer does not answer: others may.
    pub(super) fn reorg_stalled(&mut self, peer: PeerId) {
        if let Some(reorg) = &mut self.reorg
            && reorg.asked.is_some_and(|(asked, _)| asked == peer)
        {
            reorg.asked = None;
        }
    }

    /// Gives a fork up that no peer has any more.
    fn drop_reorg(&mut self) {
        if let Some(reorg) = &self.reorg
            && reorg.asked.is_none()
            && !self.peers.values().any(|peer| peer.is_useful() && peer.length(reorg.fork) > 0)
        {
            self.reorg = None;
        }
    }
}
