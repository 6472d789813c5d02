//! How large a packet may be: searched for with packets that are padded to a larger size
//! than any that has arrived so far.
//!
//! Sizes are those of IP packets. What is lost of a probe is its padding only: its payload
//! goes again, unpadded.

/// So much arrives everywhere.
pub(super) const BASE: u16 = 1200;
/// So much arrives nearly everywhere.
pub(super) const MAX: u16 = 1500;
/// The search is over when the answer is known this well.
const STEP: u16 = 32;
/// A size is given up when so many probes of it were lost.
const PROBES: u8 = 3;

/// A search between a size that arrives and one that does not.
#[derive(Debug)]
pub(super) struct Search {
    /// Arrives.
    current: u16,
    /// Does not: one more than the largest that may.
    above: u16,
    /// Whether that was tried.
    failed: bool,
    lost: u8,
    /// Which packet is the probe, and its size.
    probe: Option<(u64, u16)>,
    /// Nothing is searched for before something has arrived.
    begun: bool,
}

impl Search {
    /// A search up to `max`.
    pub(super) fn new(max: u16) -> Self {
        let max = max.clamp(BASE, MAX);
        Self { current: BASE, above: max + 1, failed: false, lost: 0, probe: None, begun: false }
    }

    /// The largest size that is known to arrive.
    pub(super) fn current(&self) -> u16 {
        self.current
    }

    /// Something has arrived: there is somebody to search with.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// The size that is to be tried next, if any. Padding has a length of one byte, so it is
    /// not more than 255 larger than what is known.
    pub(super) fn wanted(&self) -> Option<u16> {
        if !self.begun || self.probe.is_some() {
            return None;
        }
        let largest = self.above - 1;
        if largest <= self.current {
            return None;
        }
        // The largest first, since mostly it arrives; then the middle.
        let size = if self.failed { self.current + (self.above - self.current) / 2 } else { largest };
        let size = size.min(self.current + 255);
        (size > self.current).then_some(size)
    }

    /// Packet `seq` is sent as a probe of `size`.
    pub(super) fn sent(&mut self, seq: u64, size: u16) {
        self.probe = Some((seq, size));
    }

    /// Packet `seq` has arrived. Whether sizes have changed.
    pub(super) fn arrived(&mut self, seq: u64) -> bool {
        match self.probe {
            Some((probe, size)) if probe == seq => {
                self.probe = None;
                self.lost = 0;
                self.current = size;
                self.settle();
                true
            }
            _ => false,
        }
    }

    /// Packet `seq` was lost. Whether it was a probe.
    pub(super) fn lost(&mut self, seq: u64) -> bool {
        match self.probe {
            Some((probe, size)) if probe == seq => {
                self.probe = None;
                self.lost += 1;
                if self.lost == PROBES {
                    self.lost = 0;
                    self.above = size;
                    self.failed = true;
                    self.settle();
                }
                true
            }
            _ => false,
        }
    }

    /// Ends the search when what is left of it is not worth a probe.
    fn settle(&mut self) {
        if self.failed && self.above - self.current <= STEP {
            self.above = self.current + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches on a path that carries so much.
    fn search(path: u16, max: u16) -> (u16, u32) {
        let mut search = Search::new(max);
        assert_eq!(search.wanted(), None);
        search.begin();
        let mut probes = 0;
        while let Some(size) = search.wanted() {
            assert!(size > search.current() && size - search.current() <= 255);
            probes += 1;
            search.sent(probes, size);
            assert_eq!(search.wanted(), None, "one at a time");
            assert!(!search.arrived(0) && !search.lost(0));
            let found = if size <= path { search.arrived(probes) } else { search.lost(probes) };
            assert!(found && probes < 40);
        }
        (search.current(), u32::try_from(probes).expect("few"))
    }

    #[test]
    fn every_path_is_found() {
        for path in BASE..=MAX {
            let (found, _) = search(path, MAX);
            assert!(found <= path && path - found < STEP, "{path}: {found}");
        }
        assert_eq!(search(1500, 1500), (1500, 2));
        assert_eq!(search(1500, 1200), (1200, 0));
        assert_eq!(search(9000, 1400).0, 1400);
    }
}
