//! What peers sent: it is checked, stored, and handed to those who waited for it.

use super::{AFTER_FAILURE, Arrived, Cx, Outcome, Replicator};
use crate::core::{Accepted, Received, Refused};
use crate::merkle::proof::Proof;
use crate::replication::have::Has;
use crate::replication::peer::{InFlight, PeerId, Purpose};
use crate::replication::wire::{DataMessage, NoData, Reason, RequestMessage};
use hyperspace_api::{Core, CoreError};
use std::time::{Duration, Instant};

/// How long a peer may take to say what it is, before nobody waits for it any more.
const INTRODUCTION: Duration = Duration::from_secs(5);

fn is_empty(proof: &Proof) -> bool {
    proof.block.is_none() && proof.hash.is_none() && proof.seek.is_none() && proof.upgrade.is_none()
}

impl Replicator {
    /// Takes an answer that was asked for.
    pub(super) fn arrived(&mut self, now: Instant, peer: PeerId, data: Box<DataMessage>) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let flight = match state.in_flight.remove(&data.request) {
            Some(flight) => flight,
            // Pushed.
            None if data.request == 0
                && data.proof.block.is_some()
                && (self.options.allow_push || state.invited > 0) =>
            {
                state.invited = state.invited.saturating_sub(1);
                let fork = data.proof.fork;
                InFlight {
                    message: RequestMessage { fork, ..RequestMessage::default() },
                    purpose: Purpose::Manifest,
                    sent: now,
                    promised: false,
                }
            }
            // An answer to what was taken back, if it is one.
            None => return self.testified(now, peer, data),
        };
        state.heard = now;
        let answers = data.request == 0
            || (data.proof.fork == flight.message.fork && data.proof.answers(&flight.message.request));
        if answers {
            self.arrived.push(Arrived { peer, flight, data });
            return;
        }
        // Not what was asked for. The manifest may be, for who lacks the block sends only that.
        let request = data.request;
        if let Some(state) = self.peers.get_mut(&peer) {
            state.in_flight.insert(request, flight);
        }
        if is_empty(&data.proof) && data.manifest.is_some() {
            let purpose = Purpose::Manifest;
            self.arrived.push(Arrived { peer, flight: InFlight { purpose, ..flight }, data });
        }
        self.refused(peer, NoData { request, reason: Reason::NotAvailable });
    }

    /// Checks and stores what came.
    pub(super) fn store(&mut self, cx: Cx<'_>) {
        if self.arrived.is_empty() {
            return;
        }
        let fork = cx.core.fork();
        let (mut flights, mut batch) = (Vec::new(), Vec::new());
        for Arrived { peer, flight, data } in std::mem::take(&mut self.arrived) {
            let received = Received { proof: data.proof, manifest: data.manifest };
            if flight.purpose == Purpose::Conflict {
                self.judge(cx, peer, &received);
                continue;
            }
            if flight.purpose == Purpose::Reorg || (!is_empty(&received.proof) && received.proof.fork != fork)
            {
                self.reorg_arrived(cx, peer, data.request, &flight, received);
                continue;
            }
            flights.push((peer, data.request, flight));
            let mut received = received;
            if is_empty(&received.proof) {
                received.proof.fork = fork;
            }
            batch.push(received);
        }
        if batch.is_empty() {
            return;
        }
        let outcomes = match cx.core.receive(&batch) {
            Ok(outcomes) => outcomes,
            Err(error) => return self.storing_failed(cx, error, &flights),
        };
        drop(batch);
        let before = self.local.length;
        let mut gained = Vec::new();
        let mut liars = Vec::new();
        for ((peer, id, flight), outcome) in flights.into_iter().zip(outcomes) {
            match outcome {
                Ok(accepted) => self.accepted(cx, peer, id, &flight, accepted, &mut gained),
                // What was pushed may have been meant for an earlier state of ours.
                Err(Refused::Invalid(_)) if id == 0 => {
                    if let Some(state) = self.peers.get_mut(&peer) {
                        state.invited = 0;
                        state.refused();
                    }
                }
                Err(Refused::Invalid(reason)) => {
                    self.lost(peer, id, &flight);
                    liars.push((peer, reason));
                }
                Err(Refused::Outdated) => self.lost(peer, id, &flight),
                Err(Refused::Storage(error)) => {
                    tracing::warn!(core = %cx.core.key(), "checking what a peer sent: {error}");
                    self.lost(peer, id, &flight);
                    self.pause = Some(cx.now + AFTER_FAILURE);
                }
            }
        }
        self.refresh(cx);
        self.tell_blocks(cx, gained, before);
        for (peer, reason) in liars {
            if self.peers.contains_key(&peer) {
                self.suspect(cx, peer, reason);
            }
        }
    }

    fn accepted(
        &mut self,
        cx: Cx<'_>,
        peer: PeerId,
        id: u64,
        flight: &InFlight,
        accepted: Accepted,
        gained: &mut Vec<u64>,
    ) {
        if self.upgrade == Some((peer, id)) {
            self.upgrade = None;
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.delivered(cx.now);
            if let Some((_, bytes)) = accepted.block.filter(|_| id != 0) {
                state.window.answered(cx.now, flight.sent, bytes + 400);
                state.downloaded.add(bytes);
            }
        }
        if let Purpose::Seek(demand) = flight.purpose
            && let Some(seek) = self.demands.seeks.get_mut(&demand)
        {
            seek.in_flight = false;
            seek.hints.extend(accepted.hints.iter().map(|node| (node.index, *node)));
        }
        if let Some((index, bytes)) = accepted.block {
            if accepted.stored {
                self.downloaded.add(bytes);
                self.version += 1;
                gained.push(index);
            }
            self.take_back(index, Some(peer));
            for demand in self.demands.take_block(index) {
                self.finish(demand, Outcome::Done);
            }
        }
    }

    /// Tells others of blocks that we have now.
    fn tell_blocks(&mut self, cx: Cx<'_>, mut gained: Vec<u64>, before: u64) {
        gained.sort_unstable();
        for run in gained.chunk_by(|a, b| a + 1 == *b) {
            let (Some(start), Some(end)) = (run.first(), run.last()) else { continue };
            // What is past the old end was told when the core was seen to be longer.
            self.tell_run(cx, *start, (end + 1).min(before));
        }
    }

    /// The disk is full, or worse: those who wait are told, and it is tried again later.
    fn storing_failed(&mut self, cx: Cx<'_>, error: CoreError, flights: &[(PeerId, u64, InFlight)]) {
        tracing::error!(core = %cx.core.key(), "storing what peers sent: {error}");
        for (peer, id, flight) in flights {
            self.lost(*peer, *id, flight);
        }
        self.pause = Some(cx.now + AFTER_FAILURE);
        self.fail(&error);
    }

    /// Ends what is here now.
    pub(super) fn fulfil(&mut self, cx: Cx<'_>) {
        let length = cx.core.length();
        let mut done = Vec::new();
        {
            let tail = cx.core.shared().tail.read();
            let here: Vec<u64> = self.demands.idle().filter(|index| tail.held.get(*index)).collect();
            for index in here {
                done.extend(self.demands.take_block(index));
            }
            for (id, range) in &mut self.demands.ranges {
                range.low = tail.held.find(range.low..range.end, false).unwrap_or(range.end);
                range.asked = range.asked.max(range.low);
                if range.low >= range.end {
                    done.push(*id);
                }
            }
        }
        done.extend(self.demands.updates.iter().filter(|(_, min)| **min <= length).map(|(id, _)| *id));
        for id in done {
            self.demands.remove(id);
            self.finish(id, Outcome::Done);
        }
        self.advance_seeks(cx);
    }

    /// Ends what no peer can give.
    pub(super) fn give_up(&mut self, cx: Cx<'_>) {
        if self.hopes || self.demands.is_empty() || self.reorg.is_some() || self.pause.is_some() {
            return;
        }
        // What comes of that may be another answer.
        if self.peers.values().any(|peer| peer.suspected.is_some()) {
            return;
        }
        let unknown = self.peers.values().filter(|peer| peer.remote.is_none()).map(|peer| peer.since);
        if unknown
            .chain(self.expected.values().copied())
            .any(|since| cx.now.saturating_duration_since(since) < INTRODUCTION)
        {
            return;
        }
        let mut ended = Vec::new();
        let idle: Vec<u64> = self.demands.idle().collect();
        for index in idle {
            if !self.may_come(cx, index)
                && let Some(block) = self.demands.blocks.get(&index)
            {
                ended.extend(block.waiters.iter().filter(|(_, give_up)| *give_up).map(|(id, _)| *id));
            }
        }
        let longest = self.reachable_length(cx);
        ended.extend(self.demands.updates.iter().filter(|(_, min)| **min > longest).map(|(id, _)| *id));
        ended.extend(self.hopeless_seeks(cx, longest));
        for id in ended {
            self.demands.remove(id);
            self.finish(id, Outcome::NotAvailable);
        }
    }

    /// Up to which length a peer may still bring us.
    pub(super) fn reachable_length(&self, cx: Cx<'_>) -> u64 {
        let ours = cx.core.length();
        self.peers
            .values()
            .filter(|peer| peer.is_useful() && !peer.is_stalled(cx.now))
            .filter_map(|peer| peer.remote)
            .map(|remote| match remote.fork.cmp(&self.local.fork) {
                // Whether it can prove that is told once it knows of our length.
                std::cmp::Ordering::Equal
                    if remote.can_upgrade || remote.remote_length != self.local.length =>
                {
                    remote.length
                }
                std::cmp::Ordering::Greater if self.follows_forks(cx) => remote.length,
                _ => 0,
            })
            .fold(ours, u64::max)
    }

    /// May a peer still give that block?
    fn may_come(&self, cx: Cx<'_>, index: u64) -> bool {
        let Some(demand) = self.demands.blocks.get(&index) else { return true };
        self.peers.iter().any(|(id, peer)| {
            let Some(remote) = peer.remote.filter(|_| peer.is_useful()) else { return false };
            if remote.fork > self.local.fork {
                return self.follows_forks(cx);
            }
            if remote.fork < self.local.fork || index >= remote.length {
                return false;
            }
            if index >= self.local.length && !remote.can_upgrade && remote.remote_length == self.local.length
            {
                return false;
            }
            match peer.have.get(index) {
                Has::Yes => true,
                Has::No => false,
                Has::Unknown => !demand.lacking.contains(id),
            }
        })
    }
}
