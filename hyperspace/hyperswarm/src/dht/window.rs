//! The congestion window: how many requests may be under way, so that a burst of queries
//! does not drown the line that its answers come by.

use std::time::{Duration, Instant};

/// The window is this many slots of time.
const SLOTS: usize = 4;

/// How long a slot is.
pub const SLOT: Duration = Duration::from_millis(750);

/// Counts what was sent in the last three seconds and not answered yet.
#[derive(Debug)]
pub(crate) struct Window {
    slots: [usize; SLOTS],
    at: usize,
    /// When the current slot ends.
    until: Instant,
    /// The most in one slot; twice as many in all.
    limit: usize,
}

impl Window {
    pub(crate) fn new(limit: usize, now: Instant) -> Self {
        Self { slots: [0; SLOTS], at: 0, until: now + SLOT, limit }
    }

    fn advance(&mut self, now: Instant) {
        for _ in 0..SLOTS {
            if now < self.until {
                return;
            }
            self.at = (self.at + 1) % SLOTS;
            self.slots[self.at] = 0;
            self.until += SLOT;
        }
        if now >= self.until {
            self.until = now + SLOT;
        }
    }

    /// Must the next request wait?
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.advance(now);
        self.slots[self.at] >= self.limit || self.slots.iter().sum::<usize>() >= 2 * self.limit
    }

    /// When there may be room again.
    pub(crate) fn next_slot(&self) -> Instant {
        self.until
    }

    pub(crate) fn sent(&mut self, now: Instant) {
        self.advance(now);
        self.slots[self.at] += 1;
    }

    /// Something that was sent needs no answer any more.
    pub(crate) fn settled(&mut self, now: Instant) {
        self.advance(now);
        self.slots[self.at] = self.slots[self.at].saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_and_drains() {
        let start = Instant::now();
        let mut window = Window::new(80, start);
        let send = |window: &mut Window, now| {
            let mut sent = 0;
            while !window.is_full(now) {
                window.sent(now);
                sent += 1;
            }
            sent
        };
        assert_eq!(send(&mut window, start), 80);
        assert_eq!(send(&mut window, start + SLOT), 80);
        assert_eq!(send(&mut window, start + 2 * SLOT), 0);
        assert_eq!(window.next_slot(), start + 3 * SLOT);
        // The first eighty are forgotten.
        assert_eq!(send(&mut window, start + 4 * SLOT), 80);
        window.settled(start + 4 * SLOT);
        assert_eq!(send(&mut window, start + 4 * SLOT), 1);
        // And everything after a while.
        let later = start + 100 * SLOT;
        assert_eq!(send(&mut window, later), 80);
        window.settled(start);
        assert!(!window.is_full(later) && window.next_slot() > later);
    }
}
