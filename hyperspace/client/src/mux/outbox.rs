//! What is queued for the socket: small frames coalesced in one buffer, large
//! blocks by reference, written with as few system calls as the socket allows.

use super::socket::Socket;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// From this size on a block is queued by reference rather than copied.
pub(crate) const BY_REFERENCE: usize = 4 * 1024;

/// Slices handed to one `writev`.
const SLICES: usize = 64;

/// A frame buffer larger than this is not kept for reuse.
const KEEP: usize = 1024 * 1024;

/// The queue. Not synchronised: it lives in the connection's state.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Complete pieces, in order, before `tail`.
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    /// A buffer whose bytes were written, kept for its memory.
    spare: BytesMut,
    queued: usize,
}

/// What was taken from an [`Outbox`] to be written outside its lock.
pub(crate) struct Batch {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    /// Bytes of `tail` already written.
    at: usize,
}

impl Outbox {
    /// Bytes queued here (not those of a [`Batch`] being written).
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Lets `encode` append small frames.
    pub fn push(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        encode(&mut self.tail);
        self.queued += self.tail.len() - before;
    }

    /// Appends the bytes of a block: copied if small, else by reference.
    pub fn push_block(&mut self, block: &Bytes) {
        self.queued += block.len();
        if block.len() < BY_REFERENCE {
            self.tail.extend_from_slice(block);
        } else {
            if !self.tail.is_empty() {
                self.pieces.push_back(self.tail.split().freeze());
            }
            self.pieces.push_back(block.clone());
        }
    }

    /// Everything queued, `None` if nothing is.
    pub fn take(&mut self) -> Option<Batch> {
        if self.queued == 0 {
            return None;
        }
        self.queued = 0;
        let tail = std::mem::replace(&mut self.tail, std::mem::take(&mut self.spare));
        Some(Batch { pieces: std::mem::take(&mut self.pieces), tail, at: 0 })
    }

    /// Takes a written batch's buffer back.
    pub fn recycle(&mut self, batch: Batch) {
        if batch.tail.capacity() > self.spare.capacity() && batch.tail.capacity() <= KEEP {
            self.spare = batch.tail;
            self.spare.clear();
        }
    }

    /// Puts what could not be written before everything queued since.
    pub fn put_back(&mut self, mut batch: Batch) {
        batch.tail.advance(batch.at);
        self.queued += batch.pieces.iter().map(Bytes::len).sum::<usize>() + batch.tail.len();
        if !batch.tail.is_empty() {
            batch.pieces.push_back(batch.tail.freeze());
        }
        batch.pieces.append(&mut self.pieces);
        self.pieces = batch.pieces;
    }

    /// Forgets everything: the socket takes no more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Batch {
    /// Writes until all is written (`true`) or the socket is full (`false`).
    pub fn write(&mut self, socket: &Socket) -> io::Result<bool> {
        while !(self.pieces.is_empty() && self.at == self.tail.len()) {
            let written = if self.pieces.is_empty() {
                socket.write(&self.tail[self.at..])
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let pieces = self.pieces.iter().map(Bytes::as_ref).chain([&self.tail[self.at..]]);
                let mut used = 0;
                for (slice, piece) in slices.iter_mut().zip(pieces) {
                    *slice = IoSlice::new(piece);
                    used += 1;
                }
                socket.write_vectored(&slices[..used])
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop_front();
        }
        self.at += written;
    }
}
