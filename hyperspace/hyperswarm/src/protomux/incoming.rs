//! Takes received frames apart, one item at a time.
//!
//! Nothing is decoded before it is asked for: a frame of 16 MiB may hold millions of
//! items, and costs no more than its own bytes until they are.

use super::MuxError;
use bytes::{Buf, Bytes};
use compact_encoding::{DecodeError, Reader};
use std::collections::VecDeque;

/// What a frame, or an entry of a batch, says. Ids are the sender's own, but for a reject.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Message { channel: u64, kind: u64, payload: Bytes },
    Open { channel: u64, protocol: Bytes, id: Bytes, handshake: Bytes },
    Reject { channel: u64 },
    Close { channel: u64 },
}

/// Kinds of messages on channel 0.
pub(super) const BATCH: u64 = 0;
pub(super) const OPEN: u64 = 1;
pub(super) const REJECT: u64 = 2;
pub(super) const CLOSE: u64 = 3;

/// What a frame costs beside its bytes.
const FRAME_OVERHEAD: usize = 64;

#[derive(Default)]
pub(super) struct Incoming {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// The rest of a batch, and the channel its next entry is for.
    batch: Option<(Bytes, u64)>,
}

impl Incoming {
    pub(super) fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.bytes += frame.len() + FRAME_OVERHEAD;
            self.frames.push_back(frame);
        }
    }

    /// The bytes of frames that were not begun yet, with what they cost beside.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn next(&mut self) -> Result<Option<Item>, MuxError> {
        loop {
            if let Some((batch, channel)) = &mut self.batch {
                if batch.is_empty() {
                    self.batch = None;
                    continue;
                }
                let length = uint(batch)?;
                if length == 0 {
                    *channel = uint(batch)?;
                    continue;
                }
                let mut entry = take(batch, length)?;
                let (channel, kind) = (*channel, uint(&mut entry)?);
                if (channel, kind) == (0, BATCH) {
                    return Err(MuxError::NestedBatch);
                }
                match item(channel, kind, entry)? {
                    Some(item) => return Ok(Some(item)),
                    None => continue,
                }
            }
            let Some(mut frame) = self.frames.pop_front() else {
                return Ok(None);
            };
            self.bytes -= frame.len() + FRAME_OVERHEAD;
            let (channel, kind) = (uint(&mut frame)?, uint(&mut frame)?);
            if (channel, kind) == (0, BATCH) {
                let channel = uint(&mut frame)?;
                self.batch = Some((frame, channel));
            } else if let Some(item) = item(channel, kind, frame)? {
                return Ok(Some(item));
            }
        }
    }
}

/// `None` for kinds on channel 0 that are not known: they are of a later version.
fn item(channel: u64, kind: u64, mut body: Bytes) -> Result<Option<Item>, MuxError> {
    if channel != 0 {
        return Ok(Some(Item::Message { channel, kind, payload: body }));
    }
    Ok(match kind {
        OPEN => {
            let channel = uint(&mut body)?;
            let protocol = buffer(&mut body)?;
            let id = buffer(&mut body)?;
            Some(Item::Open { channel, protocol, id, handshake: body })
        }
        REJECT => Some(Item::Reject { channel: uint(&mut body)? }),
        CLOSE => Some(Item::Close { channel: uint(&mut body)? }),
        _ => None,
    })
}

/// Reads a number off the front.
fn uint(bytes: &mut Bytes) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = reader.uint()?;
    let read = bytes.len() - reader.remaining();
    bytes.advance(read);
    Ok(value)
}

fn take(bytes: &mut Bytes, length: u64) -> Result<Bytes, DecodeError> {
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len() => Ok(bytes.split_to(length)),
        _ => Err(DecodeError::OutOfBounds),
    }
}

fn buffer(bytes: &mut Bytes) -> Result<Bytes, DecodeError> {
    let length = uint(bytes)?;
    take(bytes, length)
}
