//! Which blocks a peer wants to hear about.

use super::wire::Want;
use std::collections::BTreeSet;
use std::ops::Range;

/// Wants that are remembered; with more, the peer is told of everything.
pub const MAX_WANTS: usize = 512;

/// The longest want that is heeded.
pub const MAX_LENGTH: u64 = 2_097_152;

/// Answers that are remembered, so that asking again and again costs us nothing.
const MAX_ANSWERED: usize = 64;

/// The wants of one peer.
#[derive(Debug, Default)]
pub struct RemoteWants {
    wants: BTreeSet<Want>,
    all: bool,
    /// What was answered last, and with which version of what we have.
    answered: Vec<(Want, u64)>,
}

impl RemoteWants {
    /// A new want. `false` if it needs no answer: it makes no sense, or was answered, and
    /// nothing has changed since then (`version` goes up with what we have).
    ///
    /// Some versions of npm hypercore, when they seek, take a want back and repeat it for as
    /// long as they get an answer.
    pub fn add(&mut self, want: Want, version: u64) -> bool {
        if want.length == 0 || want.length > MAX_LENGTH {
            return false;
        }
        if self.wants.len() < MAX_WANTS {
            self.wants.insert(want);
        } else {
            self.all = true;
        }
        if self.answered.contains(&(want, version)) {
            return false;
        }
        self.answered.retain(|(answered, _)| *answered != want);
        if self.answered.len() >= MAX_ANSWERED {
            self.answered.remove(0);
        }
        self.answered.push((want, version));
        true
    }

    /// A want is taken back.
    pub fn remove(&mut self, want: &Want) {
        self.wants.remove(want);
    }

    /// Does it want to hear about any of these blocks?
    pub fn covers(&self, blocks: Range<u64>) -> bool {
        self.all || self.wants.iter().any(|want| want.start < blocks.end && blocks.start < want.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_want_is_answered_when_something_changed() {
        let mut wants = RemoteWants::default();
        let want = Want { start: 0, length: 32_768, any: false };
        assert!(wants.add(want, 1));
        wants.remove(&want);
        assert!(!wants.add(want, 1), "the storm");
        assert!(wants.covers(5..6) && !wants.covers(40_000..40_001));
        assert!(wants.add(want, 2));
        assert!(!wants.add(Want { start: 0, length: 1 << 50, any: false }, 2));
    }

    #[test]
    fn many_wants_are_all() {
        let mut wants = RemoteWants::default();
        for start in 0..10_000 {
            wants.add(Want { start, length: 1, any: false }, 1);
        }
        assert!(wants.wants.len() <= MAX_WANTS && wants.answered.len() <= MAX_ANSWERED);
        assert!(wants.covers(1 << 40..1 << 41));
    }
}
