//! The task of a connection: moves bytes between the transport, the secret stream and the
//! channels.

use super::ConnectionError;
use super::shared::Shared;
use crate::secret_stream::{Event, SecretStream, StreamError};
use bytes::{Buf, BytesMut};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// So much is gathered for one write.
const WRITE: usize = 256 << 10;

/// How much is read at once: as little as this when little comes, as much when much does.
const READ: std::ops::Range<usize> = 4 << 10..256 << 10;

/// After so many rounds, the other tasks of the thread get their turn.
const ROUNDS: usize = 32;

/// Buffers larger than this are given back when nothing was to do for a while.
const IDLE: usize = 16 << 10;

/// How far the end of our side has got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not begun.
    No,
    /// The transport is being told.
    Telling,
    /// The transport knows.
    Told,
}

/// What came of a round.
enum Step {
    /// Something was done: there may be more.
    Busy,
    /// Nothing can be done before somebody wakes us.
    Idle,
    /// Both sides have ended.
    Over,
}

pub(super) struct Driver<T> {
    io: T,
    stream: SecretStream,
    shared: Arc<Shared>,
    timer: Pin<Box<Sleep>>,
    read_size: usize,
    unflushed: bool,
    heard: bool,
    remote_ended: bool,
    end: End,
}

/// Tells the others that the task is no more, however it ended.
struct Finish(Arc<Shared>, Option<ConnectionError>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish(self.1.take());
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn new(io: T, stream: SecretStream, shared: Arc<Shared>) -> Self {
        // Looks for the first time at once.
        let timer = Box::pin(tokio::time::sleep_until(Instant::now()));
        Self {
            io,
            stream,
            shared,
            timer,
            read_size: READ.start,
            unflushed: false,
            heard: false,
            remote_ended: false,
            end: End::No,
        }
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut finish = Finish(Arc::clone(&shared), Some(ConnectionError::Dropped));
        let mut work = pin!(shared.work().notified());
        let ended = poll_fn(|cx| {
            for _ in 0..ROUNDS {
                match self.step(cx)? {
                    Step::Over => return Poll::Ready(Ok(())),
                    Step::Busy => {}
                    Step::Idle if work.as_mut().poll(cx).is_pending() => return Poll::Pending,
                    Step::Idle => work.set(shared.work().notified()),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let ended: Result<(), ConnectionError> = ended.await;
        if let Err(error) = &ended {
            tracing::debug!(%error, "a connection failed");
        }
        finish.1 = ended.err();
    }

    /// One round of everything that can be done without waiting.
    fn step(&mut self, cx: &mut Context<'_>) -> Result<Step, ConnectionError> {
        let mut busy = self.fill()?;
        busy |= self.write(cx)?;
        busy |= self.read(cx)?;
        if self.end == End::Told && self.remote_ended {
            return Ok(Step::Over);
        }
        busy |= self.tick(cx)?;
        Ok(if busy { Step::Busy } else { Step::Idle })
    }

    /// Encrypts what waits to be sent, as much as makes a good write.
    fn fill(&mut self) -> Result<bool, ConnectionError> {
        let now = Instant::now().into_std();
        let mut filled = false;
        loop {
            let mut state = self.shared.lock();
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if self.end != End::No {
                return Ok(filled);
            }
            if std::mem::take(&mut state.probe) {
                self.stream.keep_alive(now);
                filled = true;
            }
            if self.stream.outgoing().len() >= WRITE {
                return Ok(filled);
            }
            if !state.muxer.has_outgoing() {
                state.rest();
                if state.ending || self.remote_ended {
                    self.end = End::Telling;
                    self.stream.end();
                    return Ok(true);
                }
                return Ok(filled);
            }
            // Copied under the lock, encrypted without.
            let shared = &self.shared;
            self.stream.send_with(now, move |frame| {
                let written = state.muxer.transmit(frame);
                shared.make_room(&mut state);
                written
            })?;
            filled = true;
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let mut busy = false;
        let outgoing = self.stream.outgoing();
        while !outgoing.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, outgoing)? {
                Poll::Pending => return Ok(busy),
                Poll::Ready(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Poll::Ready(count) => {
                    outgoing.advance(count);
                    self.shared.count_sent(count);
                    self.unflushed = true;
                    busy = true;
                }
            }
        }
        // Nothing is left of it: the next frame begins at the start again.
        outgoing.clear();
        if self.unflushed && Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        if self.end == End::Telling && !self.unflushed {
            // Somebody who has gone already need not be told.
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Pending => return Ok(busy),
                Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::NotConnected => {
                    return Err(error.into());
                }
                Poll::Ready(_) => self.end = End::Told,
            }
            busy = true;
        }
        Ok(busy)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        // What came with the handshake is in the buffer already.
        let busy = self.understand()?;
        if self.remote_ended || !self.shared.may_read() {
            return Ok(busy);
        }
        let buffer = self.stream.read_buffer();
        if buffer.capacity() - buffer.len() < self.read_size / 4 {
            buffer.reserve(self.read_size);
        }
        let count = match pin!(self.io.read_buf(buffer)).poll(cx)? {
            Poll::Pending => return Ok(busy),
            Poll::Ready(count) => count,
        };
        if count == 0 {
            self.stream.received_end();
        } else {
            self.stream.received(Instant::now().into_std());
            self.shared.count_received(count);
            if count >= self.read_size / 2 {
                self.read_size = (self.read_size * 2).min(READ.end);
            } else if count < self.read_size / 8 {
                self.read_size = (self.read_size / 2).max(READ.start);
            }
        }
        self.understand()?;
        Ok(true)
    }

    /// Decrypts what was received; true if there was something.
    fn understand(&mut self) -> Result<bool, ConnectionError> {
        let mut frames = Vec::new();
        while let Some(event) = self.stream.poll()? {
            match event {
                Event::Message(frame) => frames.push(frame),
                Event::End => self.remote_ended = true,
                Event::Connected => {}
            }
        }
        if !self.heard && self.stream.has_heard() {
            self.heard = true;
            self.shared.lock().heard = true;
        }
        if frames.is_empty() {
            return Ok(false);
        }
        self.shared.deliver(frames.into_iter());
        Ok(true)
    }

    /// Does what is due. The timer is not moved with every message: when it goes off too
    /// early, it is set anew.
    fn tick(&mut self, cx: &mut Context<'_>) -> Result<bool, StreamError> {
        if self.timer.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        let now = Instant::now();
        self.stream.handle_timeout(now.into_std())?;
        release(self.stream.read_buffer());
        release(self.stream.outgoing());
        let next = self.stream.poll_timeout().map(Instant::from_std);
        // With nothing to wait for, it is looked again from time to time.
        let idle = now + Duration::from_secs(60);
        self.timer.as_mut().reset(next.unwrap_or(idle));
        Ok(true)
    }
}

fn release(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > IDLE {
        *buffer = BytesMut::new();
    }
}
