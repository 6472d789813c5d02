//! One client's connection: what it has open, the requests in progress, the bytes
//! on their way to it.
//!
//! A session is a single future that owns everything; when it ends, for whatever
//! reason, all of it is released. Requests start in the order of their arrival, and
//! those that finish at once are answered straight into the output, so that a burst
//! of small gets is answered by one write. The bounds are in [`Limits`].

mod cores;
mod dispatch;
mod extensions;
mod hypercore;
mod network;
pub(crate) mod output;
mod rhythm;
mod work;

use crate::Store;
use crate::extensions::Use;
use crate::limits::Limits;
use crate::lock::SessionId;
use crate::mailbox::{Mailbox, Overflown};
use crate::server::Shared;
use crate::transport::Transport;
use bytes::BytesMut;
use cores::Slot;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyperspace_api::CoreError;
use hyperspace_schema::frame::{Decoder, Frame, FrameError, Kind};
use output::Output;
use rhythm::Rhythm;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use work::Work;

/// Bytes asked for in one read, at least.
const READ: usize = 64 * 1024;
/// Bytes reserved ahead of what has come of a large frame, at most.
const READ_AHEAD: usize = 1024 * 1024;

/// Times that a session reads, works and writes before it lets others run.
const TURNS: usize = 8;

/// Why a session ended, other than by the client's leaving.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the client sent {0}")]
    Frame(#[from] FrameError),
    #[error("the client sent a reply to a request that was never made")]
    NoSuchRequest,
    #[error("the client does not take its events")]
    TooSlow,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Overflown> for End {
    fn from(_: Overflown) -> Self {
        Self::TooSlow
    }
}

/// The state of one connection.
pub(crate) struct Session<S: Store> {
    id: SessionId,
    server: Arc<Shared<S>>,
    limits: Limits,
    mailbox: Arc<Mailbox>,
    cores: HashMap<u32, Slot<S::Core>>,
    resources: HashMap<u64, Resource>,
    work: FuturesUnordered<Work<S::Core>>,
    /// Bytes of the requests in `work`.
    work_bytes: usize,
    waiting: WaitingRoom,
    /// Requests that wait for their core to open.
    queued: usize,
    /// Cancelled when the session ends.
    leaving: CancellationToken,
    decoder: Decoder,
    input: BytesMut,
    out: Output,
    rhythm: Rhythm,
    /// The client takes no more bytes.
    deaf: bool,
    /// `work` has new members that are to be polled before we sleep.
    started: bool,
}

/// What a client's resource id stands for.
struct Resource {
    /// The core it belongs to; `None` for network extensions.
    core: Option<u32>,
    kind: ResourceKind,
}

enum ResourceKind {
    /// A pending get or download.
    Pending(CancellationToken),
    Extension(Use),
}

/// Counts the requests that wait for peers or for other sessions, of all in progress.
#[derive(Clone)]
struct WaitingRoom {
    count: Arc<AtomicUsize>,
    limit: usize,
}

/// A place in it.
struct Waiting(Arc<AtomicUsize>);

impl WaitingRoom {
    fn enter(&self) -> Result<Waiting, CoreError> {
        // Only the session's own task counts up, so that the bound holds.
        if self.count() >= self.limit {
            let limit = self.limit;
            return Err(CoreError::Invalid(format!("At most {limit} requests can wait on one connection")));
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Waiting(self.count.clone()))
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: Store> Session<S> {
    pub(crate) fn new(server: Arc<Shared<S>>, id: SessionId) -> Self {
        let limits = server.limits;
        Self {
            id,
            server,
            limits,
            mailbox: Arc::new(Mailbox::new(limits.events)),
            cores: HashMap::new(),
            resources: HashMap::new(),
            work: FuturesUnordered::new(),
            work_bytes: 0,
            waiting: WaitingRoom { count: Arc::default(), limit: limits.waiting },
            queued: 0,
            leaving: CancellationToken::new(),
            decoder: Decoder::new(limits.frame),
            input: BytesMut::new(),
            out: Output::default(),
            rhythm: Rhythm::default(),
            deaf: false,
            started: false,
        }
    }

    /// Serves the client until it leaves, errs, or `stop` is cancelled; then releases
    /// all it had, and waits for the appends that had begun.
    pub(crate) async fn run(
        mut self,
        mut stream: impl Transport,
        stop: CancellationToken,
    ) -> Result<(), End> {
        self.server.welcome(self.id, &self.mailbox);
        let result = {
            let mut stopped = pin!(stop.cancelled());
            poll_fn(|cx| self.poll(cx, &mut stream, stopped.as_mut())).await
        };
        if stop.is_cancelled() {
            self.last_words(&mut stream).await;
        }
        drop(stream);
        self.wind_down().await;
        result
    }

    /// Releases everything. Requests that change something are carried through: a
    /// client may send an append and leave.
    async fn wind_down(&mut self) {
        self.server.farewell(self.id);
        self.leaving.cancel();
        self.resources.clear();
        for (_, slot) in self.cores.drain() {
            slot.release();
        }
        while self.work.next().await.is_some() {}
    }

    /// Writes the replies that are ready, if the client takes them without delay.
    async fn last_words(&mut self, stream: &mut impl Transport) {
        self.deliver_events();
        poll_fn(|cx| {
            let _ = self.out.poll_write(cx, stream);
            Poll::Ready(())
        })
        .await;
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut impl Transport,
        mut stopped: Pin<&mut WaitForCancellationFuture<'_>>,
    ) -> Poll<Result<(), End>> {
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.mailbox.awake(cx.waker());
        for _ in 0..TURNS {
            self.started = false;
            let mut room = true;
            while let Poll::Ready(Some((ticket, done))) = self.work.poll_next_unpin(cx) {
                self.end_work(ticket, done);
                room = self.out.len() < self.limits.out_bytes;
                if !room {
                    break;
                }
            }
            let hungry = self.take_requests()?;
            self.mailbox.deliver(&mut self.out, self.limits.out_bytes)?;
            let written = self.poll_write(cx, stream);
            let read = if hungry { self.poll_read(cx, stream)? } else { Poll::Pending };
            match read {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => continue,
                Poll::Pending => {}
            }
            // Everything that may now go on without being woken?
            let again = self.started
                || (!room && self.out.len() < self.limits.out_bytes)
                || (!hungry && self.may_start());
            if again {
                continue;
            }
            // The rest has our waker: the stream, the work in progress, the mailbox.
            if written.is_pending() {
                return Poll::Pending;
            }
            if self.mailbox.may_sleep() {
                if hungry && self.work.is_empty() && self.listen(stream)? {
                    self.mailbox.awake(cx.waker());
                    continue;
                }
                self.rhythm.sleeps();
                return Poll::Pending;
            }
        }
        // There is more to do, but others want their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes the events that have come, whatever waits already: they go before the
    /// answer that is about to be written.
    fn deliver_events(&mut self) {
        // An overflow is noticed by the next delivery.
        let _ = self.mailbox.deliver(&mut self.out, usize::MAX);
    }

    /// May another request begin?
    fn may_start(&self) -> bool {
        let ending = (self.work.len() + self.queued).saturating_sub(self.waiting.count());
        ending < self.limits.in_flight
            && self.work_bytes < self.limits.in_flight_bytes
            && self.out.len() < self.limits.out_bytes
    }

    /// Starts the requests that have come; `true` if more bytes are needed to go on.
    fn take_requests(&mut self) -> Result<bool, End> {
        while self.may_start() {
            match self.decoder.next(&mut self.input)? {
                Some(frame) => self.take(frame)?,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    fn take(&mut self, frame: Frame) -> Result<(), End> {
        match frame.kind {
            Kind::Request => self.request(frame),
            // We ask nothing of clients that they answer. Node's clients answer no
            // event either, as events have the id 0.
            Kind::Response | Kind::Error => return Err(End::NoSuchRequest),
            Kind::Unassigned => {}
        }
        Ok(())
    }

    /// Writes what the stream takes. A client that has closed its end may have sent
    /// more before that, which is still to be done, if not to be answered.
    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut impl Transport) -> Poll<()> {
        if !self.deaf {
            match self.out.poll_write(cx, stream) {
                Poll::Ready(Err(error)) => {
                    tracing::debug!(session = self.id, %error, "the client takes no more replies");
                    self.deaf = true;
                }
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.out = Output::default();
        Poll::Ready(())
    }

    /// Looks for the next request for a moment, if it is likely to come in that time.
    fn listen(&mut self, stream: &mut impl Transport) -> io::Result<bool> {
        let mut some = [0; 4096];
        let (mailbox, input) = (&self.mailbox, &mut self.input);
        let heard = self.rhythm.look(|| match stream.read_now(&mut some) {
            // The end of the stream is for the event loop to tell.
            None | Some(Ok(0)) => Some(Ok(false)),
            Some(Ok(n)) => {
                input.extend_from_slice(&some[..n]);
                Some(Ok(true))
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                mailbox.has_mail().then_some(Ok(true))
            }
            Some(Err(error)) => Some(Err(error)),
        });
        heard.unwrap_or(Ok(false))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, stream: &mut impl Transport) -> Poll<io::Result<usize>> {
        let ahead = self.decoder.missing(&self.input).clamp(READ, READ_AHEAD);
        if self.input.capacity() - self.input.len() < READ / 2 {
            self.input.reserve(ahead);
        }
        let n = ready!(poll_read_buf(Pin::new(stream), cx, &mut self.input))?;
        self.rhythm.hears();
        Poll::Ready(Ok(n))
    }
}
