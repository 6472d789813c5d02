//! The two clocks of a machine.

use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How often the wall clock is compared, and how much it must have gained for the machine to
/// have slept.
const CLOCK_EVERY: Duration = Duration::from_secs(15);
const SLEPT: Duration = Duration::from_secs(15);

/// Notices that the machine has slept: the wall clock went on meanwhile, the other did not.
/// (If it was only set, a refresh too many does no harm.)
pub(super) struct Clock {
    next: Instant,
    wall: SystemTime,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { next: Instant::now() + CLOCK_EVERY, wall: SystemTime::now() }
    }

    /// Waits until it has. May be cancelled.
    pub(super) async fn slept(&mut self) {
        loop {
            tokio::time::sleep_until(self.next).await;
            let wall = SystemTime::now();
            let gone = wall.duration_since(self.wall).unwrap_or_default();
            self.wall = wall;
            self.next = Instant::now() + CLOCK_EVERY;
            if gone > CLOCK_EVERY + SLEPT {
                return;
            }
        }
    }
}
