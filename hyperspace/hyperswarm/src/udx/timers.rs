//! When something is due.

use std::time::Instant;

/// What may be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Nothing came of anything under way for too long.
    Timeout,
    /// The last packets of a burst may be lost: nothing after them would tell.
    TailProbe,
    /// Packets that were overtaken are lost, if they have not come by now.
    Reorder,
    /// The other side is asked whether it has room again.
    ZeroWindow,
    /// The other side is asked for a sign of life.
    KeepAlive,
    /// The next packet may go.
    Pacing,
    /// A stream that has ended is forgotten.
    Linger,
    /// A stream that nobody holds any more is given up.
    Abandon,
}

const ALL: [Timer; 8] = [
    Timer::Timeout,
    Timer::TailProbe,
    Timer::Reorder,
    Timer::ZeroWindow,
    Timer::KeepAlive,
    Timer::Pacing,
    Timer::Linger,
    Timer::Abandon,
];

#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn stop_all(&mut self) {
        self.0 = Default::default();
    }

    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = ALL.into_iter().find(|timer| self.get(*timer).is_some_and(|at| at <= now))?;
        self.stop(due);
        Some(due)
    }
}
