//! A set of byte offsets, kept as ranges that neither overlap nor touch.

use std::collections::BTreeMap;
use std::ops::Range;

/// Which bytes of a file were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet {
    /// Start to end.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// From the first offset to the end of the last.
    pub(crate) fn span(&self) -> Option<Range<u64>> {
        let (start, _) = self.ranges.first_key_value()?;
        let (_, end) = self.ranges.last_key_value()?;
        Some(*start..*end)
    }

    /// Adds `range`; merges it with what it overlaps or touches.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // The commonest case, a sequential writer: the last range grows.
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back() {
            if e < start {
                break;
            }
            self.ranges.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.ranges.insert(start, end);
    }

    /// Drops every offset from `end` on.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.ranges.split_off(&end);
        if let Some((_, last)) = self.ranges.iter_mut().next_back() {
            *last = (*last).min(end);
        }
    }

    /// The ranges, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(s, e)| *s..*e)
    }

    /// Cuts `within` into pieces that are wholly in the set (`true`) or wholly not.
    pub(crate) fn pieces(&self, within: Range<u64>) -> Vec<(Range<u64>, bool)> {
        let mut out = Vec::new();
        let mut at = within.start;
        let before = self.ranges.range(..=within.start).next_back();
        for (&s, &e) in before.into_iter().chain(self.ranges.range(within.start.saturating_add(1)..)) {
            if s >= within.end {
                break;
            }
            let (s, e) = (s.max(within.start), e.min(within.end));
            if e <= at {
                continue;
            }
            if s > at {
                out.push((at..s, false));
            }
            out.push((s..e, true));
            at = e;
        }
        if at < within.end {
            out.push((at..within.end, false));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        Truncate(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..64u64, 0..20u64).prop_map(|(s, n)| Step::Insert(s, s + n)),
            1 => (0..64u64).prop_map(Step::Truncate),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_bitmap(steps in prop::collection::vec(step(), 0..24), from in 0..90u64, n in 0..40u64) {
            let mut set = RangeSet::default();
            let mut bits = [false; 200];
            for step in steps {
                match step {
                    Step::Insert(s, e) => {
                        set.insert(s..e);
                        bits[s as usize..e as usize].fill(true);
                    }
                    Step::Truncate(end) => {
                        set.truncate(end);
                        bits[end as usize..].fill(false);
                    }
                }
            }
            let mut last = None;
            for range in set.iter() {
                prop_assert!(!range.is_empty());
                prop_assert!(last.is_none_or(|end| end < range.start), "touching ranges");
                last = Some(range.end);
            }
            let mut at = from;
            for (range, held) in set.pieces(from..from + n) {
                prop_assert_eq!(range.start, at);
                prop_assert!(!range.is_empty());
                for offset in range.clone() {
                    prop_assert_eq!(bits[offset as usize], held);
                }
                at = range.end;
            }
            prop_assert_eq!(at, from + n);
        }
    }
}
