//! How fast packets are delivered: a sample for each acknowledgement, from the packet that
//! was sent last of those it acknowledges.
//!
//! As draft-cheng-iccrg-delivery-rate-estimation has it, which libudx follows too.

use super::congestion::Rate;
use std::time::{Duration, Instant};

/// What a packet remembers of the time when it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    app_limited: bool,
    /// More had arrived than was known then.
    blind: bool,
}

/// The sampler of a stream.
#[derive(Debug)]
pub(super) struct Sampler {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Until so much is delivered, samples tell of us, not of the path.
    app_limited_until: Option<u64>,
    /// The other side has received more than fits its acknowledgements.
    blind: bool,
    newest: Option<(Stamp, Instant, u64)>,
}

impl Sampler {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            // The first flight is as large as we make it.
            app_limited_until: None,
            blind: false,
            newest: None,
        }
    }

    /// Of a packet that is sent now.
    pub(super) fn stamp(&mut self, now: Instant, nothing_in_flight: bool) -> Stamp {
        if nothing_in_flight {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.app_limited_until.is_some(),
            blind: self.blind,
        }
    }

    /// Whether the latest acknowledgement could say all that has arrived.
    pub(super) fn told(&mut self, all: bool) {
        self.blind = !all;
    }

    /// We would send more, if there were more to send.
    pub(super) fn app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = Some(self.delivered + in_flight);
    }

    /// A packet has arrived, which was sent then, as number `order` of all that were sent.
    pub(super) fn arrived(&mut self, now: Instant, stamp: Stamp, sent_at: Instant, order: u64, bytes: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
        if self.newest.is_none_or(|(_, _, newest)| order > newest) {
            self.newest = Some((stamp, sent_at, order));
        }
    }

    /// How much was ever delivered.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The sample of what has arrived since the last one. None, if it took less time than
    /// any round trip: then, it tells of how packets were bunched.
    pub(super) fn sample(&mut self, shortest_rtt: Option<Duration>) -> Option<Rate> {
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }
        let (stamp, sent_at, _) = self.newest.take()?;
        self.first_sent_at = sent_at;
        let sending = sent_at.saturating_duration_since(stamp.first_sent_at);
        let arriving = self.delivered_at.saturating_duration_since(stamp.delivered_at);
        let time = sending.max(arriving);
        if time.is_zero() || shortest_rtt.is_some_and(|shortest| time < shortest) {
            return None;
        }
        // What is told late seems to have arrived fast: of such a sample, only the round counts.
        let bytes = if stamp.blind { 0 } else { u128::from(self.delivered - stamp.delivered) };
        Some(Rate {
            bytes_per_second: u64::try_from(bytes * 1_000_000_000 / time.as_nanos()).unwrap_or(u64::MAX),
            delivered_before: stamp.delivered,
            app_limited: stamp.app_limited || stamp.blind,
        })
    }
}
