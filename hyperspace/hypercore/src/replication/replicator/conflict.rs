//! Cores with two histories: how that is found out, and what becomes of their peers.
//!
//! A peer whose proof does not hold is a liar, unless its history of the core is another than
//! ours, and as well signed. So it is asked, once, for its signature of what we have, too; and
//! whoever has found such a thing out before us may tell us without being asked. If it is so,
//! the core is frozen, and whoever still trusts in one of the histories is shown the other.

use super::{Action, Arrived, Cx, Replicator};
use crate::core::{Received, Refused};
use crate::merkle::proof::{Request, UpgradeRequest};
use crate::replication::peer::{InFlight, PeerId, Purpose};
use crate::replication::wire::{DataMessage, Message, RequestMessage};
use hyperspace_api::{Core, CoreError};
use std::time::{Duration, Instant};

/// Proofs that a peer may send unasked: it takes some time to look at each.
const MAX_TESTIMONIES: u8 = 4;

/// How long a peer may take to show its history, before it is a liar.
pub(super) const JUDGED_WITHIN: Duration = Duration::from_secs(5);

impl Replicator {
    /// Is this a signed history that nobody asked for? Then somebody wants to show that there
    /// are two. It is looked at with what else has come.
    pub(super) fn testified(&mut self, now: Instant, peer: PeerId, data: Box<DataMessage>) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let unasked = data.request == 0 && data.proof.fork == self.local.fork;
        let whole = data.proof.upgrade.as_ref().is_some_and(|upgrade| upgrade.start == 0);
        if !unasked || !whole || state.testimonies >= MAX_TESTIMONIES {
            return;
        }
        state.testimonies += 1;
        let message = RequestMessage::default();
        let flight = InFlight { message, purpose: Purpose::Conflict, sent: now, promised: false };
        self.arrived.push(Arrived { peer, flight, data });
    }

    /// A peer's proof did not hold.
    pub(super) fn suspect(&mut self, cx: Cx<'_>, peer: PeerId, reason: String) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let theirs = state.remote.filter(|remote| remote.fork == self.local.fork);
        let length = theirs.map_or(0, |remote| remote.length.min(self.local.length));
        if length == 0 || state.suspected.is_some() {
            return self.ban(cx, peer, reason);
        }
        // Until it has answered, it is asked for nothing else.
        state.suspected = Some((cx.now, reason));
        let upgrade = Some(UpgradeRequest { start: 0, length });
        let request = Request { upgrade, ..Request::default() };
        let fork = self.local.fork;
        let message = RequestMessage { id: 0, fork, request, manifest: false, priority: 1 };
        self.request(cx, peer, message, Purpose::Conflict, true);
    }

    /// A peer's signed history has come, asked for or not.
    pub(super) fn judge(&mut self, cx: Cx<'_>, peer: PeerId, received: &Received) {
        let verdict = cx.core.judge(received);
        let suspected = self.peers.get_mut(&peer).and_then(|state| state.suspected.take());
        match (verdict, suspected) {
            (Ok(true), _) => self.freeze(cx, peer),
            // It has our history after all, and yet has lied about it.
            (Ok(false), Some((_, reason))) | (Err(Refused::Invalid(reason)), _) => self.ban(cx, peer, reason),
            (Ok(false), None) | (Err(Refused::Outdated), _) => {}
            (Err(Refused::Storage(error)), _) => {
                tracing::warn!(core = %cx.core.key(), "comparing two histories: {error}");
            }
        }
    }

    /// Bans those that were suspected and have not answered.
    pub(super) fn condemn(&mut self, cx: Cx<'_>) {
        let late = |(since, reason): &(Instant, String)| {
            (cx.now.saturating_duration_since(*since) >= JUDGED_WITHIN).then(|| reason.clone())
        };
        let liars: Vec<_> = self
            .peers
            .iter()
            .filter_map(|(peer, state)| Some((*peer, late(state.suspected.as_ref()?)?)))
            .collect();
        for (peer, reason) in liars {
            self.ban(cx, peer, reason);
        }
    }

    /// There are two: peers are shown both, and nothing more is exchanged with them.
    fn freeze(&mut self, cx: Cx<'_>, accuser: PeerId) {
        let evidence = cx.core.evidence().ok().flatten();
        let peers: Vec<_> = self.peers.iter().map(|(peer, state)| (*peer, state.remote)).collect();
        for (peer, remote) in peers {
            let length = remote.filter(|remote| remote.fork == self.local.fork).map_or(0, |it| it.length);
            if length > 0 {
                let ours = cx.core.testimony(length).ok();
                let theirs = evidence.clone().filter(|_| peer != accuser);
                for proof in ours.into_iter().chain(theirs) {
                    let data = DataMessage { request: 0, proof, manifest: None };
                    self.send(peer, Message::Data(Box::new(data)));
                }
            }
            self.actions.push_back(Action::Close { peer });
        }
        self.peers.clear();
        self.flights.clear();
        self.oldest.clear();
        self.ungreeted.clear();
        self.arrived.clear();
        self.upgrade = None;
        self.reorg = None;
        self.fail(&CoreError::Frozen);
    }
}
