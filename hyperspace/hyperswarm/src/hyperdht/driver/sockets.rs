//! The sockets of a node. All are of one instance of UDX, so that streams and messages of
//! the DHT share them.

use super::super::endpoint::Options;
use crate::dht::{Socket, Transmit};
use crate::udx::{Datagrams, SocketId, Udx, UdxSocket};
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Ports that are tried before any is taken.
const PORTS: u16 = 5;

/// So many datagrams of the sockets that come and go wait to be looked at; what exceeds this
/// is lost.
const ARRIVALS: usize = 1024;

/// A datagram that is for no stream.
pub(super) type Arrival = (Socket, SocketAddr, Bytes);

/// One that comes and goes.
struct Other {
    socket: UdxSocket,
    task: JoinHandle<()>,
}

impl Drop for Other {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All of them.
pub(super) struct Sockets {
    udx: Udx,
    host: Ipv4Addr,
    server: UdxSocket,
    client: UdxSocket,
    others: HashMap<u32, Other>,
    by_id: HashMap<SocketId, Socket>,
    arrivals: mpsc::Sender<Arrival>,
}

/// What comes by them.
pub(super) struct Received {
    pub server: Datagrams,
    pub client: Datagrams,
    pub others: mpsc::Receiver<Arrival>,
}

fn bind_one(udx: &Udx, host: Ipv4Addr, port: u16) -> io::Result<(UdxSocket, Datagrams)> {
    if port != 0 {
        for port in port..=port.saturating_add(PORTS - 1) {
            if let Ok(bound) = udx.bind((host, port).into()) {
                return Ok(bound);
            }
        }
    }
    udx.bind((host, 0).into())
}

impl Sockets {
    pub(super) fn bind(options: &Options) -> io::Result<(Self, Received)> {
        let udx = Udx::new();
        let host = options.host;
        let (server, from_server) = bind_one(&udx, host, options.port)?;
        let (client, from_client) = bind_one(&udx, host, 0)?;
        let by_id = HashMap::from([(server.id(), Socket::Server), (client.id(), Socket::Client)]);
        let (arrivals, from_others) = mpsc::channel(ARRIVALS);
        let received = Received { server: from_server, client: from_client, others: from_others };
        Ok((Self { udx, host, server, client, others: HashMap::new(), by_id, arrivals }, received))
    }

    pub(super) fn udx(&self) -> &Udx {
        &self.udx
    }

    /// Where the server socket is, as this machine sees it.
    pub(super) fn address(&self) -> SocketAddrV4 {
        let host = if self.host.is_unspecified() { Ipv4Addr::LOCALHOST } else { self.host };
        SocketAddrV4::new(host, self.server.local_addr().port())
    }

    pub(super) fn open(&mut self, number: u32) {
        let (socket, mut datagrams) = match self.udx.bind((self.host, 0).into()) {
            Ok(bound) => bound,
            // Nothing comes by it: who waits for that gives up in time.
            Err(error) => return tracing::debug!(%error, "a socket cannot be opened"),
        };
        let arrivals = self.arrivals.clone();
        let task = tokio::spawn(async move {
            while let Some((datagram, from)) = datagrams.recv().await {
                // If there are too many, it is as if it had been lost on the way.
                let _ = arrivals.try_send((Socket::Other(number), from, datagram));
            }
        });
        self.by_id.insert(socket.id(), Socket::Other(number));
        self.others.insert(number, Other { socket, task });
    }

    pub(super) fn close(&mut self, number: u32) {
        if let Some(other) = self.others.remove(&number) {
            self.by_id.remove(&other.socket.id());
        }
    }

    pub(super) fn get(&self, socket: Socket) -> Option<&UdxSocket> {
        match socket {
            Socket::Server => Some(&self.server),
            Socket::Client => Some(&self.client),
            Socket::Other(number) => self.others.get(&number).map(|other| &other.socket),
        }
    }

    /// Which one UDX means.
    pub(super) fn named(&self, id: SocketId) -> Option<Socket> {
        self.by_id.get(&id).copied()
    }

    /// What a socket does not take at once is lost, as if it were lost on the way: whoever
    /// asks, asks again.
    pub(super) fn send(&self, transmit: &Transmit) {
        let Some(socket) = self.get(transmit.socket) else { return };
        let ttl = transmit.ttl.map(u32::from);
        if let Err(error) = socket.try_send_to(&transmit.bytes, transmit.to.into(), ttl) {
            tracing::trace!(%error, to = %transmit.to, "a datagram is lost");
        }
    }

    /// The addresses at which this machine is reached in its own networks.
    pub(super) fn local_hosts(&self) -> Vec<Ipv4Addr> {
        if !self.host.is_unspecified() {
            return vec![self.host];
        }
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            tracing::debug!(%error, "the addresses of this machine cannot be read");
            Vec::new()
        });
        let mut hosts: Vec<_> = interfaces
            .into_iter()
            .filter(|interface| !interface.is_loopback())
            .filter_map(|interface| match interface.ip() {
                IpAddr::V4(host) => Some(host),
                IpAddr::V6(_) => None,
            })
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        if hosts.is_empty() {
            hosts.push(Ipv4Addr::LOCALHOST);
        }
        hosts
    }
}
