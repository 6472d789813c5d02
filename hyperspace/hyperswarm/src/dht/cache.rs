//! A map that forgets: what was not used for a while, and, when there is too much, what
//! was not used lately.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Two generations of entries. Now and then the older one is dropped, and the younger one
/// takes its place; what is used in between moves to the younger one.
///
/// An entry that is not used lives for two thirds to four thirds of the age. At most twice
/// the `limit` are kept.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    limit: usize,
    turn: Duration,
    next_turn: Instant,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    pub(crate) fn new(limit: usize, age: Duration, now: Instant) -> Self {
        let turn = (age * 2 / 3).max(Duration::from_millis(1));
        Self { young: HashMap::new(), old: HashMap::new(), limit: limit.max(1), turn, next_turn: now + turn }
    }

    fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }

    /// Drops what is too old.
    fn age(&mut self, now: Instant) {
        for _ in 0..2 {
            if now < self.next_turn {
                return;
            }
            self.turn();
            self.next_turn += self.turn;
        }
        if now >= self.next_turn {
            self.next_turn = now + self.turn;
        }
    }

    /// Adds or replaces an entry.
    pub(crate) fn insert(&mut self, key: K, value: V, now: Instant) {
        self.age(now);
        self.old.remove(&key);
        if self.young.len() >= self.limit && !self.young.contains_key(&key) {
            self.turn();
            self.next_turn = now + self.turn;
        }
        self.young.insert(key, value);
    }

    /// Looks at an entry, which thereby counts as used.
    pub(crate) fn get<Q>(&mut self, key: &Q, now: Instant) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.age(now);
        if !self.young.contains_key(key)
            && let Some((key, value)) = self.old.remove_entry(key)
        {
            self.insert(key, value, now);
        }
        self.young.get(key)
    }

    /// Looks at an entry without using it.
    pub(crate) fn peek<Q>(&mut self, key: &Q, now: Instant) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.age(now);
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Takes an entry out.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(30);

    #[test]
    fn forgets_what_is_not_used() {
        let start = Instant::now();
        let mut cache = Cache::new(100, AGE, start);
        cache.insert("used", 1, start);
        cache.insert("idle", 2, start);
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(cache.get("used", now), Some(&1), "after {second} s");
            assert_eq!(cache.peek("idle", now).is_some(), second < 40, "after {second} s");
        }
        let now = start + Duration::from_secs(1000);
        assert_eq!(cache.get("used", now), None);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn never_holds_more_than_two_generations() {
        let now = Instant::now();
        let mut cache = Cache::new(10, AGE, now);
        for number in 0..1000 {
            cache.insert(number, number, now);
            assert!(cache.len() <= 20);
            assert_eq!(cache.get(&number, now), Some(&number));
            assert!(number < 9 || cache.peek(&(number - 9), now).is_some());
        }
        assert_eq!(cache.remove(&999), Some(999));
        assert_eq!(cache.get(&999, now), None);
    }
}
