//! How long a packet and its acknowledgement take.

use super::congestion::filter::Extreme;
use std::time::{Duration, Instant};

/// The longest first sample that is believed, and the longest timeout.
const MAX: Duration = Duration::from_secs(30);
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Samples above this are outliers, if they also exceed what was seen so far by much.
const OUTLIER: Duration = Duration::from_secs(5);

/// For how long the shortest is remembered.
const MEMORY: Duration = Duration::from_secs(300);

/// An estimate of the round-trip time, as RFC 6298 makes one.
#[derive(Debug)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    shortest: Extreme<Instant, Duration>,
    latest: Option<Duration>,
    samples: u64,
}

impl Rtt {
    pub(super) fn new() -> Self {
        Self {
            smoothed: None,
            variation: Duration::ZERO,
            shortest: Extreme::least(),
            latest: None,
            samples: 0,
        }
    }

    /// Of a packet that was sent but once.
    pub(super) fn sample(&mut self, now: Instant, rtt: Duration) {
        self.samples += 1;
        self.latest = Some(rtt);
        let rtt = match self.smoothed {
            None => rtt.min(MAX),
            Some(smoothed) => {
                let likely = smoothed + 5 * self.variation;
                if rtt > likely && rtt > OUTLIER { likely.min(MAX) } else { rtt }
            }
        };
        let oldest = now.checked_sub(MEMORY);
        self.shortest.update(now, rtt, |time| oldest.is_some_and(|oldest| *time < oldest));
        match self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            Some(smoothed) => {
                self.variation = (3 * self.variation + smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some((7 * smoothed + rtt) / 8);
            }
        }
    }

    /// The smoothed round-trip time, if there is any yet.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The shortest of late.
    pub(super) fn shortest(&self) -> Option<Duration> {
        self.shortest.get()
    }

    /// The latest sample, if there was one since this was asked last.
    pub(super) fn take_latest(&mut self) -> Option<Duration> {
        self.latest.take()
    }

    /// How many samples were taken.
    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// After how long without an acknowledgement packets are lost.
    pub(super) fn timeout(&self) -> Duration {
        match self.smoothed {
            None => MIN_TIMEOUT,
            Some(smoothed) => (smoothed + 4 * self.variation).clamp(MIN_TIMEOUT, MAX),
        }
    }
}
