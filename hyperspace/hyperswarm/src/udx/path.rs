//! Where packets go.

use std::net::SocketAddr;

/// One of the sockets that streams share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// The way to a stream of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The socket of ours.
    pub socket: SocketId,
    /// The address of the other side.
    pub remote: SocketAddr,
    /// The number that the other side gave its stream.
    pub id: u32,
}

impl Path {
    /// What an IP packet has, before UDX begins.
    pub(super) fn overhead(&self) -> u16 {
        if self.remote.ip().to_canonical().is_ipv4() { 20 + 8 } else { 40 + 8 }
    }
}

/// Datagrams to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From which socket.
    pub socket: SocketId,
    /// To whom.
    pub remote: SocketAddr,
    /// The length of each; the last may be shorter.
    pub segment: usize,
}
