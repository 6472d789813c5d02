//! What a muxer tells its owner: events and errors; and what the owner may set: limits.

use super::ChannelId;
use bytes::Bytes;
use compact_encoding::DecodeError;

/// Why the other side's frames cannot be obeyed: the stream is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// Bytes that are no frame.
    #[error("a frame cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// A batch within a batch.
    #[error("a batch within a batch")]
    NestedBatch,
    /// A channel was opened under a number that is in use, or skips others.
    #[error("Invalid open message")]
    InvalidOpen,
    /// A channel was rejected that was not just opened.
    #[error("Invalid reject message")]
    InvalidReject,
    /// More channels than [`Limits::channels`].
    #[error("too many channels")]
    TooManyChannels,
    /// Name, id and handshake are longer than [`Limits::open`].
    #[error("a channel's name and handshake are too long")]
    OpenTooLong,
}

/// Why a channel could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// We have one with the same protocol and id.
    #[error("the channel is open already")]
    AlreadyOpen,
    /// We have [`Limits::channels`] channels.
    #[error("too many channels")]
    TooManyChannels,
    /// Name, id and handshake are longer than [`Limits::open`].
    #[error("the channel's name and handshake are too long")]
    TooLong,
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
}

/// Why a message could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The channel was closed, by us or by the other side.
    #[error("the channel is closed")]
    Closed,
    /// More waits to be sent than [`Limits::outgoing`].
    #[error("too much waits to be sent")]
    Full,
    /// No frame can carry so many bytes.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
}

/// How much the other side, and the owner, can make a muxer keep.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Channels of each side. 65,536.
    pub channels: usize,
    /// Bytes of protocol, id and handshake of one channel. 16 KiB.
    pub open: usize,
    /// Channels that the other side has opened, and the owner neither opened nor refused:
    /// with so many, no further event comes. 4,096.
    pub half_open: usize,
    /// Bytes of those, and of the messages sent on them, with 512 for each: as with
    /// `half_open`. 4 MiB.
    pub backlog: usize,
    /// Bytes that wait to be sent: with more, messages are refused. 16 MiB.
    pub outgoing: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { channels: 1 << 16, open: 16 << 10, half_open: 4096, backlog: 4 << 20, outgoing: 16 << 20 }
    }
}

/// What the other side did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It opened a channel that we have not, of those we want to be asked about
    /// ([`Muxer::pair`](super::Muxer::pair)). [Open](super::Muxer::open) the same, or [refuse](super::Muxer::refuse) it.
    Requested {
        /// The protocol, by its primary name.
        protocol: String,
        /// The id; empty for none.
        id: Bytes,
        /// What comes with it, as the protocol has it; it comes again with `Opened`.
        handshake: Bytes,
    },
    /// It closed such a channel again before that was opened or refused.
    Withdrawn {
        /// The protocol.
        protocol: String,
        /// The id.
        id: Bytes,
    },
    /// A channel that we have opened is open on both sides.
    Opened {
        /// Ours.
        channel: ChannelId,
        /// The other side's.
        handshake: Bytes,
    },
    /// A message on an open channel.
    Message {
        /// Ours.
        channel: ChannelId,
        /// Which of the protocol's messages.
        kind: u32,
        /// May be a view of a larger buffer: copy what you keep for long.
        payload: Bytes,
    },
    /// The other side closed a channel. Its id means nothing any more.
    Closed {
        /// Ours.
        channel: ChannelId,
        /// It was never open: the other side does not want it.
        rejected: bool,
    },
}
