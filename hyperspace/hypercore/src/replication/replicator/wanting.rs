//! Who wants something of the core, and for how long.

use super::Replicator;
use super::action::Action;
use super::demand::{Demand, DemandId, Outcome};
use hyperspace_api::CoreError;
use std::time::{Duration, Instant};

/// How long a core seems to want data after nobody does any more, so that who opens it again
/// soon finds its peers still there.
pub(super) const LINGER: Duration = Duration::from_secs(20);

impl Replicator {
    /// Somebody wants something. It is asked for at the next [`settle`](Self::settle): many
    /// demands at once are looked at once.
    pub fn demand(&mut self, demand: Demand) -> DemandId {
        let id = self.demands.add(demand);
        if let Demand::Block { index, .. } = demand
            && self.flights.contains_key(&index)
        {
            self.demands.set_idle(index, false);
        }
        id
    }

    /// Nobody wants that any more. As with [`demand`](Self::demand), [`settle`](Self::settle)
    /// is to follow.
    pub fn cancel(&mut self, id: DemandId) {
        let range = self.demands.ranges.get(&id).map(|range| range.start..range.end);
        let block = self.demands.remove(id).map(|index| index..index + 1);
        for dropped in range.into_iter().chain(block) {
            let unwanted: Vec<u64> = self
                .flights
                .keys()
                .filter(|index| dropped.contains(index) && !self.demands.want(**index))
                .copied()
                .collect();
            for index in unwanted {
                self.take_back(index, None);
            }
        }
        for peer in self.peers.values_mut() {
            peer.positions.remove(&id);
        }
    }

    /// The core was closed, or storing failed for good: ends all demands.
    pub fn fail(&mut self, error: &CoreError) {
        for demand in self.demands.take_all() {
            self.actions.push_back(Action::Finish { demand, outcome: Outcome::Failed(error.clone()) });
        }
    }

    /// Does anybody want anything, or follow the core?
    pub fn is_wanted(&self) -> bool {
        self.followed || !self.demands.is_empty()
    }

    /// Does anybody want data of this core?
    pub(super) fn is_downloading(&self, now: Instant) -> bool {
        self.wants_data() || self.linger.is_some_and(|until| now < until)
    }

    pub(super) fn wants_data(&self) -> bool {
        self.followed || !self.demands.is_empty() || !self.flights.is_empty() || self.reorg.is_some()
    }

    pub(super) fn linger(&mut self, now: Instant) {
        if self.wants_data() {
            self.linger = Some(now + LINGER);
        } else if self.linger.is_some_and(|until| until <= now) {
            self.linger = None;
        }
    }
}
