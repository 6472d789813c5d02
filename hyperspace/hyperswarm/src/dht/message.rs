//! The datagrams of the DHT: requests and replies (npm `dht-rpc` 6, version 3 of its
//! format).
//!
//! First byte: the version in the lower half, the type in the upper one. Second byte:
//! which of the optional fields follow. A field that is not known is not there: what
//! comes after the last one is ignored, so that fields can be added.

use super::address::{Id, read_list, read_v4, write_list, write_v4};
use compact_encoding::{DecodeError, Reader, Writer};
use std::net::SocketAddrV4;

const REQUEST: u8 = 0x03;
const REPLY: u8 = 0x13;

/// The most nodes that a reply names; more are not taken in.
pub const MAX_CLOSER: usize = 20;

mod flag {
    pub const ID: u64 = 1;
    pub const TOKEN: u64 = 2;
    /// Of a request: the command is one of the DHT itself, not of an application.
    pub const INTERNAL: u64 = 4;
    /// Of a reply.
    pub const CLOSER: u64 = 4;
    /// Of a request.
    pub const TARGET: u64 = 8;
    /// Of a reply.
    pub const ERROR: u64 = 8;
    pub const VALUE: u64 = 16;
}

/// The commands of the DHT itself.
pub mod internal {
    /// Are you there, and who am I?
    pub const PING: u64 = 0;
    /// Answer to another port of mine.
    pub const PING_NAT: u64 = 1;
    /// Which nodes are closest to the target?
    pub const FIND_NODE: u64 = 2;
    /// A node that you named does not answer.
    pub const DOWN_HINT: u64 = 3;
    /// Answer later.
    pub const DELAYED_PING: u64 = 4;
}

/// The errors that a reply can carry.
pub mod error {
    /// All is well.
    pub const NONE: u64 = 0;
    /// Nobody here knows that command.
    pub const UNKNOWN_COMMAND: u64 = 1;
    /// The token is not ours, or too old. The reply has a fresh one.
    pub const INVALID_TOKEN: u64 = 2;
}

/// Somebody asks something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Tells the reply to this request from others.
    pub tid: u16,
    /// Where it was sent to: how the asked learns its own public address.
    pub to: SocketAddrV4,
    /// Who asks, if it is a node that can be asked as well.
    pub id: Option<Id>,
    /// What the asked gave out before, as a proof that the asker gets what is sent to its
    /// address.
    pub token: Option<[u8; 32]>,
    /// A command of the DHT itself ([`internal`])?
    pub internal: bool,
    /// What is asked.
    pub command: u64,
    /// What it is about.
    pub target: Option<Id>,
    /// What else belongs to the command; never empty.
    pub value: Option<&'a [u8]>,
}

/// And is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// That of the request.
    pub tid: u16,
    /// The asker's address, as the asked sees it.
    pub to: SocketAddrV4,
    /// Who answers, if it is a node that others may be told of.
    pub id: Option<Id>,
    /// To be used in a request that commits something.
    pub token: Option<[u8; 32]>,
    /// Nodes that are closer to the target: at most [`MAX_CLOSER`].
    pub closer: Vec<SocketAddrV4>,
    /// One of [`error`], or of the application.
    pub error: u64,
    /// The answer proper; never empty.
    pub value: Option<&'a [u8]>,
}

/// What a datagram can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A question.
    Request(Request<'a>),
    /// An answer.
    Reply(Reply<'a>),
}

impl<'a> Message<'a> {
    /// Reads a datagram.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        match reader.uint8()? {
            REQUEST => Request::read(&mut reader).map(Self::Request),
            REPLY => Reply::read(&mut reader).map(Self::Reply),
            _ => Err(DecodeError::Invalid("no datagram of this DHT")),
        }
    }
}

/// A field that is there if its flag is.
fn optional<'a, T>(
    present: bool,
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if present { read(reader).map(Some) } else { Ok(None) }
}

fn value<'a>(present: bool, reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    Ok(optional(present, reader, Reader::optional_buffer)?.flatten())
}

fn flags(fields: &[(u64, bool)]) -> u64 {
    fields.iter().filter(|(_, present)| *present).map(|(flag, _)| flag).sum()
}

fn head(writer: &mut Writer, kind: u8, flags: u64, tid: u16, to: SocketAddrV4) {
    writer.uint8(kind).uint(flags).uint16(tid);
    write_v4(writer, to);
}

impl<'a> Request<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags = reader.uint()?;
        Ok(Self {
            tid: reader.uint16()?,
            to: read_v4(reader)?,
            id: optional(flags & flag::ID != 0, reader, Reader::fixed)?,
            token: optional(flags & flag::TOKEN != 0, reader, Reader::fixed)?,
            internal: flags & flag::INTERNAL != 0,
            command: reader.uint()?,
            target: optional(flags & flag::TARGET != 0, reader, Reader::fixed)?,
            value: value(flags & flag::VALUE != 0, reader)?,
        })
    }

    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        let flags = flags(&[
            (flag::ID, self.id.is_some()),
            (flag::TOKEN, self.token.is_some()),
            (flag::INTERNAL, self.internal),
            (flag::TARGET, self.target.is_some()),
            (flag::VALUE, self.value.is_some()),
        ]);
        let mut writer = Writer::with_capacity(128 + self.value.map_or(0, <[u8]>::len));
        head(&mut writer, REQUEST, flags, self.tid, self.to);
        writer.raw(self.id.as_ref().map_or(&[], |id| id));
        writer.raw(self.token.as_ref().map_or(&[], |token| token));
        writer.uint(self.command);
        writer.raw(self.target.as_ref().map_or(&[], |target| target));
        if let Some(value) = self.value {
            writer.buffer(value);
        }
        writer.into_vec()
    }
}

impl<'a> Reply<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags = reader.uint()?;
        let mut reply = Self {
            tid: reader.uint16()?,
            to: read_v4(reader)?,
            id: optional(flags & flag::ID != 0, reader, Reader::fixed)?,
            token: optional(flags & flag::TOKEN != 0, reader, Reader::fixed)?,
            closer: optional(flags & flag::CLOSER != 0, reader, read_list)?.unwrap_or_default(),
            error: optional(flags & flag::ERROR != 0, reader, Reader::uint)?.unwrap_or(error::NONE),
            value: value(flags & flag::VALUE != 0, reader)?,
        };
        reply.closer.truncate(MAX_CLOSER);
        Ok(reply)
    }

    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        let flags = flags(&[
            (flag::ID, self.id.is_some()),
            (flag::TOKEN, self.token.is_some()),
            (flag::CLOSER, !self.closer.is_empty()),
            (flag::ERROR, self.error != error::NONE),
            (flag::VALUE, self.value.is_some()),
        ]);
        let mut writer = Writer::with_capacity(256 + self.value.map_or(0, <[u8]>::len));
        head(&mut writer, REPLY, flags, self.tid, self.to);
        writer.raw(self.id.as_ref().map_or(&[], |id| id));
        writer.raw(self.token.as_ref().map_or(&[], |token| token));
        if !self.closer.is_empty() {
            write_list(&mut writer, &self.closer);
        }
        if self.error != error::NONE {
            writer.uint(self.error);
        }
        if let Some(value) = self.value {
            writer.buffer(value);
        }
        writer.into_vec()
    }
}
