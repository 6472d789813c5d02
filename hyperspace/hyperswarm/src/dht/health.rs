//! Is the network there? Told from how many requests are answered.

use std::collections::VecDeque;

/// Ticks that are looked at.
const WINDOW: usize = 4;

/// So many requests must have ended in a tick for it to say anything.
const ENOUGH: u64 = 4;

/// Ticks without any answer, until we count as offline.
const OFFLINE_AFTER: usize = 2;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Nobody answers any more.
    Offline,
    /// Somebody answers again.
    Online,
    /// More than half of what is asked is not answered.
    Degraded,
    /// That is over.
    Recovered,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tick {
    #[default]
    Idle,
    Healthy,
    Degraded,
    Offline,
}

/// Counts, and judges once a tick.
#[derive(Debug, Default)]
pub(crate) struct Health {
    answered: u64,
    unanswered: u64,
    ticks: VecDeque<Tick>,
    offline: bool,
    degraded: bool,
}

impl Health {
    pub(crate) fn answered(&mut self) {
        self.answered += 1;
    }

    pub(crate) fn unanswered(&mut self) {
        self.unanswered += 1;
    }

    /// Starts anew, after a sleep.
    pub(crate) fn reset(&mut self) {
        *self = Self { offline: self.offline, degraded: self.degraded, ..Self::default() };
    }

    pub(crate) fn is_online(&self) -> bool {
        !self.offline
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// A tick is over: what has changed, if anything?
    pub(crate) fn tick(&mut self) -> Option<Network> {
        let (answered, unanswered) =
            (std::mem::take(&mut self.answered), std::mem::take(&mut self.unanswered));
        let tick = match (answered, answered + unanswered) {
            (_, all) if all < ENOUGH => Tick::Idle,
            (0, _) => Tick::Offline,
            (answered, all) if 2 * answered < all => Tick::Degraded,
            _ => Tick::Healthy,
        };
        self.ticks.push_back(tick);
        if self.ticks.len() > WINDOW {
            self.ticks.pop_front();
        }
        if self.ticks.len() < WINDOW || tick == Tick::Idle {
            return None;
        }
        let all = |wanted| self.ticks.iter().all(|tick| *tick == wanted);
        let offline = self.ticks.iter().rev().take(OFFLINE_AFTER).all(|tick| *tick == Tick::Offline);
        let (degraded, healthy) = (all(Tick::Degraded), all(Tick::Healthy));
        if offline && !self.offline {
            (self.offline, self.degraded) = (true, false);
            return Some(Network::Offline);
        }
        if self.offline && tick != Tick::Offline {
            self.offline = false;
            return Some(Network::Online);
        }
        if degraded && !self.degraded {
            self.degraded = true;
            return Some(Network::Degraded);
        }
        if healthy && self.degraded {
            self.degraded = false;
            return Some(Network::Recovered);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(health: &mut Health, answered: u64, unanswered: u64) -> Option<Network> {
        (0..answered).for_each(|_| health.answered());
        (0..unanswered).for_each(|_| health.unanswered());
        health.tick()
    }

    #[test]
    fn notices_that_the_network_goes_and_comes() {
        let mut health = Health::default();
        for _ in 0..6 {
            assert_eq!(tick(&mut health, 10, 1), None);
        }
        assert_eq!(tick(&mut health, 0, 10), None);
        assert_eq!(tick(&mut health, 0, 10), Some(Network::Offline));
        assert_eq!(tick(&mut health, 0, 10), None);
        // Too little to tell.
        assert_eq!(tick(&mut health, 1, 0), None);
        assert!(!health.is_online());
        assert_eq!(tick(&mut health, 4, 10), Some(Network::Online));
        let changes: Vec<_> = (0..4).filter_map(|_| tick(&mut health, 4, 10)).collect();
        assert_eq!(changes, [Network::Degraded]);
        assert!(health.is_online() && health.is_degraded());
        let changes: Vec<_> = (0..4).filter_map(|_| tick(&mut health, 9, 1)).collect();
        assert_eq!(changes, [Network::Recovered]);
    }

    #[test]
    fn says_nothing_before_it_has_seen_something() {
        let mut health = Health::default();
        assert_eq!([tick(&mut health, 0, 9), tick(&mut health, 0, 9), tick(&mut health, 0, 9)], [None; 3]);
        assert_eq!(tick(&mut health, 0, 9), Some(Network::Offline));
        health.reset();
        assert_eq!(tick(&mut health, 9, 0), None);
        assert!(!health.is_online());
    }
}
