//! The messages of a Hypercore channel (hypercore 11, protocol `hypercore/alpha`).
//!
//! A channel is about one core, and is opened with a [`Handshake`]. What follows is a stream
//! of [`Message`]s, each with a kind (its number in the protocol) and a body. Decoding never
//! allocates by a length that a stranger sent: see [`Reader`].

mod handshake;
mod have;

pub use crate::merkle::message::{DataMessage, RequestMessage};
pub use handshake::{Handshake, capability};
pub use have::{Bitfield, MAX_WORDS, NoData, Range, Reason, Sync, Want};

use crate::encoding::{DecodeError, Reader, Writer};
use bytes::Bytes;
use std::fmt;

/// The protocol's name, by which channels are opened.
pub const PROTOCOL: &str = "hypercore/alpha";

/// A name under which others may open the same channel.
pub const ALIAS: &str = "hypercore";

/// The longest name of an extension that is taken.
pub const MAX_EXTENSION_NAME: usize = 256;

/// The most bytes that a message may have: what a frame of the transport holds.
pub const MAX_MESSAGE: usize = (16 << 20) - 1;

/// What one side of a channel tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The sender's state.
    Sync(Sync),
    /// Asks for a proof.
    Request(RequestMessage),
    /// Takes a request back.
    Cancel {
        /// Which.
        request: u64,
    },
    /// A proof.
    Data(Box<DataMessage>),
    /// Instead of one.
    NoData(NoData),
    /// Asks which blocks the other side has.
    Want(Want),
    /// Takes that back.
    Unwant(Want),
    /// Which blocks the sender has, bit by bit.
    Bitfield(Bitfield),
    /// Which blocks the sender has, or no longer has.
    Range(Range),
    /// Something that is not hypercore's business.
    Extension {
        /// Whose; empty for the same as in the message of this kind before.
        name: String,
        /// What.
        payload: Bytes,
    },
}

impl Message {
    /// Its number in the protocol.
    pub fn kind(&self) -> u64 {
        match self {
            Self::Sync(_) => 0,
            Self::Request(_) => 1,
            Self::Cancel { .. } => 2,
            Self::Data(_) => 3,
            Self::NoData(_) => 4,
            Self::Want(_) => 5,
            Self::Unwant(_) => 6,
            Self::Bitfield(_) => 7,
            Self::Range(_) => 8,
            Self::Extension { .. } => 9,
        }
    }

    /// Writes its body.
    pub fn encode(&self, out: &mut Writer) {
        match self {
            Self::Sync(sync) => sync.encode(out),
            Self::Request(request) => request.encode(out),
            Self::Cancel { request } => {
                out.uint(*request);
            }
            Self::Data(data) => data.encode(out),
            Self::NoData(no_data) => no_data.encode(out),
            Self::Want(want) | Self::Unwant(want) => want.encode(out),
            Self::Bitfield(bitfield) => bitfield.encode(out),
            Self::Range(range) => range.encode(out),
            Self::Extension { name, payload } => {
                out.string(name).raw(payload);
            }
        }
    }

    /// Its body.
    pub fn to_bytes(&self) -> Bytes {
        let size = match self {
            Self::Data(data) => 256 + data.proof.block.as_ref().map_or(0, |block| block.value.len()),
            Self::Bitfield(bitfield) => 16 + 4 * bitfield.words.len(),
            Self::Extension { payload, .. } => 300 + payload.len(),
            _ => 32,
        };
        let mut out = Writer::with_capacity(size);
        self.encode(&mut out);
        out.into_vec().into()
    }

    /// Its body, in parts, to be sent one behind the other: so that nobody copies a block to
    /// put something before it.
    pub fn to_parts(&self) -> Vec<Bytes> {
        match self {
            Self::Data(data) => data.to_parts(),
            other => vec![other.to_bytes()],
        }
    }

    /// Reads the body of a message of that kind. `None` for kinds that are not known, which
    /// are to be ignored. Bytes after the message are ignored, too: newer versions put more
    /// there.
    pub fn decode(kind: u64, body: &Bytes) -> Result<Option<Self>, DecodeError> {
        let input = &mut Reader::new(body);
        Ok(Some(match kind {
            0 => Self::Sync(Sync::decode(input)?),
            1 => Self::Request(RequestMessage::decode(input)?),
            2 => Self::Cancel { request: input.uint()? },
            3 => Self::Data(Box::new(DataMessage::decode(body)?)),
            4 => Self::NoData(NoData::decode(input)?),
            5 => Self::Want(Want::decode(input)?),
            6 => Self::Unwant(Want::decode(input)?),
            7 => Self::Bitfield(Bitfield::decode(input)?),
            8 => Self::Range(Range::decode(input)?),
            9 => {
                let name = input.string()?;
                if name.len() > MAX_EXTENSION_NAME {
                    return Err(DecodeError::TooLong);
                }
                Self::Extension { name: name.to_owned(), payload: body.slice_ref(input.rest()) }
            }
            _ => return Ok(None),
        }))
    }
}

/// A message in a few words, for the log.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => {
                let proof = &data.proof;
                let block = proof.block.as_ref().map(|block| (block.index, block.value.len()));
                let upgrade = proof.upgrade.as_ref().map(|upgrade| (upgrade.start, upgrade.length));
                write!(f, "Data {} block {block:?} upgrade {upgrade:?}", data.request)
            }
            Self::Request(RequestMessage { id, request, priority, .. }) => {
                let block = request.block.map(|block| (block.index, block.nodes));
                let upgrade = request.upgrade.map(|upgrade| (upgrade.start, upgrade.length));
                write!(f, "Request {id} priority {priority} block {block:?} upgrade {upgrade:?}")?;
                request.seek.map_or(Ok(()), |seek| write!(f, " seek {}", seek.bytes))
            }
            Self::Bitfield(bitfield) => {
                write!(f, "Bitfield from {}, {} words", bitfield.start, bitfield.words.len())
            }
            Self::Extension { name, payload } => write!(f, "Extension {name}, {} bytes", payload.len()),
            other => write!(f, "{other:?}"),
        }
    }
}
