//! Streams that are passed on: each packet for one goes to the peer of another, with
//! nothing changed but the number of the stream.
//!
//! Both ends see one stream; nothing is acknowledged or kept here. Relaying is one way: for
//! both ways, each of two streams is relayed to the other.

use super::Mux;
use crate::udx::packet::{Flags, Header};
use crate::udx::path::SocketId;
use crate::udx::stream::StreamError;
use std::net::SocketAddr;

impl Mux {
    /// Passes what comes for stream `from` on to the peer of stream `to`. Whether there are
    /// both.
    pub fn relay(&mut self, from: u32, to: u32) -> bool {
        if !self.streams.contains_key(&to) || from == to {
            return false;
        }
        let Some(entry) = self.streams.get_mut(&from) else { return false };
        if entry.relay.replace(to) != Some(to) {
            self.relays.entry(to).or_default().push(from);
        }
        true
    }

    /// Gives a stream up. One that is relayed goes without a word.
    pub fn destroy(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id) {
            match entry.relay {
                Some(_) => entry.stream.abandon(StreamError::Destroyed),
                None => entry.stream.destroy(),
            }
        }
        self.touch(id);
    }

    pub(super) fn pass_on(&mut self, from: u32, to: u32, header: Header, datagram: &[u8]) {
        if let Some(entry) = self.streams.get_mut(&from) {
            entry.passed += 1;
        }
        if let Some(path) = self.streams.get(&to).and_then(|entry| entry.stream.path()) {
            let mut passed = Vec::with_capacity(datagram.len());
            Header { stream_id: path.id, ..header }.encode(&mut passed);
            passed.extend_from_slice(&datagram[passed.len()..]);
            self.pass(path.socket, path.remote, passed);
        }
        if header.flags.has(Flags::DESTROY)
            && let Some(entry) = self.streams.get_mut(&from)
        {
            entry.stream.abandon(StreamError::Reset);
        }
    }

    /// How many packets for that stream were passed on.
    pub fn passed(&self, id: u32) -> u64 {
        self.streams.get(&id).map_or(0, |entry| entry.passed)
    }

    pub(super) fn pass(&mut self, socket: SocketId, remote: SocketAddr, datagram: Vec<u8>) {
        if !self.silent
            && let Some(shelf) = self.shelves.get_mut(&socket)
            && shelf.pass(remote, datagram)
        {
            self.woken.push(socket);
        }
    }

    /// A stream is over, and with it those that are passed on to it.
    pub(super) fn close_relays_to(&mut self, to: u32) {
        for id in self.relays.remove(&to).unwrap_or_default() {
            if let Some(entry) = self.streams.get_mut(&id).filter(|entry| entry.relay == Some(to)) {
                entry.stream.abandon(StreamError::RelayClosed);
            }
            self.touch(id);
        }
    }
}
