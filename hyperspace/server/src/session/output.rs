//! The bytes on their way to a client: small replies gathered in one buffer, large
//! blocks passed on without copying, all of it written with as few calls as can be.

use bytes::{Buf, Bytes, BytesMut};
use hyperspace_schema::frame;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Blocks of at least this size are passed on uncopied.
const UNCOPIED: usize = 8 * 1024;
/// Pieces handed to one `writev`.
const PIECES: usize = 64;
/// A buffer that grew beyond this is given back once it is empty.
const KEEP: usize = 256 * 1024;

/// What is still to be written.
#[derive(Default)]
pub(crate) struct Output {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    pieces_len: usize,
}

impl Output {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.pieces_len + self.tail.len()
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where to append small things.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends the reply to a `Get`.
    pub(crate) fn block(&mut self, id: u64, block: Bytes) {
        frame::get_response_head(&mut self.tail, id, block.len());
        if block.len() < UNCOPIED {
            self.tail.extend_from_slice(&block);
            return;
        }
        let head = self.tail.split().freeze();
        self.pieces_len += head.len() + block.len();
        self.pieces.push_back(head);
        self.pieces.push_back(block);
    }

    /// Writes as much as the stream takes; ready when nothing is left.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = if self.pieces.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.tail))?
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES];
                let mut used = 0;
                for piece in self.pieces.iter().take(PIECES - 1) {
                    slices[used] = IoSlice::new(piece);
                    used += 1;
                }
                if used == self.pieces.len() {
                    slices[used] = IoSlice::new(&self.tail);
                    used += 1;
                }
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..used]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while written > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let step = written.min(piece.len());
            piece.advance(step);
            self.pieces_len -= step;
            written -= step;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        self.tail.advance(written);
        if self.tail.is_empty() {
            if self.tail.capacity() > KEEP {
                self.tail = BytesMut::new();
            } else {
                self.tail.clear();
            }
        }
    }
}
