//! The system's socket: many datagrams at once, where the system can do that.

use parking_lot::Mutex;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// How far datagrams go, unless somebody says otherwise.
const TTL: u32 = 64;
/// The kernel is asked for buffers of this size, and for smaller ones, if it refuses.
const RECEIVE_BUFFERS: [usize; 4] = [4 << 20, 1 << 20, 512 << 10, 256 << 10];
const SEND_BUFFERS: [usize; 3] = [1 << 20, 512 << 10, 208 << 10];
/// What one read can hold: a datagram, or many that the kernel has put together.
const SLOT: usize = 2048;
const SLOT_TOGETHER: usize = 64 << 10;
/// So many reads are made at once.
const SLOTS: usize = 8;

/// A socket.
#[derive(Debug)]
pub(super) struct Io {
    socket: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
    /// Held while something is sent: how far it goes is up to the whole socket.
    sending: Mutex<()>,
    /// Counts datagrams.
    sent: Arc<AtomicU64>,
}

/// Room for what is read at once.
#[derive(Debug)]
pub(super) struct Slots {
    bytes: Vec<u8>,
    meta: [RecvMeta; SLOTS],
}

impl Io {
    pub(super) fn bind(address: SocketAddr, sent: Arc<AtomicU64>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Who gets less has it slower.
        let _ = RECEIVE_BUFFERS.iter().find(|size| socket.set_recv_buffer_size(**size).is_ok());
        let _ = SEND_BUFFERS.iter().find(|size| socket.set_send_buffer_size(**size).is_ok());
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let socket = UdpSocket::from_std(socket.into())?;
        let address = socket.local_addr()?;
        let io = Self { socket, state, address, sending: Mutex::new(()), sent };
        io.set_ttl(TTL)?;
        Ok(io)
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        if self.address.is_ipv4() {
            return self.socket.set_ttl(ttl);
        }
        let socket = socket2::SockRef::from(&self.socket);
        socket.set_unicast_hops_v6(ttl)?;
        // Where it takes IPv4 as well, that has its own.
        let _ = self.socket.set_ttl(ttl);
        Ok(())
    }

    /// How many segments one datagram may be cut into.
    pub(super) fn segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }

    pub(super) fn slots(&self) -> Slots {
        let slot = if self.state.gro_segments() > 1 { SLOT_TOGETHER } else { SLOT };
        Slots { bytes: vec![0; slot * SLOTS], meta: [RecvMeta::default(); SLOTS] }
    }

    /// As the system has to be told it.
    fn outward(&self, remote: SocketAddr) -> SocketAddr {
        match remote.ip() {
            IpAddr::V4(ip) if self.address.is_ipv6() => (ip.to_ipv6_mapped(), remote.port()).into(),
            IpAddr::V6(_) if self.address.is_ipv4() => (remote.ip().to_canonical(), remote.port()).into(),
            _ => remote,
        }
    }

    pub(super) fn poll_receive(&self, cx: &mut Context<'_>, slots: &mut Slots) -> Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.socket.poll_recv_ready(cx))?;
            let slot = slots.bytes.len() / SLOTS;
            let mut buffers = slots.bytes.chunks_mut(slot).map(IoSliceMut::new);
            let mut buffers: [IoSliceMut<'_>; SLOTS] =
                std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let read = self.socket.try_io(Interest::READABLE, || {
                self.state.recv(UdpSockRef::from(&self.socket), &mut buffers, &mut slots.meta)
            });
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Sends datagrams of `segment` bytes each. `Pending`, if there is no room for them; an
    /// error is no more than a loss.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        to: SocketAddr,
        segment: usize,
        datagrams: &[u8],
    ) -> Poll<io::Result<()>> {
        loop {
            std::task::ready!(self.socket.poll_send_ready(cx))?;
            match self.try_send(to, segment, datagrams) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn try_send(&self, to: SocketAddr, segment: usize, datagrams: &[u8]) -> io::Result<()> {
        let _sending = self.sending.lock();
        self.sent.fetch_add(datagrams.len().div_ceil(segment.max(1)) as u64, Ordering::Relaxed);
        let destination = self.outward(to);
        let segment_size = (segment < datagrams.len()).then_some(segment);
        let transmit = |contents, segment_size| {
            let transmit =
                quinn_udp::Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
            self.socket
                .try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.socket), &transmit))
        };
        match transmit(datagrams, segment_size) {
            // The device cannot cut them: from now on, nothing is put together.
            Err(error) if segment_size.is_some() && error.kind() != io::ErrorKind::WouldBlock => {
                tracing::debug!(%error, "datagrams are sent one by one");
                datagrams.chunks(segment).try_for_each(|each| transmit(each, None))
            }
            sent => sent,
        }
    }

    pub(super) async fn send_to(&self, datagram: &[u8], to: SocketAddr, ttl: Option<u32>) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, || self.send_one(datagram, to, ttl)).await
    }

    /// The same, if there is room for it now. The system itself is asked: of a socket that was
    /// opened just now, tokio does not know yet that there is.
    pub(super) fn try_send_one(&self, datagram: &[u8], to: SocketAddr, ttl: Option<u32>) -> io::Result<()> {
        self.send_one(datagram, to, ttl)
    }

    fn send_one(&self, datagram: &[u8], to: SocketAddr, ttl: Option<u32>) -> io::Result<()> {
        let _sending = self.sending.lock();
        self.sent.fetch_add(1, Ordering::Relaxed);
        let transmit = quinn_udp::Transmit {
            destination: self.outward(to),
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: None,
        };
        let Some(ttl) = ttl else {
            return self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        };
        self.set_ttl(ttl)?;
        let sent = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        self.set_ttl(TTL)?;
        sent
    }
}

impl Slots {
    /// The datagrams of the first `count` reads, and where each came from.
    pub(super) fn datagrams(&self, count: usize) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let slot = self.bytes.len() / SLOTS;
        self.meta.iter().zip(self.bytes.chunks(slot)).take(count).flat_map(|(meta, bytes)| {
            let from = match meta.addr.ip().to_canonical() {
                IpAddr::V4(ip) => (ip, meta.addr.port()).into(),
                IpAddr::V6(_) => meta.addr,
            };
            let bytes = &bytes[..meta.len.min(bytes.len())];
            // An empty datagram is one, too.
            let empty = bytes.is_empty().then_some(bytes);
            bytes.chunks(meta.stride.max(1)).chain(empty).map(move |datagram| (datagram, from))
        })
    }
}
