//! How long to wait for an answer: learnt for each peer from its answers so far.

use super::cache::Cache;
use super::random::Random;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// Never shorter.
pub const MIN: Duration = Duration::from_millis(300);
/// Never longer.
pub const MAX: Duration = Duration::from_millis(4000);

/// A little of chance is added, so that what was sent together is not sent again together.
const JITTER_MS: u64 = 256;

/// With a peer that is not known yet: for its first transmission, its second, ….
const UNKNOWN_MS: [u64; 5] = [250, 500, 1000, 2000, 4000];

/// Peers that are remembered, and for how long (twice that at most).
const PEERS: usize = 4096;
const AGE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
struct Estimate {
    average: Duration,
    deviation: Duration,
}

/// Round trips, as they were measured.
pub(crate) struct Timeouts {
    peers: Cache<SocketAddrV4, Estimate>,
}

impl Timeouts {
    pub(crate) fn new(now: Instant) -> Self {
        Self { peers: Cache::new(PEERS, AGE, now) }
    }

    /// An answer to something that was sent only once: of one that was sent again, nobody
    /// knows to which transmission it belongs.
    pub(crate) fn measured(&mut self, peer: SocketAddrV4, round_trip: Duration, now: Instant) {
        let estimate = match self.peers.get(&peer, now) {
            None => Estimate { average: round_trip, deviation: round_trip / 2 },
            Some(&Estimate { average, deviation }) => Estimate {
                average: (average * 7 + round_trip) / 8,
                deviation: (deviation * 3 + average.abs_diff(round_trip)) / 4,
            },
        };
        self.peers.insert(peer, estimate, now);
    }

    /// How long to wait after transmission number `attempt`, from 1.
    pub(crate) fn after(
        &mut self,
        peer: SocketAddrV4,
        attempt: u32,
        now: Instant,
        random: &mut Random,
    ) -> Duration {
        let jitter = Duration::from_millis(random.below(JITTER_MS));
        match self.peers.get(&peer, now) {
            Some(estimate) => {
                let expected = estimate.average + 2 * estimate.deviation;
                (expected * attempt.clamp(1, 16) + jitter).clamp(MIN, MAX)
            }
            None => {
                let at = (attempt.max(1) as usize - 1).min(UNKNOWN_MS.len() - 1);
                Duration::from_millis(UNKNOWN_MS[at]) + jitter
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_how_far_away_a_peer_is() {
        let now = Instant::now();
        let peer: SocketAddrV4 = "192.0.2.1:1".parse().expect("an address");
        let mut random = Random::new([0; 32]);
        let mut timeouts = Timeouts::new(now);
        let mut after = |timeouts: &mut Timeouts, attempt| timeouts.after(peer, attempt, now, &mut random);
        for (attempt, base) in [(1, 250), (2, 500), (3, 1000), (4, 2000), (5, 4000), (9, 4000)] {
            let wait = after(&mut timeouts, attempt).as_millis();
            assert!((base..base + 256).contains(&wait), "{attempt}: {wait}");
        }
        for _ in 0..50 {
            timeouts.measured(peer, Duration::from_millis(20), now);
        }
        assert_eq!(after(&mut timeouts, 1), MIN);
        for _ in 0..50 {
            timeouts.measured(peer, Duration::from_millis(700), now);
        }
        let (first, second) = (after(&mut timeouts, 1).as_millis(), after(&mut timeouts, 2).as_millis());
        assert!((700..1000).contains(&first) && (1400..1700).contains(&second), "{first} {second}");
        timeouts.measured(peer, Duration::from_secs(1000), now);
        assert_eq!(after(&mut timeouts, 3), MAX);
    }
}
