//! Spreads packets over time instead of sending a window of them at once.

use std::time::{Duration, Instant};

/// Timers are this coarse: after a sleep, so much of the rate goes at once.
const BURST: Duration = Duration::from_millis(2);

/// What goes together is of this time, if that is more than a packet: it is, where many go in
/// a moment.
const BUNCH: Duration = Duration::from_micros(100);

/// How many bytes are worth the way to the system, at `rate` bytes a second.
pub(super) fn bunch(rate: u64) -> u64 {
    bytes(rate, BUNCH)
}

/// A budget of bytes, which grows with time.
#[derive(Debug)]
pub(super) struct Pacer {
    budget: i64,
    filled: Option<Instant>,
}

impl Pacer {
    pub(super) fn new() -> Self {
        Self { budget: 0, filled: None }
    }

    /// How many bytes may go at `rate` bytes a second, at least `least` at once; or when the
    /// next may. With `bunch`, they go together: so many that they are worth the way to the
    /// system.
    pub(super) fn budget(
        &mut self,
        now: Instant,
        rate: u64,
        least: u64,
        bunch: bool,
    ) -> Result<u64, Instant> {
        let start = if bunch { self::bunch(rate) } else { 0 };
        let most = i64::try_from(bytes(rate, BURST).max(2 * least)).unwrap_or(i64::MAX);
        match self.filled {
            None => self.budget = most,
            Some(filled) => {
                let grown = bytes(rate, now.saturating_duration_since(filled));
                let grown = i64::try_from(grown).unwrap_or(i64::MAX);
                // Less than a byte is not lost, but left to the next time.
                if grown == 0 && self.budget < most {
                    return self.left(filled, rate, least, start);
                }
                self.budget = self.budget.saturating_add(grown).min(most);
            }
        }
        self.filled = Some(now);
        self.left(now, rate, least, start)
    }

    fn left(&self, filled: Instant, rate: u64, least: u64, start: u64) -> Result<u64, Instant> {
        // What is less than a packet may be exceeded by one.
        let start = if start > least { i64::try_from(start).unwrap_or(i64::MAX) } else { 1 };
        if self.budget >= start {
            return Ok(self.budget.unsigned_abs());
        }
        // Until there is room for them, or for a packet, again.
        let goal = start.max(i64::try_from(least).unwrap_or(i64::MAX));
        let missing = goal.saturating_sub(self.budget).unsigned_abs();
        let nanos = u128::from(missing) * 1_000_000_000 / u128::from(rate.max(1));
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1));
        Err(filled + wait.min(Duration::from_secs(10)))
    }

    /// Takes what was sent from the budget; the last packet may exceed it.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

fn bytes(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept() {
        let start = Instant::now();
        let (mut now, mut pacer, mut sent) = (start, Pacer::new(), 0u64);
        while now < start + Duration::from_secs(10) {
            match pacer.budget(now, 1_000_000, 1200, false) {
                Ok(_) => {
                    pacer.sent(1200);
                    sent += 1200;
                }
                Err(later) => {
                    assert!(later > now);
                    now = later;
                }
            }
        }
        assert!((9_990_000..=10_010_000).contains(&sent), "{sent}");
    }

    #[test]
    fn after_a_pause_there_is_no_more_than_a_burst() {
        let mut now = Instant::now();
        let mut pacer = Pacer::new();
        assert_eq!(pacer.budget(now, 10_000_000, 1200, false), Ok(20_000));
        now += Duration::from_secs(5);
        assert_eq!(pacer.budget(now, 10_000_000, 1200, false), Ok(20_000));
        pacer.sent(20_000);
        assert_eq!(pacer.budget(now, 10_000_000, 1200, false), Err(now + Duration::from_nanos(120_001)));
    }

    #[test]
    fn what_is_worth_it_goes_together() {
        let mut now = Instant::now();
        let mut pacer = Pacer::new();
        assert_eq!(pacer.budget(now, 100_000_000, 1200, true), Ok(200_000));
        pacer.sent(200_000);
        now += Duration::from_micros(40);
        // It has begun: the rest of it need not wait.
        assert_eq!(pacer.budget(now, 100_000_000, 1200, false), Ok(4_000));
        let later = now + Duration::from_nanos(60_001);
        assert_eq!(pacer.budget(now, 100_000_000, 1200, true), Err(later), "ten thousand are worth it");
        now += Duration::from_micros(61);
        assert_eq!(pacer.budget(now, 100_000_000, 1200, true), Ok(10_100));
        // Of a slow one, that is less than a packet.
        let mut slow = Pacer::new();
        assert_eq!(slow.budget(now, 1_000_000, 1200, true), Ok(2_400));
        slow.sent(2_399);
        assert_eq!(slow.budget(now, 1_000_000, 1200, true), Ok(1));
    }
}
