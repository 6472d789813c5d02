//! Protomux: many channels over one stream of messages (npm `protomux` 3).
//!
//! A channel is named by a protocol and an id, and is open once both sides have opened it.
//! [`Muxer`] knows no stream and no task: it is given the frames that arrive, says what
//! they mean, one [`Event`] at a time, and has frames to be sent.
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use hyperswarm::protomux::{Event, Limits, Muxer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut a, mut b) = (Muxer::new(Limits::default()), Muxer::new(Limits::default()));
//! b.pair("chat", None); // b wants to be asked about channels of this protocol.
//!
//! let ours = a.open("chat", b"room 1", Bytes::from("I am a"))?;
//! a.send(ours, 0, &[Bytes::from("hello")])?; // Need not wait for the other side.
//!
//! let mut frame = BytesMut::new();
//! assert!(a.transmit(&mut frame)); // Both in one frame.
//! b.receive(frame.split().freeze());
//!
//! let Some(Event::Requested { protocol, id, .. }) = b.poll()? else { panic!() };
//! let theirs = b.open(&protocol, &id, Bytes::new())?;
//! assert!(matches!(b.poll()?, Some(Event::Opened { channel, .. }) if channel == theirs));
//! assert!(matches!(b.poll()?, Some(Event::Message { payload, .. }) if payload == "hello"));
//!
//! b.transmit(&mut frame);
//! a.receive(frame.freeze());
//! assert!(matches!(a.poll()?, Some(Event::Opened { channel, .. }) if channel == ours));
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//! What a stranger can make us keep is stated by [`Limits`]. Frames are taken apart only as
//! events are asked for, so that they cost their own bytes until then, and whoever feeds the
//! muxer stops while [`incoming_bytes`](Muxer::incoming_bytes) are too many. While too much
//! waits for channels that the owner has neither opened nor refused, no further event comes:
//! the owner of a muxer answers each [`Event::Requested`].

mod incoming;
mod outgoing;
mod table;
mod types;

pub use table::ChannelId;
pub use types::{Event, Limits, MuxError, OpenError, SendError};

use bytes::{Bytes, BytesMut};
use compact_encoding::{DecodeError, Writer};
use incoming::{CLOSE, Incoming, Item, OPEN, REJECT};
use outgoing::Outgoing;
use std::collections::VecDeque;
use std::fmt;
use table::{Key, Local, Pending, Remote, Table};

/// What a channel that waits, or a message for it, counts for beside its bytes.
const OVERHEAD: usize = 512;

/// How many answers that the other side provokes may wait to be sent.
const MAX_REPLIES: usize = 16 << 10;

/// One side of a multiplexed stream.
pub struct Muxer {
    limits: Limits,
    table: Table,
    incoming: Incoming,
    outgoing: Outgoing,
    ready: VecDeque<Event>,
    half_open: usize,
    backlog: usize,
    corks: usize,
    replies: usize,
    failed: Option<MuxError>,
}

impl Muxer {
    /// Without any channel.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            table: Table::default(),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            ready: VecDeque::new(),
            half_open: 0,
            backlog: 0,
            corks: 0,
            replies: 0,
            failed: None,
        }
    }

    /// From now on, asks about channels of that protocol with that id, or with any id. All
    /// others that we have not opened are rejected.
    pub fn pair(&mut self, protocol: &str, id: Option<&[u8]>) {
        let key = Key::new(self.table.resolve(protocol), id.unwrap_or_default());
        self.table.paired.insert(key);
    }

    /// No longer asks about those.
    pub fn unpair(&mut self, protocol: &str, id: Option<&[u8]>) {
        let key = Key::new(self.table.resolve(protocol), id.unwrap_or_default());
        self.table.paired.remove(&key);
    }

    /// Takes `alias` as another name of that protocol, if the other side uses it.
    pub fn alias(&mut self, alias: &str, protocol: &str) {
        self.table.aliases.insert(alias.into(), protocol.into());
    }

    /// Opens a channel: our side of one that the other side has opened, or a new one. Once
    /// both have, [`Event::Opened`] comes; messages can be sent at once.
    pub fn open(&mut self, protocol: &str, id: &[u8], handshake: Bytes) -> Result<ChannelId, OpenError> {
        if protocol.len() + id.len() + handshake.len() > self.limits.open {
            return Err(OpenError::TooLong);
        }
        let full = self.table.used() >= self.limits.channels;
        let protocol = self.table.resolve(protocol).to_owned();
        let (key, uses) = self.table.uses(Key::new(&protocol, id));
        if uses.local.is_some() {
            return Err(OpenError::AlreadyOpen);
        }
        if full {
            self.table.change(&key, |_| ());
            return Err(OpenError::TooManyChannels);
        }
        let remote = uses.pending.pop_front();
        let channel = self.table.take(Local::Waiting(key.clone()));
        self.table.change(&key, |uses| uses.local = Some(channel.index));

        let mut body = Writer::with_capacity(32 + protocol.len() + id.len() + handshake.len());
        body.uint(channel.number()).string(&protocol).buffer(id).raw(&handshake);
        self.outgoing.push(0, OPEN, &[body.into_vec().into()]);
        if let Some(remote) = remote {
            self.join(channel, remote);
        }
        Ok(channel)
    }

    /// Makes one channel of ours and of theirs that was pending.
    fn join(&mut self, channel: ChannelId, index: u32) {
        let Some(remote) = self.table.remotes.get_mut(index as usize) else { return };
        let Remote::Pending(pending) = std::mem::replace(remote, Remote::Open { local: channel }) else {
            return;
        };
        self.forget(pending.cost);
        if let Some(state) = self.table.local_mut(channel.index) {
            *state = Local::Open { key: pending.key, remote: index };
        }
        self.ready.push_back(Event::Opened { channel, handshake: pending.handshake });
        let messages = pending.messages.into_iter();
        self.ready.extend(messages.map(|(kind, payload)| Event::Message { channel, kind, payload }));
    }

    fn forget(&mut self, cost: usize) {
        self.half_open -= 1;
        self.backlog -= cost;
    }

    /// Rejects what the other side has opened for that protocol and id, and we have not.
    pub fn refuse(&mut self, protocol: &str, id: &[u8]) {
        let key = Key::new(self.table.resolve(protocol), id);
        let pending = self.table.change(&key, |uses| std::mem::take(&mut uses.pending));
        for index in pending.into_iter().flatten() {
            self.drop_pending(index);
        }
    }

    /// Rejects one that nobody claimed; it is off its key's list already.
    fn drop_pending(&mut self, index: u32) {
        let Some(remote) = self.table.remotes.get_mut(index as usize) else { return };
        if let Remote::Pending(pending) = std::mem::replace(remote, Remote::Free) {
            self.forget(pending.cost);
            self.reply(REJECT, u64::from(index) + 1);
        }
    }

    /// An answer that the other side provoked.
    fn reply(&mut self, kind: u64, number: u64) {
        self.replies += 1;
        self.control(kind, number);
    }

    fn control(&mut self, kind: u64, number: u64) {
        let mut body = Writer::with_capacity(9);
        body.uint(number);
        self.outgoing.push(0, kind, &[body.into_vec().into()]);
    }

    /// Sends a message: its payload is the parts, one behind the other.
    pub fn send(&mut self, channel: ChannelId, kind: u32, parts: &[Bytes]) -> Result<(), SendError> {
        if self.table.local(channel).is_none() {
            return Err(SendError::Closed);
        }
        if self.outgoing.bytes() >= self.limits.outgoing {
            return Err(SendError::Full);
        }
        let length: usize = parts.iter().map(Bytes::len).sum();
        if length > crate::secret_stream::MAX_MESSAGE - 2 * 9 {
            return Err(SendError::TooLong(length));
        }
        self.outgoing.push(channel.number(), kind.into(), parts);
        Ok(())
    }

    /// Closes a channel. What the other side sends on it from now on is ignored.
    pub fn close(&mut self, channel: ChannelId) {
        match self.table.local(channel) {
            Some(Local::Open { .. }) => {
                self.end_open(channel.index);
            }
            Some(Local::Waiting(key)) => {
                let key = key.clone();
                self.table.retire(channel.index, Local::Leaving(key.clone()));
                self.table.change(&key, |uses| {
                    uses.local = None;
                    uses.leaving.push_back(channel.index);
                });
            }
            _ => return,
        }
        self.control(CLOSE, channel.number());
    }

    /// Frees both numbers of an open channel.
    fn end_open(&mut self, index: u32) {
        if let Local::Open { key, remote } = self.table.retire(index, Local::Free) {
            self.table.change(&key, |uses| uses.local = None);
            if let Some(remote) = self.table.remotes.get_mut(remote as usize) {
                *remote = Remote::Free;
            }
        }
    }

    /// Is the channel neither closed nor rejected?
    pub fn is_open(&self, channel: ChannelId) -> bool {
        self.table.local(channel).is_some()
    }

    /// How many channels we have opened.
    pub fn channels(&self) -> usize {
        self.table.used()
    }

    /// Holds back what is sent from now on, so that it goes in as few frames as it can.
    /// (What is sent while the transport is busy does so anyway.) Corks add up.
    pub fn cork(&mut self) {
        self.corks += 1;
    }

    /// Undoes one [`cork`](Self::cork).
    pub fn uncork(&mut self) {
        self.corks = self.corks.saturating_sub(1);
    }

    /// Undoes all of them.
    pub(crate) fn pull_corks(&mut self) {
        self.corks = 0;
    }

    /// Is there a frame to be sent?
    pub fn has_outgoing(&self) -> bool {
        self.corks == 0 && !self.outgoing.is_empty()
    }

    /// How many bytes wait to be sent, corked ones, too.
    pub fn outgoing_bytes(&self) -> usize {
        self.outgoing.bytes()
    }

    /// Appends the next frame to `frame`; false if there is none. It is at most 64 KiB
    /// long, unless a single message is longer.
    pub fn transmit(&mut self, frame: &mut BytesMut) -> bool {
        if self.corks > 0 || !self.outgoing.pop(frame) {
            return false;
        }
        if self.outgoing.is_empty() {
            self.replies = 0;
        }
        true
    }

    /// Takes a frame that has arrived.
    pub fn receive(&mut self, frame: Bytes) {
        self.incoming.push(frame);
    }

    /// How many bytes have arrived and were not asked for: whoever feeds the muxer, stops
    /// while these are too many for its taste.
    pub fn incoming_bytes(&self) -> usize {
        self.incoming.bytes()
    }

    /// The next thing that the other side did. An error is for ever.
    pub fn poll(&mut self) -> Result<Option<Event>, MuxError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let polled = self.next();
        self.failed = polled.as_ref().err().cloned();
        polled
    }

    fn next(&mut self) -> Result<Option<Event>, MuxError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.is_paused() {
                return Ok(None);
            }
            let Some(item) = self.incoming.next()? else {
                return Ok(None);
            };
            let event = match item {
                Item::Message { channel, kind, payload } => self.on_message(channel, kind, payload),
                Item::Open { channel, protocol, id, handshake } => {
                    self.on_open(channel, &protocol, id, handshake)?
                }
                Item::Reject { channel } => self.on_reject(channel)?,
                Item::Close { channel } => self.on_close(channel),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.half_open >= self.limits.half_open
            || self.backlog >= self.limits.backlog
            || self.replies >= MAX_REPLIES
    }

    fn on_message(&mut self, number: u64, kind: u64, payload: Bytes) -> Option<Event> {
        // Nobody has messages with such numbers.
        let kind = u32::try_from(kind).ok()?;
        match self.table.remote(number)? {
            Remote::Open { local } => Some(Event::Message { channel: *local, kind, payload }),
            Remote::Pending(pending) => {
                let cost = payload.len() + OVERHEAD;
                // A copy, since who knows for how long it waits, and how large its buffer is.
                pending.messages.push((kind, Bytes::copy_from_slice(&payload)));
                pending.cost += cost;
                self.backlog += cost;
                None
            }
            Remote::Free => None,
        }
    }

    fn on_open(
        &mut self,
        number: u64,
        protocol: &[u8],
        id: Bytes,
        handshake: Bytes,
    ) -> Result<Option<Event>, MuxError> {
        let size = protocol.len() + id.len() + handshake.len();
        if size > self.limits.open {
            return Err(MuxError::OpenTooLong);
        }
        let protocol = std::str::from_utf8(protocol).map_err(|_| DecodeError::NotUtf8)?;
        let index = self.take_remote(number)?;
        let key = Key::new(self.table.resolve(protocol), &id);
        let paired = self.table.is_paired(&key);
        let (key, uses) = self.table.uses(key);

        if let Some(left) = uses.leaving.pop_front() {
            // The answer to an open of ours that we have taken back. If the other side had
            // not claimed it when our close came, it ignored that, and needs another.
            self.table.change(&key, |_| ());
            self.table.retire(left, Local::Free);
            self.reply(CLOSE, u64::from(left) + 1);
            return Ok(None);
        }
        let local = uses.local;
        let wanted = paired && local.is_none();
        if wanted {
            uses.pending.push_back(index);
        }
        if let Some(local) = local
            && let Some(state @ Local::Waiting(_)) = self.table.local_mut(local)
        {
            *state = Local::Open { key, remote: index };
            let channel = self.table.id_of(local).ok_or(MuxError::InvalidOpen)?;
            self.table.remotes[index as usize] = Remote::Open { local: channel };
            return Ok(Some(Event::Opened { channel, handshake }));
        }
        if !wanted {
            self.table.change(&key, |_| ());
            self.reply(REJECT, number);
            return Ok(None);
        }
        let cost = size + OVERHEAD;
        self.half_open += 1;
        self.backlog += cost;
        let handshake = Bytes::copy_from_slice(&handshake);
        let event = Event::Requested {
            protocol: key.protocol.to_string(),
            id: Bytes::copy_from_slice(&id),
            handshake: handshake.clone(),
        };
        let pending = Pending { key, handshake, messages: Vec::new(), cost };
        self.table.remotes[index as usize] = Remote::Pending(Box::new(pending));
        Ok(Some(event))
    }

    /// The slot of a number that the other side takes into use.
    fn take_remote(&mut self, number: u64) -> Result<u32, MuxError> {
        let index = number.checked_sub(1).ok_or(MuxError::InvalidOpen)?;
        let used = self.table.remotes.len() as u64;
        if index == used {
            if self.table.remotes.len() >= self.limits.channels {
                return Err(MuxError::TooManyChannels);
            }
            self.table.remotes.push(Remote::Free);
        } else if !matches!(self.table.remote(number), Some(Remote::Free)) {
            return Err(MuxError::InvalidOpen);
        }
        u32::try_from(index).map_err(|_| MuxError::TooManyChannels)
    }

    fn on_reject(&mut self, number: u64) -> Result<Option<Event>, MuxError> {
        let (channel, state) = self.table.numbered(number).ok_or(MuxError::InvalidReject)?;
        match state {
            Local::Waiting(key) => {
                let key = key.clone();
                self.table.retire(channel.index, Local::Free);
                self.table.change(&key, |uses| uses.local = None);
                Ok(Some(Event::Closed { channel, rejected: true }))
            }
            Local::Leaving(key) => {
                let key = key.clone();
                self.table.retire(channel.index, Local::Free);
                self.table.change(&key, |uses| uses.leaving.retain(|index| *index != channel.index));
                Ok(None)
            }
            _ => Err(MuxError::InvalidReject),
        }
    }

    fn on_close(&mut self, number: u64) -> Option<Event> {
        match self.table.remote(number)? {
            Remote::Open { local } => {
                let channel = *local;
                self.end_open(channel.index);
                Some(Event::Closed { channel, rejected: false })
            }
            Remote::Pending(pending) => {
                // The number is free for the other side only when it gets an answer.
                let key = pending.key.clone();
                let index = (number - 1) as u32;
                self.table.change(&key, |uses| uses.pending.retain(|pending| *pending != index));
                self.drop_pending(index);
                Some(Event::Withdrawn {
                    protocol: key.protocol.to_string(),
                    id: Bytes::copy_from_slice(&key.id),
                })
            }
            Remote::Free => None,
        }
    }
}

impl fmt::Debug for Muxer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Muxer")
            .field("channels", &self.channels())
            .field("half_open", &self.half_open)
            .field("incoming_bytes", &self.incoming_bytes())
            .field("outgoing_bytes", &self.outgoing_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
