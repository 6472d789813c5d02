//! Tells which packets are lost from when those were sent that have arrived (RFC 8985).

use super::flight::Flight;
use std::time::{Duration, Instant};

/// So many packets that arrived before others are proof enough that those are lost.
const PROOF: usize = 3;

/// What is known of the latest packet that has arrived.
#[derive(Debug, Default)]
pub(super) struct Rack {
    latest: Option<(Instant, u64)>,
    rtt: Duration,
    /// One more than the highest that has arrived.
    highest: u64,
    /// Packets of this path overtake each other.
    reordering: bool,
}

impl Rack {
    /// Packet `seq` has arrived, which was sent at `sent`.
    pub(super) fn arrived(
        &mut self,
        now: Instant,
        seq: u64,
        sent: Instant,
        resent: bool,
        shortest: Option<Duration>,
    ) {
        let rtt = now.saturating_duration_since(sent);
        if resent {
            // It may have been the sending before that has arrived.
            if shortest.is_some_and(|shortest| rtt < shortest) {
                return;
            }
        } else if seq < self.highest {
            self.reordering = true;
        }
        self.highest = self.highest.max(seq + 1);
        self.rtt = rtt;
        if self.latest.is_none_or(|latest| (sent, seq) > latest) {
            self.latest = Some((sent, seq));
        }
    }

    /// For how long a packet is waited for that was overtaken.
    fn patience(
        &self,
        arrived: usize,
        open: bool,
        shortest: Option<Duration>,
        smoothed: Option<Duration>,
    ) -> Duration {
        if !self.reordering && (!open || arrived >= PROOF) {
            return Duration::ZERO;
        }
        (shortest.unwrap_or_default() / 4).min(smoothed.unwrap_or_default())
    }

    /// Which packets are lost; and when to look again, because of those that may be.
    pub(super) fn detect(
        &self,
        now: Instant,
        flight: &mut Flight,
        open: bool,
        shortest: Option<Duration>,
        smoothed: Option<Duration>,
        lost: &mut Vec<u64>,
    ) -> Option<Instant> {
        let latest = self.latest?;
        let wait = self.rtt + self.patience(flight.arrived(), open, shortest, smoothed);
        let mut again = None;
        flight.visit(|seq, sent| {
            if (sent.time, seq) >= latest {
                return false;
            }
            let due = sent.time + wait;
            if due <= now {
                lost.push(seq);
            } else {
                again = Some(due);
            }
            true
        });
        again
    }

    /// The packets that are lost when nothing came for too long.
    pub(super) fn timed_out(
        &self,
        now: Instant,
        flight: &mut Flight,
        shortest: Option<Duration>,
        smoothed: Option<Duration>,
        lost: &mut Vec<u64>,
    ) {
        let wait = self.rtt + self.patience(flight.arrived(), false, shortest, smoothed);
        let first = flight.first();
        flight.visit(|seq, sent| {
            if seq == first || sent.time + wait < now {
                lost.push(seq);
            }
            true
        });
    }
}
