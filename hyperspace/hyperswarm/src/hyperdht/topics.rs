//! Who is interested in what: peers by topic, in two generations, of which the older is
//! dropped now and then. Who is still interested says so again before that.

use crate::dht::Id;
use crate::dht::random::Random;
use crate::key_pair::PublicKey;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// The peers of one topic: found by key, and picked by chance.
#[derive(Debug, Default)]
struct Interested {
    all: Vec<(PublicKey, Vec<u8>)>,
    at: HashMap<PublicKey, usize>,
}

impl Interested {
    /// `true` if it is new.
    fn insert(&mut self, key: PublicKey, record: Vec<u8>) -> bool {
        if let Some(at) = self.at.get(&key) {
            self.all[*at].1 = record;
            return false;
        }
        self.at.insert(key, self.all.len());
        self.all.push((key, record));
        true
    }

    fn remove(&mut self, key: &PublicKey) -> bool {
        let Some(at) = self.at.remove(key) else { return false };
        self.all.swap_remove(at);
        if let Some((moved, _)) = self.all.get(at) {
            self.at.insert(*moved, at);
        }
        true
    }

    /// Up to `count` of them, each as likely as the others.
    fn pick(&self, count: usize, random: &mut Random) -> Vec<Vec<u8>> {
        let mut chosen = HashSet::new();
        // Each step adds one: either one that is new, or the last of those looked at, which
        // cannot have been chosen before.
        for last in self.all.len().saturating_sub(count)..self.all.len() {
            let at = random.below(last as u64 + 1) as usize;
            if !chosen.insert(at) {
                chosen.insert(last);
            }
        }
        let mut chosen: Vec<usize> = chosen.into_iter().collect();
        chosen.sort_unstable();
        chosen.into_iter().map(|at| self.all[at].1.clone()).collect()
    }
}

#[derive(Debug, Default)]
struct Generation {
    topics: HashMap<Id, Interested>,
    len: usize,
}

impl Generation {
    fn remove(&mut self, topic: &Id, key: &PublicKey) {
        let Some(interested) = self.topics.get_mut(topic) else { return };
        self.len -= usize::from(interested.remove(key));
        if interested.all.is_empty() {
            self.topics.remove(topic);
        }
    }
}

/// All topics.
#[derive(Debug)]
pub(super) struct Topics {
    young: Generation,
    old: Generation,
    limit: usize,
    turn: Duration,
    next_turn: Instant,
}

impl Topics {
    /// At most twice `limit` peers are kept, and each for two thirds to four thirds of `age`.
    pub(super) fn new(limit: usize, age: Duration, now: Instant) -> Self {
        let turn = age * 2 / 3;
        Self { young: Generation::default(), old: Generation::default(), limit, turn, next_turn: now + turn }
    }

    fn age(&mut self, now: Instant) {
        for _ in 0..2 {
            if now < self.next_turn {
                return;
            }
            self.old = std::mem::take(&mut self.young);
            self.next_turn += self.turn;
        }
        if now >= self.next_turn {
            self.next_turn = now + self.turn;
        }
    }

    pub(super) fn insert(&mut self, topic: Id, key: PublicKey, record: Vec<u8>, now: Instant) {
        self.age(now);
        self.old.remove(&topic, &key);
        if self.young.len >= self.limit {
            self.old = std::mem::take(&mut self.young);
            self.next_turn = now + self.turn;
        }
        let new = self.young.topics.entry(topic).or_default().insert(key, record);
        self.young.len += usize::from(new);
    }

    pub(super) fn remove(&mut self, topic: &Id, key: &PublicKey) {
        self.young.remove(topic, key);
        self.old.remove(topic, key);
    }

    /// Some of those interested: those who said so last come first.
    pub(super) fn pick(
        &mut self,
        topic: &Id,
        count: usize,
        random: &mut Random,
        now: Instant,
    ) -> Vec<Vec<u8>> {
        self.age(now);
        let mut picked = Vec::new();
        for generation in [&self.young, &self.old] {
            if let Some(interested) = generation.topics.get(topic) {
                picked.extend(interested.pick(count - picked.len(), random));
            }
        }
        picked
    }

    /// How many peers are kept.
    pub(super) fn len(&self) -> usize {
        self.young.len + self.old.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(1200);

    fn key(number: u32) -> PublicKey {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[test]
    fn some_of_many_are_picked_and_all_in_the_end() {
        let now = Instant::now();
        let mut random = Random::new([0; 32]);
        let mut topics = Topics::new(1000, AGE, now);
        for number in 0..100 {
            topics.insert([1; 32], key(number), key(number).to_vec(), now);
        }
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let picked = topics.pick(&[1; 32], 20, &mut random, now);
            assert_eq!(picked.iter().collect::<HashSet<_>>().len(), 20);
            seen.extend(picked);
        }
        assert_eq!(seen.len(), 100);
        assert_eq!(topics.pick(&[2; 32], 20, &mut random, now), Vec::<Vec<u8>>::new());
        for number in 0..90 {
            topics.remove(&[1; 32], &key(number));
        }
        assert_eq!((topics.len(), topics.pick(&[1; 32], 20, &mut random, now).len()), (10, 10));
    }

    #[test]
    fn what_is_not_said_again_is_forgotten() {
        let start = Instant::now();
        let mut random = Random::new([0; 32]);
        let mut topics = Topics::new(1000, AGE, start);
        topics.insert([1; 32], key(0), vec![0], start);
        for minute in 0..60 {
            let now = start + Duration::from_secs(60 * minute);
            if minute % 10 == 0 {
                topics.insert([1; 32], key(1), vec![minute as u8], now);
            }
            let expected = if minute < 27 { 2 } else { 1 };
            let picked = topics.pick(&[1; 32], 20, &mut random, now);
            assert_eq!(picked.len(), expected, "after {minute} minutes");
            // What was said last counts.
            assert!(picked.contains(&vec![(minute / 10 * 10) as u8]));
        }
        assert!(topics.pick(&[1; 32], 20, &mut random, start + 100 * AGE).is_empty());
        assert_eq!(topics.len(), 0);
    }

    #[test]
    fn never_more_than_two_generations() {
        let now = Instant::now();
        let mut topics = Topics::new(10, AGE, now);
        for number in 0..1000 {
            topics.insert(key(number % 3), key(number), Vec::new(), now);
            assert!(topics.len() <= 20);
            let counted = [&topics.young, &topics.old]
                .map(|generation| generation.topics.values().map(|topic| topic.all.len()).sum::<usize>());
            assert_eq!(counted.iter().sum::<usize>(), topics.len());
        }
    }
}
