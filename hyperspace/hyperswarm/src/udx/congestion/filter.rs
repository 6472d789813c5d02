//! The extreme of late: the largest or smallest of the values in a sliding window.

use std::collections::VecDeque;

/// Values with the time each was seen at, of which only those matter that no later one
/// surpasses. At most [`Extreme::KEPT`] of them are kept.
#[derive(Debug)]
pub(in crate::udx) struct Extreme<T, V> {
    kept: VecDeque<(T, V)>,
    surpasses: fn(&V, &V) -> bool,
}

impl<T, V: Copy + PartialOrd> Extreme<T, V> {
    const KEPT: usize = 32;

    pub(in crate::udx) fn greatest() -> Self {
        Self { kept: VecDeque::new(), surpasses: |new, old| new >= old }
    }

    pub(in crate::udx) fn least() -> Self {
        Self { kept: VecDeque::new(), surpasses: |new, old| new <= old }
    }

    /// Adds a value, and forgets those that are too old.
    pub(in crate::udx) fn update(&mut self, time: T, value: V, too_old: impl Fn(&T) -> bool) {
        while self.kept.front().is_some_and(|(time, _)| too_old(time)) {
            self.kept.pop_front();
        }
        while self.kept.back().is_some_and(|(_, old)| (self.surpasses)(&value, old)) {
            self.kept.pop_back();
        }
        // The oldest stay: it is them whom the next ones have to surpass.
        if self.kept.len() == Self::KEPT {
            self.kept.pop_back();
        }
        self.kept.push_back((time, value));
    }

    pub(in crate::udx) fn get(&self) -> Option<V> {
        self.kept.front().map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_extreme_of_the_window(values in prop::collection::vec(0..100u32, 1..200), window in 1..30usize) {
            let (mut most, mut least) = (Extreme::greatest(), Extreme::least());
            for (time, value) in values.iter().enumerate() {
                let too_old = |each: &usize| each + window <= time;
                most.update(time, *value, too_old);
                least.update(time, *value, too_old);
                let seen = &values[(time + 1).saturating_sub(window)..=time];
                prop_assert_eq!(most.get(), seen.iter().max().copied());
                prop_assert_eq!(least.get(), seen.iter().min().copied());
            }
        }
    }
}
