//! What is to be sent, packed into as few frames as makes sense.
//!
//! Small messages are copied, one behind the other, into a batch, as the format has it;
//! large ones are kept as they are, and copied once, into the frame.

use super::incoming::BATCH;
use bytes::{Bytes, BytesMut};
use compact_encoding::Writer;
use std::collections::VecDeque;

/// Messages up to this size are put into a batch.
const SMALL: usize = 8 << 10;

/// A batch is full at this size: larger frames save next to nothing, and nothing of a frame is
/// read before all of it has come, which over a long line that was idle takes TCP a round trip
/// for the first 15 KB.
const FULL: usize = 4 << 10;

/// What a message costs beside its bytes.
const OVERHEAD: usize = 32;

#[derive(Default)]
pub(super) struct Outgoing {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// The buffer of a batch that was sent, for the next one.
    spare: Vec<u8>,
}

/// What becomes one frame.
enum Segment {
    Batch(Batch),
    Large { head: Vec<u8>, parts: Vec<Bytes> },
}

/// A batch frame; or its first entry alone, if there are no others.
struct Batch {
    buffer: Vec<u8>,
    entries: usize,
    cost: usize,
    first_channel: u64,
    first_entry: usize,
    last_channel: u64,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How much memory the queue takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues a message: its payload is the parts, one behind the other.
    pub(super) fn push(&mut self, channel: u64, kind: u64, parts: &[Bytes]) {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let cost = length + OVERHEAD;
        self.bytes += cost;
        if length > SMALL {
            let mut head = Writer::with_capacity(10);
            head.uint(channel).uint(kind);
            self.segments.push_back(Segment::Large { head: head.into_vec(), parts: parts.to_vec() });
            return;
        }
        match self.segments.back_mut() {
            Some(Segment::Batch(batch)) if batch.buffer.len() + length < FULL => {
                batch.push(channel, kind, parts, length);
            }
            _ => {
                let mut batch = Batch::new(std::mem::take(&mut self.spare), channel);
                batch.push(channel, kind, parts, length);
                self.segments.push_back(Segment::Batch(batch));
            }
        }
    }

    /// Writes the next frame; false if there is none.
    pub(super) fn pop(&mut self, frame: &mut BytesMut) -> bool {
        match self.segments.pop_front() {
            None => return false,
            Some(Segment::Large { head, parts }) => {
                let length: usize = parts.iter().map(Bytes::len).sum();
                self.bytes -= length + OVERHEAD;
                frame.reserve(head.len() + length + 16);
                frame.extend_from_slice(&head);
                parts.iter().for_each(|part| frame.extend_from_slice(part));
            }
            Some(Segment::Batch(batch)) => {
                self.bytes -= batch.cost;
                frame.reserve(batch.buffer.len() + 16);
                batch.write(frame);
                self.spare = batch.buffer;
            }
        }
        if self.segments.is_empty() && self.spare.len() <= SMALL {
            // An idle connection keeps no buffers.
            self.spare = Vec::new();
        }
        true
    }
}

impl Batch {
    fn new(mut buffer: Vec<u8>, channel: u64) -> Self {
        buffer.clear();
        let mut batch = Self {
            buffer,
            entries: 0,
            cost: 0,
            first_channel: channel,
            first_entry: 0,
            last_channel: channel,
        };
        batch.uint(0);
        batch.uint(BATCH);
        batch.uint(channel);
        batch
    }

    fn uint(&mut self, value: u64) {
        put_uint(&mut self.buffer, value);
    }

    fn push(&mut self, channel: u64, kind: u64, parts: &[Bytes], length: usize) {
        if channel != self.last_channel {
            self.uint(0);
            self.uint(channel);
            self.last_channel = channel;
        }
        self.uint((uint_length(kind) + length) as u64);
        if self.entries == 0 {
            self.first_entry = self.buffer.len();
        }
        self.uint(kind);
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
        self.entries += 1;
        self.cost += length + OVERHEAD;
    }

    fn write(&self, frame: &mut BytesMut) {
        if self.entries > 1 {
            frame.extend_from_slice(&self.buffer);
            return;
        }
        let mut channel = Vec::with_capacity(9);
        put_uint(&mut channel, self.first_channel);
        frame.extend_from_slice(&channel);
        frame.extend_from_slice(&self.buffer[self.first_entry..]);
    }
}

fn uint_length(value: u64) -> usize {
    match value {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn put_uint(buffer: &mut Vec<u8>, value: u64) {
    match value {
        0..=0xfc => buffer.push(value as u8),
        _ => {
            let mut writer = Writer::with_capacity(9);
            writer.uint(value);
            buffer.extend_from_slice(writer.as_slice());
        }
    }
}
