//! Many streams on a few sockets: finds the stream that a datagram is meant for, and the
//! streams that have something to send.
//!
//! Like a [`Stream`], it knows neither sockets nor the time. A packet names its stream by
//! number alone: where it comes from matters only while the stream is not connected, or if
//! it comes by another socket than the stream's, and then to its [`Firewall`].

mod relay;
mod shelf;
mod silence;

use super::config::Config;
use super::packet::{Header, Packet};
use super::path::{Path, SocketId, Transmit};
use super::stream::{Happened, Stream, StreamError};
use shelf::Shelf;
use silence::last_word;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// At most so many streams that nobody holds any more go on to answer their peers.
const MAX_LINGERING: usize = 4096;

/// What becomes of a packet that comes by a socket that is not the stream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Drop,
    /// It is taken; the stream stays where it is.
    Take,
    /// It is taken, and the stream is connected to where it came from, if it is not yet;
    /// the other side calls it by this number.
    Connect(u32),
}

/// Judges packets that come by a socket that is not the stream's.
pub type Firewall = Box<dyn FnMut(SocketId, SocketAddr) -> Verdict + Send>;

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was for a stream.
    Stream,
    /// It was for none of ours: perhaps it is something else altogether.
    NotOurs,
}

/// A stream of that number is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a stream of number {0} already")]
pub struct NumberTaken(pub u32);

struct Entry {
    stream: Stream,
    firewall: Option<Firewall>,
    /// Packets for this stream are passed on to that one's peer.
    relay: Option<u32>,
    passed: u64,
    /// Nobody holds it any more.
    released: bool,
    /// The socket it is at.
    socket: Option<SocketId>,
    /// Where it waits to send, and for a time.
    queued: Option<SocketId>,
    deadline: Option<(SocketId, Instant)>,
    /// It is known to be over.
    over: bool,
    happened: Happened,
}

/// The streams that share sockets.
#[derive(Default)]
pub struct Mux {
    streams: HashMap<u32, Entry>,
    shelves: HashMap<SocketId, Shelf>,
    /// Streams with which something has happened.
    happened: VecDeque<u32>,
    /// Sockets with something to do.
    woken: Vec<SocketId>,
    lingering: VecDeque<u32>,
    /// Of each stream that others are passed on to, those.
    relays: HashMap<u32, Vec<u32>>,
    /// See [`silence`](Self::silence).
    silent: bool,
}

impl Mux {
    /// No streams yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a socket.
    pub fn add_socket(&mut self, socket: SocketId) {
        self.shelves.entry(socket).or_default();
    }

    /// Takes a socket away. Its streams fail as if nobody answered.
    pub fn remove_socket(&mut self, socket: SocketId) {
        self.shelves.remove(&socket);
        let theirs = |entry: &Entry| entry.stream.path().is_some_and(|path| path.socket == socket);
        let orphans: Vec<u32> =
            self.streams.iter().filter(|(_, entry)| theirs(entry)).map(|(id, _)| *id).collect();
        for id in orphans {
            if let Some(entry) = self.streams.get_mut(&id) {
                entry.stream.abandon(StreamError::TimedOut);
            }
            self.touch(id);
        }
    }

    /// Adds a stream, which its peer will call by the number `id`.
    pub fn open(&mut self, now: Instant, id: u32, config: Arc<Config>) -> Result<(), NumberTaken> {
        match self.streams.get(&id) {
            // Its peer will have heard by now.
            Some(entry) if entry.released && entry.over => self.remove(id),
            Some(_) => return Err(NumberTaken(id)),
            None => {}
        }
        let entry = Entry {
            stream: Stream::new(config, now),
            firewall: None,
            relay: None,
            passed: 0,
            released: false,
            socket: None,
            queued: None,
            deadline: None,
            over: false,
            happened: Happened::default(),
        };
        self.streams.insert(id, entry);
        Ok(())
    }

    /// Whether there is a stream of that number.
    pub fn has(&self, id: u32) -> bool {
        self.streams.contains_key(&id)
    }

    /// Lets a firewall judge packets of that stream. Without one, they are dropped.
    pub fn set_firewall(&mut self, id: u32, firewall: Firewall) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.firewall = Some(firewall);
        }
    }

    /// Does something to a stream, and sees to what comes of it. `None`, if there is none of
    /// that number.
    pub fn update<R>(&mut self, id: u32, change: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let result = change(&mut self.streams.get_mut(&id)?.stream);
        self.touch(id);
        Some(result)
    }

    /// A stream, to look at.
    pub fn get(&self, id: u32) -> Option<&Stream> {
        self.streams.get(&id).map(|entry| &entry.stream)
    }

    /// Nobody holds that stream any more: it goes when it is over.
    pub fn release(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id) {
            entry.released = true;
            entry.firewall = None;
            if entry.over {
                self.lingering.push_back(id);
            }
        }
        if self.lingering.len() > MAX_LINGERING
            && let Some(oldest) = self.lingering.pop_front()
            && self.streams.get(&oldest).is_some_and(|entry| entry.released && entry.over)
        {
            self.remove(oldest);
        }
        self.touch(id);
    }

    /// Takes a datagram that came by a socket.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Taken {
        let Some((header, body)) = Header::decode(datagram) else { return Taken::NotOurs };
        let id = header.stream_id;
        let Some(entry) = self.streams.get_mut(&id) else { return Taken::NotOurs };
        if self.silent {
            return Taken::Stream;
        }
        if matches!(entry.stream.closed(), Some(Some(_))) {
            return Taken::NotOurs;
        }
        let path = entry.stream.path();
        if path.is_none_or(|path| path.socket != socket) {
            let verdict = entry.firewall.as_mut().map_or(Verdict::Drop, |judge| judge(socket, from));
            match verdict {
                Verdict::Drop => return Taken::Stream,
                Verdict::Take => {}
                Verdict::Connect(remote_id) if path.is_none() => {
                    entry.stream.connect(now, Path { socket, remote: from, id: remote_id });
                }
                Verdict::Connect(_) => {}
            }
        }
        if let Some(to) = entry.relay {
            self.pass_on(id, to, header, datagram);
        } else if let Some(packet) = Packet::new(header, body) {
            entry.stream.handle_packet(now, &packet);
        }
        self.touch(id);
        Taken::Stream
    }

    /// Does what is due at a socket.
    pub fn handle_timeout(&mut self, now: Instant, socket: SocketId) {
        while let Some(id) = self.shelves.get_mut(&socket).and_then(|shelf| shelf.take_due(now)) {
            if let Some(entry) = self.streams.get_mut(&id) {
                entry.deadline = None;
                entry.stream.handle_timeout(now);
                self.touch(id);
            }
        }
    }

    /// When something is due at a socket.
    pub fn poll_timeout(&self, socket: SocketId) -> Option<Instant> {
        self.shelves.get(&socket)?.next_deadline()
    }

    /// Writes datagrams that are to be sent by that socket, as
    /// [`Stream::poll_transmit`] does. Each stream has its turn.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        socket: SocketId,
        segments: usize,
        into: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let transmit = self.next_transmit(now, socket, segments, into);
        if let Some(shelf) = self.shelves.get_mut(&socket) {
            // What is taken is sent before more is asked for.
            shelf.sending = transmit.is_some();
        }
        transmit
    }

    fn next_transmit(
        &mut self,
        now: Instant,
        socket: SocketId,
        segments: usize,
        into: &mut Vec<u8>,
    ) -> Option<Transmit> {
        loop {
            let shelf = self.shelves.get_mut(&socket)?;
            if let Some((remote, datagram)) = shelf.take_passing() {
                into.extend_from_slice(&datagram);
                return Some(Transmit { socket, remote, segment: datagram.len() });
            }
            let id = shelf.queue.pop_front()?;
            let Some(entry) = self.streams.get_mut(&id) else { continue };
            entry.queued = None;
            if self.silent && !last_word(&entry.stream) {
                continue;
            }
            let start = into.len();
            let transmit = entry.stream.poll_transmit(now, segments, into);
            let more = transmit.is_some();
            self.settle(id, more);
            match transmit {
                None => {}
                Some(transmit) if transmit.socket == socket => return Some(transmit),
                // What was under way when the stream moved here from another socket.
                Some(transmit) => {
                    for datagram in into[start..].chunks(transmit.segment) {
                        self.pass(transmit.socket, transmit.remote, datagram.to_vec());
                    }
                    into.truncate(start);
                }
            }
        }
    }

    /// With which stream something has happened, and what.
    pub fn poll(&mut self) -> Option<(u32, Happened)> {
        loop {
            let id = self.happened.pop_front()?;
            if let Some(entry) = self.streams.get_mut(&id) {
                return Some((id, std::mem::take(&mut entry.happened)));
            }
        }
    }

    /// A socket at which there is something to send, or something due earlier than before.
    pub fn poll_woken(&mut self) -> Option<SocketId> {
        self.woken.pop()
    }

    /// How many streams are at a socket.
    pub fn streams_at(&self, socket: SocketId) -> usize {
        self.shelves.get(&socket).map_or(0, |shelf| shelf.streams)
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Something was done to a stream: it may have something to send.
    fn touch(&mut self, id: u32) {
        self.settle(id, true);
    }

    /// Sees to what has become of a stream.
    fn settle(&mut self, id: u32, may_send: bool) {
        let Some(entry) = self.streams.get_mut(&id) else { return };
        let socket = entry.stream.path().map(|path| path.socket);
        if socket != entry.socket {
            let left = std::mem::replace(&mut entry.socket, socket);
            if let Some(shelf) = left.and_then(|left| self.shelves.get_mut(&left)) {
                shelf.streams -= 1;
                self.woken.extend(left);
            }
            if let Some(shelf) = socket.and_then(|socket| self.shelves.get_mut(&socket)) {
                shelf.streams += 1;
            }
        }
        if may_send
            && entry.queued.is_none()
            && let Some(shelf) = socket.and_then(|socket| self.shelves.get_mut(&socket))
        {
            entry.queued = socket;
            if shelf.queue.is_empty() {
                self.woken.extend(socket);
            }
            shelf.queue.push_back(id);
        }
        let deadline = socket.zip(entry.stream.poll_timeout());
        if deadline != entry.deadline {
            if let Some((socket, at)) = std::mem::replace(&mut entry.deadline, deadline)
                && let Some(shelf) = self.shelves.get_mut(&socket)
            {
                shelf.remove_deadline(at, id);
            }
            if let Some((socket, at)) = deadline
                && let Some(shelf) = self.shelves.get_mut(&socket)
                && shelf.add_deadline(at, id)
            {
                self.woken.push(socket);
            }
        }
        let happened = entry.stream.take_happened();
        if happened != Happened::default() {
            if entry.happened == Happened::default() {
                self.happened.push_back(id);
            }
            entry.happened.add(happened);
        }
        let over = entry.stream.closed().is_some();
        let finished = entry.released && entry.stream.is_finished();
        if over && !std::mem::replace(&mut entry.over, true) {
            if entry.released {
                self.lingering.push_back(id);
            }
            self.close_relays_to(id);
        }
        if finished {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u32) {
        let Some(entry) = self.streams.remove(&id) else { return };
        if let Some((socket, at)) = entry.deadline
            && let Some(shelf) = self.shelves.get_mut(&socket)
        {
            shelf.remove_deadline(at, id);
        }
        if let Some(shelf) = entry.socket.and_then(|socket| self.shelves.get_mut(&socket)) {
            shelf.streams -= 1;
            self.woken.extend(entry.socket);
        }
        if let Some(from) = entry.relay.and_then(|to| self.relays.get_mut(&to)) {
            from.retain(|from| *from != id);
        }
    }
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}
