//! How a core's length changed since its client was last told.
//!
//! HRPC tells a client nothing but lengths, so a truncation is seen only as a length
//! that is less than the one before. Growth may be told as its outcome alone; a core
//! that was cut and has grown again must be told as both, lest what the client keeps
//! of the old history pass for the new one.

/// Blocks, and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

/// At most three lengths, whatever has happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lengths {
    /// What it had grown to when it was first cut: with `low`, this shows the client
    /// the cut even where it was never told of the growth.
    peak: Option<Length>,
    /// The least that it was cut to.
    low: Option<Length>,
    /// What it is now, unless that is `low`.
    last: Option<Length>,
}

impl Lengths {
    /// It is longer now.
    pub(super) fn grown(&mut self, length: Length) {
        self.last = Some(length);
    }

    /// Its history was rewritten from there on.
    pub(super) fn cut(&mut self, length: Length) {
        match self.low {
            None => {
                self.peak = self.last.take();
                self.low = Some(length);
            }
            Some(low) if length.blocks <= low.blocks => {
                self.low = Some(length);
                self.last = None;
            }
            // The lower cut says it all.
            Some(_) => self.last = Some(length),
        }
    }

    /// What to tell, in this order.
    pub(super) fn into_told(self) -> impl Iterator<Item = Length> {
        [self.peak, self.low, self.last].into_iter().flatten()
    }
}
