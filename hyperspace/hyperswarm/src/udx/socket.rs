//! A socket on tokio, which streams share with whoever else speaks by it.

mod io;
mod task;

use super::path::SocketId;
use super::shared::Shared;
use bytes::Bytes;
use io::Io;
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use task::Task;
use tokio::sync::mpsc;

/// So many datagrams that are for no stream wait to be taken: what exceeds this is lost.
const DATAGRAMS: usize = 1024;

/// A UDP socket. It is open as long as there is a clone of it, or a stream on it.
#[derive(Clone, Debug)]
pub struct UdxSocket {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    id: SocketId,
    io: Arc<Io>,
    /// Dropped with the last clone, which the task notices.
    _held: mpsc::Sender<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The task has a look whether anybody needs the socket.
        let waker = self.shared.with(|state| state.tasks.remove(&self.id));
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What comes by a socket and is for no stream.
#[derive(Debug)]
pub struct Datagrams(mpsc::Receiver<(Bytes, SocketAddr)>);

impl Datagrams {
    /// The same, if there is one already.
    pub fn try_recv(&mut self) -> Option<(Bytes, SocketAddr)> {
        self.0.try_recv().ok()
    }

    /// The next datagram, and where it came from. `None` when the socket is closed.
    pub async fn recv(&mut self) -> Option<(Bytes, SocketAddr)> {
        self.0.recv().await
    }
}

pub(super) fn bind(
    shared: &Arc<Shared>,
    id: SocketId,
    address: SocketAddr,
) -> Result<(UdxSocket, Datagrams)> {
    let sent = shared.with(|state| Arc::clone(&state.sent));
    let io = Arc::new(Io::bind(address, sent)?);
    let (held, holding) = mpsc::channel(1);
    let (to, from) = mpsc::channel(DATAGRAMS);
    shared.with(|state| state.mux.add_socket(id));
    tokio::spawn(Task::new(Arc::clone(shared), id, Arc::clone(&io), to, holding).run());
    let inner = Inner { shared: Arc::clone(shared), id, io, _held: held };
    Ok((UdxSocket { inner: Arc::new(inner) }, Datagrams(from)))
}

impl UdxSocket {
    /// Which one of its instance it is.
    pub fn id(&self) -> SocketId {
        self.inner.id
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.io.local_addr()
    }

    /// Nothing is sent while its instance is [suspended](super::Udx::suspend).
    fn check_silence(&self) -> Result<()> {
        match self.inner.shared.with(|state| state.mux.is_silent()) {
            true => Err(ErrorKind::NetworkDown.into()),
            false => Ok(()),
        }
    }

    /// Sends a datagram that is for no stream.
    pub async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> Result<()> {
        self.check_silence()?;
        self.inner.io.send_to(datagram, to, None).await
    }

    /// The same without waiting: if there is no room for it, it is lost, as it might be on its
    /// way. With `ttl`, it goes no further than so many routers.
    pub fn try_send_to(&self, datagram: &[u8], to: SocketAddr, ttl: Option<u32>) -> Result<()> {
        self.check_silence()?;
        self.inner.io.try_send_one(datagram, to, ttl)
    }

    /// The same, but it goes no further than so many routers: this opens our own NAT without
    /// reaching the other side's.
    pub async fn send_to_with_ttl(&self, datagram: &[u8], to: SocketAddr, ttl: u32) -> Result<()> {
        self.check_silence()?;
        self.inner.io.send_to(datagram, to, Some(ttl)).await
    }
}
