//! Secret streams: messages over a byte stream, encrypted between two peers that have
//! proved their keys to each other (npm `@hyperswarm/secret-stream` 6).
//!
//! [`SecretStream`] owns no socket, no clock and no task. Its driver
//! * appends what it read to [`read_buffer`](SecretStream::read_buffer), says so with
//!   [`received`](SecretStream::received), and takes what that means from
//!   [`poll`](SecretStream::poll);
//! * writes what is in [`outgoing`](SecretStream::outgoing), and takes that off;
//! * calls [`handle_timeout`](SecretStream::handle_timeout) at
//!   [`poll_timeout`](SecretStream::poll_timeout).
//!
//! [`Connection`](crate::Connection) is the driver for tokio. The format: each frame is
//! three bytes of length, little-endian, and as many bytes. First come the frames of the
//! handshake, unless the keys were agreed elsewhere; then, in each direction, a header;
//! then messages. An empty message keeps the stream alive, and means nothing.
//!
//! Bounds: a frame is at most 512 bytes until the other side has authenticated itself, and
//! [`Config::max_message`] after that; it is stored as it arrives, never allocated by its
//! announced length. Nothing else is stored but what the driver puts in.

mod cipher;
mod config;
mod datagram;
mod header;

pub use cipher::{Forged, HEADER_BYTES, OVERHEAD, Sequence};
pub use config::{Config, StreamError};
pub use datagram::{DATAGRAM_OVERHEAD, Datagrams};

use crate::noise::{Handshake, HandshakeError, Keys};
use bytes::{Buf, Bytes, BytesMut};
use std::fmt;
use std::time::{Duration, Instant};

/// Bytes of a frame's length.
const PREFIX: usize = 3;

/// The longest frame before the first message: those of XX have 96 bytes at most.
const MAX_EARLY_FRAME: usize = 512;

/// The longest message that a frame can carry.
pub const MAX_MESSAGE: usize = 0xff_ffff - OVERHEAD;

/// How a stream gets its keys.
#[derive(Debug)]
pub enum Opening {
    /// By a handshake on the stream itself.
    Handshake(Box<Handshake>),
    /// They were agreed on elsewhere (the DHT does so).
    Keys(Keys),
}

impl From<Handshake> for Opening {
    fn from(handshake: Handshake) -> Self {
        Self::Handshake(Box::new(handshake))
    }
}

impl From<Keys> for Opening {
    fn from(keys: Keys) -> Self {
        Self::Keys(keys)
    }
}

/// What a stream has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The keys are agreed on: [`SecretStream::keys`] tells with whom, and messages can be
    /// sent.
    Connected,
    /// A message; never an empty one. It may be a view of a larger buffer: copy it, if you
    /// keep it for long.
    Message(Bytes),
    /// The other side has ended the stream, and everything before that was read.
    End,
}

enum Phase {
    Handshake(Box<Handshake>),
    /// We have the keys, and wait for the other side's header.
    Header,
    Open(Sequence),
    /// The end was told, or an error.
    Over,
}

/// One side of a secret stream.
pub struct SecretStream {
    config: Config,
    phase: Phase,
    keys: Option<Keys>,
    sealing: Option<Sequence>,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// [`Event::Connected`] is still to be told.
    connected: bool,
    remote_ended: bool,
    times: Times,
}

struct Times {
    started: Instant,
    sent: Instant,
    received: Instant,
    /// When we sent a message of the handshake that the other side has to answer.
    asked: Option<Instant>,
    /// From then to the answer.
    round_trip: Option<Duration>,
}

impl SecretStream {
    /// Begins a stream. What has to be sent first is in [`outgoing`](Self::outgoing) already.
    pub fn new(opening: impl Into<Opening>, config: Config, now: Instant) -> Result<Self, StreamError> {
        let times = Times { started: now, sent: now, received: now, asked: None, round_trip: None };
        let mut stream = Self {
            config,
            phase: Phase::Header,
            keys: None,
            sealing: None,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            connected: false,
            remote_ended: false,
            times,
        };
        match opening.into() {
            Opening::Handshake(handshake) => stream.shake(handshake)?,
            Opening::Keys(keys) => stream.connect(keys)?,
        }
        Ok(stream)
    }

    /// Where the driver puts what it read, at the end.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        &mut self.incoming
    }

    /// The driver has put something there.
    pub fn received(&mut self, now: Instant) {
        self.times.received = now;
    }

    /// The byte stream has ended: nothing more will be put there.
    pub fn received_end(&mut self) {
        self.remote_ended = true;
    }

    /// The bytes to write. The driver takes off (`advance`) what it has written.
    pub fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// What came of the handshake; `None` until [`Event::Connected`].
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// How long the other side took to answer in the handshake, if we have asked it.
    pub fn round_trip(&self) -> Option<Duration> {
        self.times.round_trip
    }

    /// Has the other side shown that it has the keys, too?
    pub fn has_heard(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Can messages be sent now?
    pub fn can_send(&self) -> bool {
        self.sealing.is_some()
    }

    /// The next thing that the received bytes mean; `None` when more are needed. After an
    /// error or the end, nothing comes any more.
    pub fn poll(&mut self) -> Result<Option<Event>, StreamError> {
        let polled = self.next();
        if polled.is_err() {
            self.phase = Phase::Over;
            self.sealing = None;
        }
        polled
    }

    fn next(&mut self) -> Result<Option<Event>, StreamError> {
        loop {
            if std::mem::take(&mut self.connected) {
                return Ok(Some(Event::Connected));
            }
            if matches!(self.phase, Phase::Over) {
                return Ok(None);
            }
            let Some(frame) = self.frame()? else {
                return if self.remote_ended { self.finish() } else { Ok(None) };
            };
            if let Some(message) = self.understand(frame)? {
                return Ok(Some(Event::Message(message)));
            }
        }
    }

    /// Takes a whole frame off what was received.
    fn frame(&mut self) -> Result<Option<BytesMut>, StreamError> {
        let Some(&[a, b, c]) = self.incoming.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        let most = match self.phase {
            Phase::Open(_) => self.config.max_message.saturating_add(OVERHEAD),
            _ => MAX_EARLY_FRAME,
        };
        if length > most {
            return Err(StreamError::TooLong(length));
        }
        if self.incoming.len() - PREFIX < length {
            return Ok(None);
        }
        self.incoming.advance(PREFIX);
        Ok(Some(self.incoming.split_to(length)))
    }

    fn understand(&mut self, mut frame: BytesMut) -> Result<Option<Bytes>, StreamError> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Handshake(mut handshake) => {
                if handshake.is_our_turn() {
                    return Err(HandshakeError::NotOurTurn.into());
                }
                handshake.read(&frame)?;
                if let Some(asked) = self.times.asked {
                    self.times.round_trip = Some(self.times.received.saturating_duration_since(asked));
                }
                self.shake(handshake)?;
            }
            Phase::Header => {
                let keys = self.keys.as_ref().ok_or(StreamError::InvalidHeader)?;
                let sequence = header::read(keys, &frame).ok_or(StreamError::InvalidHeader)?;
                self.phase = Phase::Open(sequence);
            }
            Phase::Open(mut sequence) => {
                sequence.open(&mut frame).map_err(|Forged| StreamError::InvalidMessage)?;
                self.phase = Phase::Open(sequence);
                frame.truncate(frame.len() - (OVERHEAD - 1));
                frame.advance(1);
                return Ok(Some(frame.freeze()).filter(|message| !message.is_empty()));
            }
            Phase::Over => {}
        }
        Ok(None)
    }

    fn finish(&mut self) -> Result<Option<Event>, StreamError> {
        if !self.incoming.is_empty() || !matches!(self.phase, Phase::Open(_)) {
            return Err(StreamError::EndedEarly);
        }
        self.phase = Phase::Over;
        Ok(Some(Event::End))
    }

    /// Goes on with the handshake as far as we can by ourselves.
    fn shake(&mut self, mut handshake: Box<Handshake>) -> Result<(), StreamError> {
        if handshake.is_our_turn() {
            let message = handshake.write(&[])?;
            self.put_frame(&[&message]);
            self.times.asked = Some(self.times.received);
        }
        if handshake.is_finished() {
            return self.connect(handshake.finish()?);
        }
        self.phase = Phase::Handshake(handshake);
        Ok(())
    }

    fn connect(&mut self, keys: Keys) -> Result<(), StreamError> {
        let mut start = [0; HEADER_BYTES];
        getrandom::fill(&mut start).map_err(|_| StreamError::NoRandom)?;
        let (header, sequence) = header::write(&keys, &start);
        self.put_frame(&[&header]);
        self.sealing = Some(sequence);
        self.keys = Some(keys);
        self.connected = true;
        self.phase = Phase::Header;
        Ok(())
    }

    fn put_frame(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.outgoing.extend_from_slice(&(length as u32).to_le_bytes()[..PREFIX]);
        parts.iter().for_each(|part| self.outgoing.extend_from_slice(part));
    }

    /// Sends a message.
    pub fn send(&mut self, now: Instant, message: &[u8]) -> Result<(), StreamError> {
        self.send_with(now, |outgoing| {
            outgoing.extend_from_slice(message);
            true
        })
        .map(drop)
    }

    /// Sends the message that `write` appends to the buffer, encrypted where it lies; none,
    /// if it returns false, or appends nothing. Returns whether there was one.
    pub fn send_with(
        &mut self,
        now: Instant,
        write: impl FnOnce(&mut BytesMut) -> bool,
    ) -> Result<bool, StreamError> {
        let sealing = self.sealing.as_mut().ok_or(StreamError::NotOpen)?;
        let start = self.outgoing.len();
        self.outgoing.extend_from_slice(&[0; PREFIX + 1]);
        let written = write(&mut self.outgoing);
        let length = self.outgoing.len().saturating_sub(start + PREFIX + 1);
        if !written || length == 0 {
            self.outgoing.truncate(start);
            return Ok(false);
        }
        if length > MAX_MESSAGE {
            self.outgoing.truncate(start);
            return Err(StreamError::CannotSend(length));
        }
        seal(sealing, &mut self.outgoing, start, length);
        self.times.sent = now;
        Ok(true)
    }

    /// Nothing more will be sent: the driver ends its byte stream after what is in
    /// [`outgoing`](Self::outgoing). Messages can still be received.
    pub fn end(&mut self) {
        self.sealing = None;
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.keep_alive_at(), self.handshake_until(), self.alive_until()].into_iter().flatten().min()
    }

    fn keep_alive_at(&self) -> Option<Instant> {
        self.sealing.as_ref().and(self.config.keep_alive).map(|time| self.times.sent + time)
    }

    fn handshake_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Handshake(_) | Phase::Header => {
                self.config.handshake_timeout.map(|time| self.times.started + time)
            }
            _ => None,
        }
    }

    fn alive_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Over => None,
            _ => self.config.timeout.map(|time| self.times.received + time),
        }
    }

    /// Does what is due: sends a keep-alive, or gives the stream up.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), StreamError> {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let error = if due(self.handshake_until()) {
            StreamError::HandshakeTimedOut
        } else if due(self.alive_until()) {
            StreamError::TimedOut
        } else {
            if due(self.keep_alive_at()) {
                self.keep_alive(now);
            }
            return Ok(());
        };
        self.phase = Phase::Over;
        self.sealing = None;
        Err(error)
    }

    /// Sends an empty message, which means nothing, unless something is to be sent anyway.
    pub fn keep_alive(&mut self, now: Instant) {
        self.times.sent = now;
        // What still waits to be written says as much.
        if let Some(sealing) = &mut self.sealing
            && self.outgoing.is_empty()
        {
            let start = self.outgoing.len();
            self.outgoing.extend_from_slice(&[0; PREFIX + 1]);
            seal(sealing, &mut self.outgoing, start, 0);
        }
    }
}

/// Makes a frame of the message of `length` bytes that lies behind room for the prefix and
/// the tag.
fn seal(sealing: &mut Sequence, outgoing: &mut BytesMut, start: usize, length: usize) {
    outgoing.extend_from_slice(&[0; OVERHEAD - 1]);
    let prefix = ((length + OVERHEAD) as u32).to_le_bytes();
    outgoing[start..start + PREFIX].copy_from_slice(&prefix[..PREFIX]);
    sealing.seal(&mut outgoing[start + PREFIX..]);
}

impl fmt::Debug for SecretStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretStream").field("keys", &self.keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
