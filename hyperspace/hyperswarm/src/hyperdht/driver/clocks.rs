//! Notices that the machine was asleep.

use std::time::{Duration, Instant, SystemTime};

/// When the clock on the wall goes so much further than the other, the machine was asleep.
const ASLEEP: Duration = Duration::from_secs(15);

/// The clock that timers go by stands still while the machine sleeps. The one on the wall
/// does not.
#[derive(Debug)]
pub(super) struct Clocks {
    wall: SystemTime,
    running: Instant,
}

impl Clocks {
    pub(super) fn now() -> Self {
        Self { wall: SystemTime::now(), running: Instant::now() }
    }

    /// Has the machine slept since it was asked the last time? (Or was its clock set: that
    /// does no harm.)
    pub(super) fn have_slept(&mut self, wall: SystemTime, running: Instant) -> bool {
        let last = std::mem::replace(self, Self { wall, running });
        let on_the_wall = wall.duration_since(last.wall).unwrap_or_default();
        on_the_wall > running.saturating_duration_since(last.running) + ASLEEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_is_seen_on_the_wall() {
        let (wall, running) = (SystemTime::now(), Instant::now());
        let after = |on_the_wall, on_the_other| {
            let mut clocks = Clocks { wall, running };
            let seconds = Duration::from_secs;
            clocks.have_slept(wall + seconds(on_the_wall), running + seconds(on_the_other))
        };
        assert!(!after(5, 5) && !after(10, 5) && !after(100, 100));
        assert!(after(60, 5) && after(3600, 5));
        // It was set back.
        let mut clocks = Clocks { wall, running };
        assert!(!clocks.have_slept(wall - Duration::from_secs(100), running + Duration::from_secs(5)));
    }
}
