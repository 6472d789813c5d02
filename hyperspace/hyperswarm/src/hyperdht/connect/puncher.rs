//! A connection to be that needs a socket of its own: how that socket is seen, what the
//! other side says of its own, and what is done to get through.

use super::super::node::{Dht, Event};
use super::super::noise_payload::Firewall;
use super::strategy::Strategy;
use super::timers::Timer;
use super::view::View;
use crate::dht::{Socket, Transmit};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

/// The most sockets that are open for this at a time, beside those of the one who may have
/// many.
pub const MAX_PUNCHERS: usize = 128;

/// How often a socket that is seen badly is given up for a new one.
const REOPENS: u32 = 3;

/// The most addresses of the other side that are sent to.
const MAX_ADDRESSES: usize = 8;

/// How far a datagram goes that is only to open our own firewall.
pub(super) const LOW_TTL: u8 = 5;

/// What the other side has said of itself.
#[derive(Debug, Default)]
pub(super) struct Remote {
    pub firewall: Firewall,
    /// Is it punching?
    pub punching: bool,
    /// Where it is seen, and whether it has proved to be at that host.
    pub addresses: Vec<(SocketAddrV4, bool)>,
}

impl Remote {
    /// It has said something new. A host that it has proved to be at stays so.
    pub(super) fn update(
        &mut self,
        punching: bool,
        firewall: Firewall,
        addresses: Option<&[SocketAddrV4]>,
        verified: Option<Ipv4Addr>,
    ) {
        let is_verified = |host: &Ipv4Addr| {
            verified == Some(*host) || self.addresses.iter().any(|(known, good)| *good && known.ip() == host)
        };
        let named = addresses.unwrap_or_default().iter().take(MAX_ADDRESSES);
        let addresses = named.map(|address| (*address, is_verified(address.ip()))).collect();
        *self = Self { firewall, punching, addresses };
    }

    /// The first address at a host that it has proved to be at.
    pub(super) fn verified(&self) -> Option<SocketAddrV4> {
        self.addresses.iter().find(|(_, verified)| *verified).map(|(address, _)| *address)
    }
}

/// Who waits for it to be known how the socket is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// May the socket be given up for another?
    pub may_reopen: bool,
    pub reopened: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Puncher {
    pub is_initiator: bool,
    pub view: View,
    pub remote: Remote,
    /// The numbers of its sockets. The first is the one that others are told of.
    pub sockets: Vec<u32>,
    pub strategy: Option<Strategy>,
    /// Nodes that were asked how they see the socket, and have not answered yet.
    pub asked: usize,
    /// Were they asked again?
    pub again: bool,
    pub analysed: bool,
    pub waiting: Option<Waiting>,
    pub reopens: u32,
}

impl Puncher {
    pub(super) fn main(&self) -> Socket {
        Socket::Other(self.sockets[0])
    }

    /// Is one of the two seen at another port by each?
    pub(super) fn is_random(&self) -> bool {
        self.view.firewall() == Firewall::Random || self.remote.firewall == Firewall::Random
    }

    /// As things are, there is no way.
    pub(super) fn is_unstable(&self) -> bool {
        let own = self.view.firewall();
        own == Firewall::Unknown || (own == Firewall::Random && self.remote.firewall == Firewall::Random)
    }
}

/// A byte that means nothing: it makes firewalls let in what comes back.
pub(super) fn byte(socket: Socket, to: SocketAddrV4, ttl: Option<u8>) -> Transmit {
    Transmit { socket, to, bytes: vec![0], ttl }
}

impl Dht {
    /// `false` if there are too many already.
    pub(super) fn open_puncher(
        &mut self,
        now: Instant,
        stream: u32,
        is_initiator: bool,
        remote: Firewall,
    ) -> bool {
        if self.connect.punchers.len() >= MAX_PUNCHERS {
            return false;
        }
        let socket = self.open_socket(stream);
        let puncher = Puncher {
            is_initiator,
            view: View::new(self.node.is_firewalled()),
            remote: Remote { firewall: remote, ..Remote::default() },
            sockets: vec![socket],
            strategy: None,
            asked: 0,
            again: false,
            analysed: false,
            waiting: None,
            reopens: REOPENS,
        };
        self.connect.punchers.insert(stream, puncher);
        self.sample(now, stream);
        true
    }

    pub(super) fn open_socket(&mut self, stream: u32) -> u32 {
        let socket = self.connect.next_socket;
        self.connect.next_socket = socket.wrapping_add(1);
        self.connect.sockets.insert(socket, stream);
        self.say(Event::OpenSocket { socket });
        socket
    }

    pub(super) fn close_socket(&mut self, socket: u32) {
        self.connect.sockets.remove(&socket);
        self.say(Event::CloseSocket { socket });
    }

    /// It is of no more use: its sockets are closed. A stream that is on one keeps it.
    pub(super) fn close_puncher(&mut self, now: Instant, stream: u32) {
        let Some(puncher) = self.connect.punchers.remove(&stream) else { return };
        self.connect.timers.clear(Timer::Puncher(stream));
        for socket in &puncher.sockets {
            self.close_socket(*socket);
        }
        if puncher.strategy.is_some_and(|strategy| strategy.is_random()) {
            self.connect.random_punching = false;
            self.connect.last_random = Some(now);
        }
        self.forget_asked(
            now,
            |asked| matches!(asked, super::Asked::Sample { stream: of, .. } if *of == stream),
        );
    }

    pub(super) fn puncher(&mut self, stream: u32) -> Option<&mut Puncher> {
        self.connect.punchers.get_mut(&stream)
    }

    /// A byte has come to one of its sockets: something of the other side has got through.
    pub(in super::super) fn byte_arrived(&mut self, now: Instant, socket: u32, from: SocketAddrV4) {
        let Some(stream) = self.connect.sockets.get(&socket).copied() else { return };
        let Some(puncher) = self.connect.punchers.get(&stream) else { return };
        let is_initiator = puncher.is_initiator;
        let socket = Socket::Other(socket);
        if is_initiator {
            self.dial_heard(now, stream, socket, from);
        } else {
            // The other side, if it is the other side, learns by which socket it can come.
            self.node.transmit(byte(socket, from, None));
        }
    }
}
