//! Who waits to be dialled: the highest priority first, and by chance within one.

use super::peer::Priority;
use crate::dht::random::Random;
use crate::key_pair::PublicKey;

#[derive(Debug, Default)]
pub(super) struct Queue([Vec<PublicKey>; Priority::COUNT]);

impl Queue {
    pub(super) fn push(&mut self, priority: Priority, key: PublicKey) {
        self.0[priority as usize].push(key);
    }

    pub(super) fn pop(&mut self, random: &mut Random) -> Option<PublicKey> {
        let highest = self.0.iter_mut().rev().find(|keys| !keys.is_empty())?;
        let at = random.below(highest.len() as u64) as usize;
        Some(highest.swap_remove(at))
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&PublicKey) -> bool) {
        self.0.iter_mut().for_each(|keys| keys.retain(&mut keep));
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_highest_first_and_within_one_by_chance() {
        let mut firsts = HashSet::new();
        for seed in 0..50 {
            let mut random = Random::new([seed; 32]);
            let mut queue = Queue::default();
            for number in 0..10 {
                queue.push(Priority::Normal, [number; 32]);
            }
            queue.push(Priority::VeryHigh, [10; 32]);
            queue.push(Priority::Low, [11; 32]);
            assert_eq!((queue.len(), queue.pop(&mut random)), (12, Some([10; 32])));
            let all: Vec<_> = std::iter::from_fn(|| queue.pop(&mut random)).collect();
            assert_eq!((all.len(), all[10]), (11, [11; 32]));
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), 11);
            firsts.insert(all[0]);
        }
        assert!(firsts.len() > 5);
    }

    #[test]
    fn some_are_taken_out() {
        let mut queue = Queue::default();
        for number in 0..10 {
            queue.push(Priority::High, [number; 32]);
        }
        queue.retain(|key| key[0] == 3);
        let mut random = Random::new([0; 32]);
        assert_eq!((queue.pop(&mut random), queue.pop(&mut random)), (Some([3; 32]), None));
        assert!(queue.is_empty());
    }
}
