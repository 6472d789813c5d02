//! A set of sequence numbers, kept as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither overlap nor touch.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `range`, and tells of each part of it that was not there.
    pub(super) fn insert(&mut self, range: Range<u64>, mut added: impl FnMut(Range<u64>)) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        let mut at = range.start;
        // Whoever begins before it and reaches it.
        if let Some((&before, &until)) = self.0.range(..=range.start).next_back()
            && until >= range.start
        {
            if until >= range.end {
                return;
            }
            start = before;
            at = until;
        }
        // Whoever begins in it, or where it ends.
        while let Some((&next, &until)) = self.0.range(range.start + 1..=range.end).next() {
            if at < next {
                added(at..next);
            }
            at = until;
            end = end.max(until);
            self.0.remove(&next);
        }
        if at < range.end {
            added(at..range.end);
        }
        self.0.insert(start, end);
    }

    /// Forgets everything below `seq`.
    pub(super) fn forget_below(&mut self, seq: u64) {
        while let Some(entry) = self.0.first_entry() {
            if *entry.key() >= seq {
                return;
            }
            let (_, end) = entry.remove_entry();
            if end > seq {
                self.0.insert(seq, end);
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The range that `seq` is in.
    pub(super) fn around(&self, seq: u64) -> Option<Range<u64>> {
        let (start, end) = self.0.range(..=seq).next_back()?;
        (seq < *end).then_some(*start..*end)
    }

    /// The lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(start, end)| *start..*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set(steps in prop::collection::vec((0..60u64, 0..12u64, any::<bool>()), 0..40)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (start, length, forget) in steps {
                if forget && length == 0 {
                    ranges.forget_below(start);
                    model.retain(|each| *each >= start);
                    continue;
                }
                let mut new = Vec::new();
                ranges.insert(start..start + length, |part| new.extend(part));
                let expected: Vec<u64> = (start..start + length).filter(|each| model.insert(*each)).collect();
                prop_assert_eq!(new, expected);
                let all: Vec<u64> = ranges.iter().flatten().collect();
                prop_assert!(all.iter().eq(model.iter()));
                let apart = ranges.iter().zip(ranges.iter().skip(1)).all(|(one, next)| one.end < next.start);
                prop_assert!(apart);
            }
        }
    }
}
