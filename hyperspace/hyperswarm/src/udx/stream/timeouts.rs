//! What a stream does when something is due.

use super::{End, Phase, Repair, Stream, StreamError, TailProbe};
use crate::udx::timers::Timer;
use std::time::{Duration, Instant};

/// After so many times without a sign of life, a packet is not sent again: the stream is over.
const STRIKES: u8 = 6;
/// The tail is probed after two round trips; if those are not known, after this.
const PROBE_UNKNOWN: Duration = Duration::from_secs(1);
/// If nothing else is under way, the other side may take longer.
const PROBE_ALONE: Duration = Duration::from_millis(2);
/// Timers and other programs may be later than the packets of a short path.
const PROBE_LEAST: Duration = Duration::from_millis(10);

impl Stream {
    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Timeout => self.time_out(now),
                Timer::TailProbe => self.probe_tail(now),
                Timer::Reorder => {
                    let before = self.flight.bytes();
                    let lost = self.detect_losses(now);
                    self.tell_controller(now, before, 0, lost);
                    self.restart_timeout(now);
                }
                Timer::ZeroWindow => {
                    self.heartbeat_due = true;
                    self.timers.set(Timer::ZeroWindow, now + 2 * self.rtt.timeout());
                }
                Timer::KeepAlive => {
                    self.heartbeat_due = true;
                    self.restart_keep_alive(now);
                }
                // The next packet is asked for anyway.
                Timer::Pacing => {}
                Timer::Linger => self.phase = Phase::Closed(None),
                Timer::Abandon => self.destroy(),
            }
        }
    }

    fn time_out(&mut self, now: Instant) {
        if self.flight.is_empty() {
            return;
        }
        let mut lost = std::mem::take(&mut self.lost);
        let (shortest, smoothed) = (self.rtt.shortest(), self.rtt.smoothed());
        self.rack.timed_out(now, &mut self.flight, shortest, smoothed, &mut lost);
        let first = self.flight.first();
        // Also if it waits to be sent again: nothing comes, however long it waits.
        if !lost.contains(&first) {
            lost.push(first);
        }
        let mut over = false;
        for seq in lost.drain(..) {
            over |= self.flight.strike(seq) >= STRIKES;
            self.flight.lose(seq);
            self.mtu.lost(seq);
        }
        self.lost = lost;
        if over {
            // Somebody who has ended as well may be gone without having heard our end.
            let ended = self.receiver.ended() && self.end == End::Sent;
            self.close(if ended { None } else { Some(StreamError::TimedOut) });
            return;
        }
        self.tail_probe = None;
        self.timers.stop(Timer::TailProbe);
        self.timers.stop(Timer::Reorder);
        self.timers.stop(Timer::Pacing);
        self.repair = Repair::AfterTimeout(self.flight.next());
        self.controller.on_timeout();
        self.timers.set(Timer::Timeout, now + 2 * self.rtt.timeout());
    }

    fn probe_tail(&mut self, now: Instant) {
        if self.flight.is_empty() || self.repair != Repair::None {
            return;
        }
        self.probe_due = true;
        self.probed_at_sample = Some(self.rtt.samples());
        self.restart_timeout(now);
    }

    /// The last of what was sent may be lost: asks soon, if nothing else tells.
    pub(super) fn schedule_tail_probe(&mut self, now: Instant) {
        let fresh = self.probed_at_sample != Some(self.rtt.samples());
        let quiet = self.repair == Repair::None && self.flight.arrived() == 0;
        if !fresh || !quiet || self.tail_probe.is_some() || self.flight.is_empty() {
            self.timers.stop(Timer::TailProbe);
            return;
        }
        let mut after = self.rtt.smoothed().map_or(PROBE_UNKNOWN, |smoothed| (2 * smoothed).max(PROBE_LEAST));
        if self.flight.flying() == 1 {
            after += PROBE_ALONE;
        }
        let at = now + after;
        // A timeout that is sooner does as well.
        if self.timers.get(Timer::Timeout).is_some_and(|timeout| timeout < at) {
            self.timers.stop(Timer::TailProbe);
        } else {
            self.timers.set(Timer::TailProbe, at);
        }
    }

    /// A probe of the tail was sent.
    pub(super) fn tail_probe_sent(&mut self, now: Instant) {
        self.tail_probe = Some(TailProbe { until: self.flight.next() });
        self.timers.stop(Timer::TailProbe);
        self.restart_timeout(now);
    }

    pub(super) fn restart_timeout(&mut self, now: Instant) {
        if !self.flight.is_empty() {
            self.timers.set(Timer::Timeout, now + self.rtt.timeout());
        }
    }

    pub(super) fn restart_keep_alive(&mut self, now: Instant) {
        if let Some(after) = self.config.keep_alive {
            self.timers.set(Timer::KeepAlive, now + after);
        }
    }
}
