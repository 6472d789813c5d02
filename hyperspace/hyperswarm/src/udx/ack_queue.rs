//! Acknowledgements that are to be sent: one for each packet, as the other side expects.

use std::collections::VecDeque;

/// Beyond so many, the latest replaces the one before it: it says all that one did.
const MOST: usize = 512;

/// What was sent is not kept beyond this.
const KEPT: usize = 16 << 10;

/// Packets, ready to be sent.
#[derive(Debug, Default)]
pub(super) struct AckQueue {
    bytes: Vec<u8>,
    at: usize,
    lengths: VecDeque<usize>,
}

impl AckQueue {
    /// Adds what `encode` writes.
    pub(super) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.lengths.len() == MOST
            && let Some(last) = self.lengths.pop_back()
        {
            self.bytes.truncate(self.bytes.len() - last);
        }
        if self.at > KEPT {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        let before = self.bytes.len();
        encode(&mut self.bytes);
        self.lengths.push_back(self.bytes.len() - before);
    }

    /// The length of the first.
    pub(super) fn first(&self) -> Option<usize> {
        self.lengths.front().copied()
    }

    /// Takes the first.
    pub(super) fn pop(&mut self, into: &mut Vec<u8>) {
        let Some(length) = self.lengths.pop_front() else { return };
        into.extend_from_slice(&self.bytes[self.at..self.at + length]);
        self.at += length;
        if self.lengths.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > 4 * KEPT {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.lengths.clear();
        self.at = 0;
    }
}
