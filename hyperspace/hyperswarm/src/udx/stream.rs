//! One stream: bytes in order both ways, and messages beside them.
//!
//! It knows no socket and no clock: it is given packets and times, and gives packets,
//! times and [`Happened`]. Whoever owns it calls
//! * [`Stream::handle_packet`] with each packet that is meant for it;
//! * [`Stream::handle_timeout`] when [`Stream::poll_timeout`] says so;
//! * [`Stream::poll_transmit`], until there is nothing more to send, after each of these and
//!   after anything was written, read or ended.
//!
//! # Bounds
//! What a peer can make us keep: [`Config::receive_window`] and 64 KiB of bytes, in order or
//! not, with what they cost; [`Config::messages`] messages of a datagram each; 512
//! acknowledgements that wait to be sent. What we keep of our own: the bytes that
//! [`Stream::write`] took, and about a hundred bytes for each packet of them.

mod incoming;
mod lifecycle;
mod outgoing;
mod timeouts;

use super::ack_queue::AckQueue;
use super::config::Config;
use super::congestion::Controller;
use super::flight::{Flight, Sent};
use super::mtu::{self, Search};
use super::pacer::Pacer;
use super::packet::{HEADER, Header};
use super::path::Path;
use super::rack::Rack;
use super::rate::Sampler;
use super::receiver::Receiver;
use super::rtt::Rtt;
use super::send_buffer::SendBuffer;
use super::sequence;
use super::timers::Timers;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a stream is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The other side has given it up.
    #[error("the other side has given the stream up")]
    Reset,
    /// The other side does not answer.
    #[error("the other side does not answer any more")]
    TimedOut,
    /// We have given it up.
    #[error("the stream was given up")]
    Destroyed,
    /// It was passed on to a stream that is no more.
    #[error("the stream it was relayed to is no more")]
    RelayClosed,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It does not fit a packet.
    #[error("the message is longer than the {0} bytes that fit a packet")]
    TooLong(usize),
    /// Too many wait already.
    #[error("too many messages wait to be sent")]
    Full,
    /// There is nobody to send it to, yet or any more.
    #[error("the stream is not connected")]
    NotConnected,
}

/// What has happened since one last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// There are bytes to read, or there will be no more.
    pub readable: bool,
    /// There is room to write again.
    pub writable: bool,
    /// Everything written so far has arrived.
    pub acknowledged: bool,
    /// There is a message.
    pub message: bool,
    /// Everything that was sent on the old path has arrived.
    pub remote_changed: bool,
    /// It is connected.
    pub connected: bool,
    /// It is no more.
    pub closed: bool,
}

impl Happened {
    /// Both.
    pub(super) fn add(&mut self, other: Self) {
        self.readable |= other.readable;
        self.writable |= other.writable;
        self.acknowledged |= other.acknowledged;
        self.message |= other.message;
        self.remote_changed |= other.remote_changed;
        self.connected |= other.connected;
        self.closed |= other.closed;
    }
}

/// What is known of a stream's path.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// The smoothed round-trip time.
    pub round_trip: Option<Duration>,
    /// The largest IP packet that is known to arrive.
    pub mtu: u16,
    /// How many bytes may be under way.
    pub window: u64,
    /// How many bytes are.
    pub in_flight: u64,
    /// Bytes a second that we send at most.
    pub pacing_rate: u64,
    /// How many packets were sent again.
    pub retransmits: u64,
    /// How many packets were sent and received.
    pub packets: (u64, u64),
}

/// How the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Both sides have ended; a peer that does not know yet is told.
    Lingering,
    /// Nothing more comes or goes, but that we have given it up, if that is to be told.
    Closed(Option<StreamError>),
}

/// Whether losses are being repaired, and up to which packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    None,
    Recovery(u64),
    AfterTimeout(u64),
}

/// How far our own end has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    Queued,
    Sent,
    Arrived,
}

/// A probe of the tail that is under way.
#[derive(Clone, Copy, Debug)]
struct TailProbe {
    /// Over when this is acknowledged.
    until: u64,
}

/// The other side's window, and which packet told of it.
#[derive(Clone, Copy, Debug)]
struct PeerWindow {
    size: u32,
    seq: u64,
    ack: u64,
}

/// An old path, on which there still is something under way.
#[derive(Clone, Copy, Debug)]
struct Change {
    old: Path,
    until: u64,
}

/// A stream, without a socket and a clock.
#[derive(Debug)]
pub struct Stream {
    config: Arc<Config>,
    path: Option<Path>,
    change: Option<Change>,
    phase: Phase,
    end: End,
    repair: Repair,

    send: SendBuffer,
    flight: Flight,
    receiver: Receiver,
    peer: PeerWindow,

    rtt: Rtt,
    rack: Rack,
    sampler: Sampler,
    mtu: Search,
    pacer: Pacer,
    controller: Box<dyn Controller>,
    timers: Timers,

    acks: AckQueue,
    messages_in: VecDeque<Bytes>,
    messages_out: VecDeque<Bytes>,
    /// What else is to be sent.
    destroy_due: bool,
    heartbeat_due: bool,
    /// A probe of the tail is due, which no window stops.
    probe_due: bool,
    tail_probe: Option<TailProbe>,
    probed_at_sample: Option<u64>,
    /// When it was closed, had everything arrived?
    all_arrived: bool,
    /// Something arrived before we knew where to send acknowledgements.
    ack_owed: bool,
    write_waits: bool,

    happened: Happened,
    retransmits: u64,
    packets: (u64, u64),
    /// Kept only to spare allocations.
    news: Vec<(u64, Sent)>,
    lost: Vec<u64>,
}

impl Stream {
    /// A stream that is not connected yet.
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        let first = sequence::first(config.initial_seq);
        let next = sequence::first(config.initial_ack);
        let packet = u64::from(mtu::BASE) - HEADER as u64 - 48;
        Self {
            path: None,
            change: None,
            phase: Phase::Open,
            end: End::No,
            repair: Repair::None,
            send: SendBuffer::default(),
            flight: Flight::new(first),
            receiver: Receiver::new(next, config.receive_window),
            // As libudx assumes, until the other side says what it is.
            peer: PeerWindow { size: 4 << 20, seq: 0, ack: 0 },
            rtt: Rtt::new(),
            rack: Rack::default(),
            sampler: Sampler::new(now),
            mtu: Search::new(config.max_mtu),
            pacer: Pacer::new(),
            controller: (config.controller)(packet),
            timers: Timers::default(),
            acks: AckQueue::default(),
            messages_in: VecDeque::new(),
            messages_out: VecDeque::new(),
            destroy_due: false,
            heartbeat_due: false,
            probe_due: false,
            tail_probe: None,
            probed_at_sample: None,
            all_arrived: false,
            ack_owed: false,
            write_waits: false,
            happened: Happened::default(),
            retransmits: 0,
            packets: (0, 0),
            news: Vec::new(),
            lost: Vec::new(),
            config,
        }
    }

    /// Takes bytes to be sent: as many as there is room for. When it takes less than it was
    /// given, [`Happened::writable`] tells when to go on.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if !self.can_write() {
            return 0;
        }
        let count = bytes.len().min(self.room());
        self.send.write(&bytes[..count]);
        self.write_waits = count < bytes.len();
        count
    }

    /// Whether anything may be written: it is connected, and has not ended.
    pub fn can_write(&self) -> bool {
        self.phase == Phase::Open && self.end == End::No && self.path.is_some()
    }

    fn room(&self) -> usize {
        let window = self.controller.window().min(u64::from(self.peer_window()));
        // What has arrived out of order is kept until the rest has, but is not under way.
        let more = window.saturating_sub(self.flight.bytes());
        let room = |more, less| self.config.send_buffer.saturating_add(more).saturating_sub(less);
        room(usize::try_from(more).unwrap_or(usize::MAX), self.send.unsent())
            .min(room(self.config.max_in_flight as usize, self.send.len()))
    }

    fn peer_window(&self) -> u32 {
        self.peer.size.min(self.config.max_in_flight)
    }

    /// Takes bytes that have come, in order: 0, if there are none.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let (count, reopened) = self.receiver.read(into);
        if reopened {
            self.push_ack();
        }
        count
    }

    /// How many bytes can be read.
    pub fn readable(&self) -> usize {
        self.receiver.readable()
    }

    /// Whether no more bytes will come than [`Stream::readable`] has: the other side has
    /// ended.
    pub fn remote_ended(&self) -> bool {
        self.receiver.ended()
    }

    /// Ends our side, behind what was written. The other side may go on.
    pub fn end(&mut self) {
        if self.can_write() {
            self.end = End::Queued;
        }
    }

    /// What comes from now on is not kept: nobody reads it.
    pub fn discard(&mut self) {
        if self.receiver.discard() {
            self.push_ack();
        }
    }

    /// Sends a message beside the stream: once, in no order, and perhaps in vain.
    pub fn send_message(&mut self, message: Bytes) -> Result<(), MessageError> {
        if self.phase != Phase::Open || self.path.is_none() {
            return Err(MessageError::NotConnected);
        }
        if message.len() > self.capacity() {
            return Err(MessageError::TooLong(self.capacity()));
        }
        if self.messages_out.len() >= self.config.messages {
            return Err(MessageError::Full);
        }
        self.messages_out.push_back(message);
        Ok(())
    }

    /// Takes a message that has come.
    pub fn receive_message(&mut self) -> Option<Bytes> {
        self.messages_in.pop_front()
    }

    /// Whether everything that was written, and the end, if that was said, has arrived.
    pub fn is_acknowledged(&self) -> bool {
        match self.phase {
            // What was under way then is not known any more.
            Phase::Closed(_) => self.all_arrived,
            _ => self.flight.is_empty() && self.send.len() == 0 && self.end != End::Queued,
        }
    }

    /// Where it leads to.
    pub fn path(&self) -> Option<Path> {
        self.path
    }

    /// Whether it is no more; and why, unless both sides have ended it.
    pub fn closed(&self) -> Option<Option<StreamError>> {
        match self.phase {
            Phase::Open => None,
            Phase::Lingering => Some(None),
            Phase::Closed(reason) => Some(reason),
        }
    }

    /// Whether there is nothing more to send, and nothing that has to be answered.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Closed(_)) && !self.destroy_due && self.acks.first().is_none()
    }

    /// What has happened since this was asked last.
    pub fn take_happened(&mut self) -> Happened {
        std::mem::take(&mut self.happened)
    }

    /// When to call [`Stream::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What is known of the path.
    pub fn stats(&self) -> Stats {
        Stats {
            round_trip: self.rtt.smoothed(),
            mtu: self.mtu.current(),
            window: self.controller.window(),
            in_flight: self.flight.bytes(),
            pacing_rate: self.controller.pacing_rate(),
            retransmits: self.retransmits,
            packets: self.packets,
        }
    }

    /// How many bytes fit a packet.
    fn capacity(&self) -> usize {
        let overhead = self.path.map_or(48, |path| path.overhead());
        usize::from(self.mtu.current() - overhead) - HEADER
    }

    /// A header of now.
    fn header(&mut self) -> Header {
        Header {
            stream_id: self.path.map_or(0, |path| path.id),
            window: self.receiver.tell_window(),
            seq: sequence::shorten(self.flight.next()),
            ack: sequence::shorten(self.receiver.next()),
            ..Header::default()
        }
    }
}
