//! When what is due, and how much of it at a time.

use crate::dht::Id;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// For whom something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    Announcer(Id),
    Dial(u32),
    Accepting(u32),
    Puncher(u32),
}

/// One time each.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    times: HashMap<Timer, Instant>,
}

impl Timers {
    /// Something is due then, and not when it was before.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(old) = self.times.insert(timer, at) {
            self.by_time.remove(&(old, timer));
        }
        self.by_time.insert((at, timer));
    }

    /// Nothing is due any more.
    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(old) = self.times.remove(&timer) {
            self.by_time.remove(&(old, timer));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.by_time.first().copied().filter(|(at, _)| *at <= now)?;
        self.clear(timer);
        Some(timer)
    }
}

/// Lets so much through in a second, and so much at once.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: u32,
    left: u32,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self { rate, left: rate, filled: now }
    }

    /// May one more?
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).min(Duration::from_secs(1));
        let fresh = (passed.as_micros() * u128::from(self.rate) / 1_000_000) as u32;
        if fresh > 0 {
            self.left = (self.left + fresh).min(self.rate);
            self.filled = now;
        }
        let may = self.left > 0;
        self.left -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_each_and_the_earliest_first() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(Timer::Dial(1), after(30));
        timers.set(Timer::Dial(2), after(20));
        timers.set(Timer::Dial(1), after(10));
        timers.set(Timer::Puncher(1), after(5));
        timers.clear(Timer::Puncher(1));
        assert_eq!(timers.next(), Some(after(10)));
        assert_eq!(timers.take_due(after(9)), None);
        assert_eq!(timers.take_due(after(25)), Some(Timer::Dial(1)));
        assert_eq!(timers.take_due(after(25)), Some(Timer::Dial(2)));
        assert_eq!((timers.take_due(after(99)), timers.next()), (None, None));
    }

    #[test]
    fn so_many_a_second() {
        let now = Instant::now();
        let mut bucket = Bucket::new(100, now);
        let let_through = |bucket: &mut Bucket, at| (0..1000).filter(|_| bucket.take(at)).count();
        assert_eq!(let_through(&mut bucket, now), 100);
        assert_eq!(let_through(&mut bucket, now + Duration::from_millis(500)), 50);
        assert_eq!(let_through(&mut bucket, now + Duration::from_secs(60)), 100);
    }
}
