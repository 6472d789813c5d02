//! Peers that wait before they are dialled again.
//!
//! There are four waits, from a second to minutes. Whoever waits is not timed alone: at each
//! tick of two thirds of the wait, those go on who were there at the tick before. So a peer
//! waits from two to four thirds of it, and a thousand peers cost one timer.

use super::config::Config;
use crate::dht::random::Random;
use crate::key_pair::PublicKey;
use std::time::{Duration, Instant};

#[derive(Debug)]
struct Bulk {
    period: Duration,
    /// A tick there was or would have been.
    ticked: Instant,
    /// There are ticks only while somebody waits.
    next_tick: Option<Instant>,
    next: Vec<PublicKey>,
    pending: Vec<PublicKey>,
}

impl Bulk {
    fn new(wait: Duration, now: Instant) -> Self {
        // Longer than nothing, so that ticks can be counted.
        let period = (wait * 66 / 100).max(Duration::from_millis(1));
        Self { period, ticked: now, next_tick: None, next: Vec::new(), pending: Vec::new() }
    }

    fn add(&mut self, key: PublicKey, now: Instant) {
        if self.next_tick.is_none() {
            let since = now.saturating_duration_since(self.ticked).as_nanos() % self.period.as_nanos();
            // What is left of a period is less than one.
            let left = self.period - Duration::from_nanos(since as u64);
            self.next_tick = Some(now + left);
        }
        self.pending.push(key);
    }

    fn tick(&mut self, now: Instant, released: &mut Vec<PublicKey>) {
        // After a long sleep, all who waited then have waited long enough.
        for _ in 0..2 {
            let Some(at) = self.next_tick.filter(|at| *at <= now) else { return };
            released.append(&mut self.next);
            std::mem::swap(&mut self.next, &mut self.pending);
            self.ticked = at;
            self.next_tick = (!self.next.is_empty()).then_some(at + self.period);
        }
        if let Some(at) = &mut self.next_tick {
            *at = (*at).max(now + Duration::from_millis(1));
        }
    }
}

#[derive(Debug)]
pub(super) struct Retries([Bulk; 4]);

impl Retries {
    pub(super) fn new(config: &Config, now: Instant, random: &mut Random) -> Self {
        let jitter = config.backoff_jitter.as_millis() as u64 + 1;
        Self(config.backoffs.map(|wait| Bulk::new(wait + Duration::from_millis(random.below(jitter)), now)))
    }

    /// Lets a peer wait: the shortest wait is 0, the longest 3.
    pub(super) fn add(&mut self, wait: usize, key: PublicKey, now: Instant) {
        self.0[wait].add(key, now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().filter_map(|bulk| bulk.next_tick).min()
    }

    /// Who has waited long enough.
    pub(super) fn release(&mut self, now: Instant) -> Vec<PublicKey> {
        let mut released = Vec::new();
        self.0.iter_mut().for_each(|bulk| bulk.tick(now, &mut released));
        released
    }

    /// Everybody who waits.
    pub(super) fn release_all(&mut self) -> Vec<PublicKey> {
        let mut released = Vec::new();
        for bulk in &mut self.0 {
            released.append(&mut bulk.next);
            released.append(&mut bulk.pending);
            bulk.next_tick = None;
        }
        released
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&PublicKey) -> bool) {
        for bulk in &mut self.0 {
            bulk.next.retain(&keep);
            bulk.pending.retain(&keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(now: Instant) -> Retries {
        let backoffs = [1000, 5000, 15_000, 600_000].map(Duration::from_millis);
        let config = Config { backoffs, backoff_jitter: Duration::ZERO, ..Config::default() };
        Retries::new(&config, now, &mut Random::new([0; 32]))
    }

    #[test]
    fn everybody_waits_from_two_to_four_thirds() {
        let start = Instant::now();
        let mut retries = retries(start);
        let mut added = std::collections::HashMap::new();
        let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
        for step in 0..60_000u32 {
            let now = start + Duration::from_millis(step.into());
            if retries.poll_timeout().is_some_and(|at| at <= now) {
                for key in retries.release(now) {
                    let waited = now - added.remove(&key).expect("it was added, and not released yet");
                    (shortest, longest) = (shortest.min(waited), longest.max(waited));
                }
                assert!(retries.poll_timeout().is_none_or(|at| at > now));
            }
            if step % 37 == 0 && step < 50_000 {
                let mut key = [0; 32];
                key[..4].copy_from_slice(&step.to_le_bytes());
                retries.add(1, key, now);
                added.insert(key, now);
            }
        }
        assert!(added.is_empty());
        assert!(shortest >= Duration::from_millis(3300) && longest <= Duration::from_millis(6601));
        assert!(longest - shortest > Duration::from_secs(3));
        assert_eq!(retries.poll_timeout(), None);
    }

    #[test]
    fn after_a_long_sleep_everybody_has_waited() {
        let start = Instant::now();
        let mut retries = retries(start);
        for wait in 0..3 {
            retries.add(wait, [wait as u8; 32], start);
        }
        let later = start + Duration::from_secs(86_400);
        assert_eq!(retries.release(later).len(), 3);
        assert_eq!(retries.poll_timeout(), None);
        retries.add(3, [3; 32], later);
        retries.retain(|key| key[0] != 3);
        assert!(retries.release_all().is_empty());
    }
}
