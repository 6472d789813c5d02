//! A stream on tokio.

use super::mux::{Firewall, Verdict};
use super::path::{Path, SocketId};
use super::shared::{Shared, now};
use super::socket::UdxSocket;
use super::stream::{MessageError, Stats, Stream, StreamError};
use bytes::Bytes;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::task::coop;

/// How much of what is read is copied at once.
const COPY: usize = 64 << 10;

/// A stream. It is a byte stream like any other of tokio, once it is connected.
///
/// Dropped after it was shut down, it goes on in the background until everything that was
/// written has arrived, or the other side does not answer any more. Dropped before, it is
/// given up at once, and the other side is told so.
pub struct UdxStream {
    way: Way,
    shut_down: bool,
}

/// Where a stream leads: whoever found it can go on to change it after the stream itself was
/// given to somebody else. Does not keep the stream.
#[derive(Clone)]
pub struct Way {
    shared: Arc<Shared>,
    id: u32,
    other: Arc<Notify>,
}

impl UdxStream {
    pub(super) fn new(shared: Arc<Shared>, id: u32, other: Arc<Notify>) -> Self {
        Self { way: Way { shared, id, other }, shut_down: false }
    }

    /// Where it leads, to be changed by somebody else.
    pub fn way(&self) -> Way {
        self.way.clone()
    }

    /// Passes what comes for this stream on to the peer of `to`, as it is. For both ways,
    /// both streams are relayed.
    pub fn relay_to(&self, to: &UdxStream) {
        self.shared.with(|state| state.mux.relay(self.id, to.id));
    }
}

impl Deref for UdxStream {
    type Target = Way;

    fn deref(&self) -> &Way {
        &self.way
    }
}

impl Way {
    /// The number by which the other side has to call it.
    pub fn id(&self) -> u32 {
        self.id
    }

    fn update<R>(&self, change: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        self.shared.with(|state| state.mux.update(self.id, change))
    }

    /// Says where the other side is: it calls its stream `remote_id`. Nothing is sent for
    /// that. A second time, it does nothing: see [`Way::redirect`].
    pub fn connect(&self, socket: &UdxSocket, remote_id: u32, remote: SocketAddr) {
        let path = Path { socket: socket.id(), remote, id: remote_id };
        self.update(|stream| stream.connect(now(), path));
    }

    /// Lets `judge` decide of packets that come by another socket than the stream's, or
    /// before it is connected. Without one, they are dropped. It is called under a lock: it
    /// must neither wait nor use this instance of UDX.
    pub fn set_firewall(&self, judge: impl FnMut(SocketId, SocketAddr) -> Verdict + Send + 'static) {
        let judge: Firewall = Box::new(judge);
        self.shared.with(|state| state.mux.set_firewall(self.id, judge));
    }

    /// Waits until it is connected.
    pub async fn connected(&self) -> io::Result<()> {
        self.wait(|stream| stream.path().map(|_| ())).await
    }

    /// Where it leads to, if it is connected.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.shared.with(|state| state.mux.get(self.id)?.path().map(|path| path.remote))
    }

    /// Sends on another path from now on: by another socket, to another address, or to a
    /// stream of another number. Waits until everything that was under way has arrived.
    pub async fn change_remote(
        &self,
        socket: &UdxSocket,
        remote_id: u32,
        remote: SocketAddr,
    ) -> io::Result<()> {
        self.redirect(socket, remote_id, remote);
        self.redirected().await
    }

    /// The same, but does not wait: [`redirected`](Self::redirected) does.
    pub fn redirect(&self, socket: &UdxSocket, remote_id: u32, remote: SocketAddr) {
        let path = Path { socket: socket.id(), remote, id: remote_id };
        self.update(|stream| stream.change_remote(path));
    }

    /// Waits until everything that was under way on another path has arrived.
    pub async fn redirected(&self) -> io::Result<()> {
        self.wait(|stream| (!stream.is_changing()).then_some(())).await
    }

    /// How many packets were passed on so.
    pub fn passed(&self) -> u64 {
        self.shared.with(|state| state.mux.passed(self.id))
    }

    /// Sends a message beside the stream: once, in no order, and perhaps in vain.
    pub fn send_message(&self, message: impl Into<Bytes>) -> Result<(), MessageError> {
        self.update(|stream| stream.send_message(message.into())).unwrap_or(Err(MessageError::NotConnected))
    }

    /// The next message that has come beside the stream.
    pub async fn recv_message(&self) -> io::Result<Bytes> {
        self.wait_mut(|stream| stream.receive_message()).await
    }

    /// Waits until everything that was written, and the end, if it was shut down, has
    /// arrived.
    pub async fn acknowledged(&self) -> io::Result<()> {
        self.wait(|stream| stream.is_acknowledged().then_some(())).await
    }

    /// Waits until it is over: `Ok`, if both sides have ended it.
    pub async fn closed(&self) -> Result<(), StreamError> {
        let reason = self.wait_for(|stream| stream.closed()).await;
        reason.flatten().map_or(Ok(()), Err)
    }

    /// Gives the stream up. What has come can still be read.
    pub fn destroy(&self) {
        self.shared.with(|state| state.mux.destroy(self.id));
    }

    /// What is known of its path.
    pub fn stats(&self) -> Option<Stats> {
        self.shared.with(|state| state.mux.get(self.id).map(Stream::stats))
    }

    /// Waits until `look` sees something, or the stream is no more.
    async fn wait<R>(&self, look: impl Fn(&Stream) -> Option<R>) -> io::Result<R> {
        self.wait_mut(|stream| look(stream)).await
    }

    async fn wait_mut<R>(&self, mut look: impl FnMut(&mut Stream) -> Option<R>) -> io::Result<R> {
        let found = self
            .wait_for(|stream| match look(stream) {
                Some(found) => Some(Ok(found)),
                None => stream.closed().map(|reason| Err(error(reason))),
            })
            .await;
        found.unwrap_or_else(|| Err(error(None)))
    }

    async fn wait_for<R>(&self, mut look: impl FnMut(&mut Stream) -> Option<R>) -> Option<R> {
        loop {
            let mut notified = pin!(self.other.notified());
            // From here on, nothing is missed.
            notified.as_mut().enable();
            if let Some(found) = self.update(&mut look)? {
                return Some(found);
            }
            notified.await;
        }
    }
}

/// What a closed stream is to somebody who reads or writes.
fn error(reason: Option<StreamError>) -> io::Error {
    let kind = match reason {
        None => io::ErrorKind::BrokenPipe,
        Some(StreamError::Reset | StreamError::RelayClosed) => io::ErrorKind::ConnectionReset,
        Some(StreamError::TimedOut) => io::ErrorKind::TimedOut,
        Some(StreamError::Destroyed) => io::ErrorKind::ConnectionAborted,
    };
    match reason {
        Some(reason) => io::Error::new(kind, reason),
        None => kind.into(),
    }
}

impl AsyncRead for UdxStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A peer that sends without end does not keep the other tasks of the thread waiting.
        let turn = ready!(coop::poll_proceed(cx));
        let id = self.id;
        let read = self.shared.with(|state| {
            let read = state.mux.update(id, |stream| {
                let count = stream.readable().min(buffer.remaining()).min(COPY);
                if count > 0 || buffer.remaining() == 0 {
                    let read = stream.read(buffer.initialize_unfilled_to(count));
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                match stream.closed() {
                    // The end of the other side is one, however the stream ended after it.
                    _ if stream.remote_ended() => Poll::Ready(Ok(())),
                    Some(Some(reason)) => Poll::Ready(Err(error(Some(reason)))),
                    Some(None) => Poll::Ready(Ok(())),
                    None => Poll::Pending,
                }
            });
            if let Some(Poll::Pending) = read
                && let Some(waiters) = state.waiters.get_mut(&id)
            {
                waiters.read = Some(cx.waker().clone());
            }
            read.unwrap_or_else(|| Poll::Ready(Err(error(None))))
        });
        if read.is_ready() {
            turn.made_progress();
        }
        read
    }
}

impl AsyncWrite for UdxStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let turn = ready!(coop::poll_proceed(cx));
        let id = self.id;
        let written = self.shared.with(|state| {
            let written = state.mux.update(id, |stream| match stream.closed() {
                Some(reason) => Poll::Ready(Err(error(reason))),
                None if stream.path().is_none() => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                None if !stream.can_write() => Poll::Ready(Err(error(None))),
                None => match stream.write(bytes) {
                    0 if !bytes.is_empty() => Poll::Pending,
                    count => Poll::Ready(Ok(count)),
                },
            });
            if let Some(Poll::Pending) = written
                && let Some(waiters) = state.waiters.get_mut(&id)
            {
                waiters.write = Some(cx.waker().clone());
            }
            written.unwrap_or_else(|| Poll::Ready(Err(error(None))))
        });
        if written.is_ready() {
            turn.made_progress();
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is on its way; `acknowledged` waits for it to arrive.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_down = true;
        let result = self.update(|stream| match stream.closed() {
            Some(Some(reason)) => Err(error(Some(reason))),
            _ => {
                stream.end();
                Ok(())
            }
        });
        Poll::Ready(result.unwrap_or_else(|| Err(error(None))))
    }
}

impl Drop for UdxStream {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.waiters.remove(&self.id);
            if self.shut_down {
                state.mux.update(self.id, |stream| stream.detach(now()));
            } else {
                state.mux.destroy(self.id);
            }
            state.mux.release(self.id);
        });
    }
}

impl fmt::Debug for UdxStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdxStream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("id", &self.id).finish_non_exhaustive()
    }
}
