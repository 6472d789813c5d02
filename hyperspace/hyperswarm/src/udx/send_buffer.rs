//! Bytes that were written: those under way, and behind them those that are to be sent.

use std::collections::VecDeque;

/// What is kept of an empty buffer.
const KEPT: usize = 64 << 10;

/// Written bytes, by their offset in the stream.
#[derive(Debug, Default)]
pub(super) struct SendBuffer {
    bytes: VecDeque<u8>,
    /// The offset of the first.
    start: u64,
    /// The offset of the first that was not sent yet.
    sent: u64,
}

impl SendBuffer {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn unsent(&self) -> usize {
        self.bytes.len() - self.under_way()
    }

    fn under_way(&self) -> usize {
        usize::try_from(self.sent - self.start).unwrap_or(usize::MAX)
    }

    /// The offset of what is sent next, which is of that length.
    pub(super) fn send(&mut self, length: usize) -> u64 {
        let offset = self.sent;
        self.sent += length.min(self.unsent()) as u64;
        offset
    }

    /// Copies bytes that are under way.
    pub(super) fn copy(&self, offset: u64, length: usize, into: &mut Vec<u8>) {
        let skip = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let (one, two) = self.bytes.as_slices();
        let first = one.get(skip..).unwrap_or(&[]);
        let first = &first[..first.len().min(length)];
        into.extend_from_slice(first);
        let rest = two.get(skip.saturating_sub(one.len())..).unwrap_or(&[]);
        into.extend_from_slice(&rest[..rest.len().min(length - first.len())]);
    }

    /// Everything below `offset` has arrived.
    pub(super) fn release_below(&mut self, offset: u64) {
        let offset = offset.min(self.sent);
        let count = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.drain(..count);
        self.start += count as u64;
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = VecDeque::new();
        }
    }

    /// Nothing of it is needed any more.
    pub(super) fn clear(&mut self) {
        self.start += self.bytes.len() as u64;
        self.sent = self.start;
        self.bytes = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_keep_their_offsets(steps in prop::collection::vec((0..4u8, 0..3000usize), 0..60)) {
            let (mut buffer, mut all, mut sent, mut released) = (SendBuffer::default(), Vec::new(), 0, 0);
            for (what, size) in steps {
                match what {
                    0 => {
                        let bytes: Vec<u8> = (all.len()..all.len() + size).map(|at| (at % 251) as u8).collect();
                        buffer.write(&bytes);
                        all.extend(bytes);
                    }
                    1 => {
                        let size = size.min(buffer.unsent());
                        prop_assert_eq!(buffer.send(size), sent as u64);
                        sent += size;
                    }
                    2 => {
                        released = sent.min(released + size);
                        buffer.release_below(released as u64);
                    }
                    _ => {
                        let from = released + size.min(sent - released);
                        let mut copy = Vec::new();
                        buffer.copy(from as u64, sent - from, &mut copy);
                        prop_assert_eq!(&copy, &all[from..sent]);
                    }
                }
                prop_assert_eq!((buffer.unsent(), buffer.len()), (all.len() - sent, all.len() - released));
            }
        }
    }
}
