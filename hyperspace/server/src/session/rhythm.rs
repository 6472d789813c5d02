//! Waiting actively for the next request of a client that sends one as soon as it has
//! the last one's answer.
//!
//! To sleep until the socket tells is a switch to another thread and back, tens of
//! microseconds: several times what a small request takes. So after an answer, and only
//! while the client is in such a rhythm, the socket is looked at a few times more. A
//! look in vain ends the rhythm, so that an idle or slow client costs nothing; and a
//! look during which the processor went to somebody else ends the looking for a while,
//! as on a busy machine those who sleep are served sooner than those who spin.

use std::time::{Duration, Instant};

/// How long to look.
const LOOK: Duration = Duration::from_micros(50);
/// A request that comes this soon after going to sleep would have been caught, or
/// nearly so: the wake-up itself takes most of the time.
const SOON: Duration = Duration::from_micros(150);
/// A look that took this long was interrupted by others who need the processor.
const INTERRUPTED: Duration = Duration::from_micros(100);
/// How long not to look after that.
const QUIET: Duration = Duration::from_secs(1);
/// Requests in a row that came soon, before looking begins.
const STEADY: u32 = 4;

/// Whether the client is in a rhythm.
#[derive(Default)]
pub(super) struct Rhythm {
    soon: u32,
    asleep_since: Option<Instant>,
    quiet_until: Option<Instant>,
}

impl Rhythm {
    /// Nothing is left to do; the session goes to sleep.
    pub(super) fn sleeps(&mut self) {
        self.asleep_since = Some(Instant::now());
    }

    /// Bytes have come.
    pub(super) fn hears(&mut self) {
        if let Some(since) = self.asleep_since.take() {
            self.soon = if since.elapsed() < SOON { self.soon.saturating_add(1) } else { 0 };
        }
    }

    /// Calls `look` for a while, until it has found something; not at all without a
    /// rhythm.
    pub(super) fn look<T>(&mut self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        if self.soon < STEADY {
            return None;
        }
        let begin = Instant::now();
        if self.quiet_until.is_some_and(|until| begin < until) {
            return None;
        }
        loop {
            let found = look();
            let taken = begin.elapsed();
            if taken > INTERRUPTED {
                self.quiet_until = Some(begin + QUIET);
            }
            if found.is_some() {
                return found;
            }
            if taken > LOOK {
                self.soon = 0;
                return None;
            }
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client's requests came so long after the session went to sleep.
    fn pauses(rhythm: &mut Rhythm, pause: Duration) {
        rhythm.asleep_since = Instant::now().checked_sub(pause);
        rhythm.hears();
        rhythm.quiet_until = None;
    }

    #[test]
    fn looks_only_in_a_rhythm() {
        let mut rhythm = Rhythm::default();
        for _ in 0..STEADY {
            assert_eq!(rhythm.look(|| Some(1)), None);
            pauses(&mut rhythm, Duration::ZERO);
        }
        assert_eq!(rhythm.look(|| Some(1)), Some(1));
        pauses(&mut rhythm, 2 * SOON);
        assert_eq!(rhythm.look(|| Some(1)), None, "a pause ends it");
        for _ in 0..STEADY {
            pauses(&mut rhythm, Duration::ZERO);
        }
        assert_eq!(rhythm.look(|| None::<u8>), None);
        rhythm.quiet_until = None;
        assert_eq!(rhythm.look(|| Some(1)), None, "so does a look in vain");
    }

    #[test]
    fn keeps_quiet_where_others_need_the_processor() {
        let mut rhythm = Rhythm { soon: STEADY, ..Rhythm::default() };
        let slow = || {
            std::thread::sleep(2 * INTERRUPTED);
            Some(1)
        };
        assert_eq!(rhythm.look(slow), Some(1));
        assert_eq!(rhythm.look(|| Some(1)), None);
        rhythm.quiet_until = Some(Instant::now());
        assert_eq!(rhythm.look(|| Some(1)), Some(1));
    }
}
