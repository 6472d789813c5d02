//! The envelopes in which handshakes and holepunches travel: from a client to a node, from
//! there to the server, and back the same way.

use crate::dht::{read_v4, write_v4};
use compact_encoding::{DecodeError, Reader, Writer};
use std::net::SocketAddrV4;

/// Which part of its way an envelope is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the client to a node, or to the server itself.
    FromClient,
    /// From the server to the node.
    FromServer,
    /// From the node to the server.
    FromRelay,
    /// The same, but over another node.
    FromSecondRelay,
    /// From the node to the client.
    Reply,
}

impl Mode {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.uint()? {
            0 => Self::FromClient,
            1 => Self::FromServer,
            2 => Self::FromRelay,
            3 => Self::FromSecondRelay,
            4 => Self::Reply,
            _ => return Err(DecodeError::Invalid("an envelope of an unknown mode")),
        })
    }

    fn number(self) -> u64 {
        match self {
            Self::FromClient => 0,
            Self::FromServer => 1,
            Self::FromRelay => 2,
            Self::FromSecondRelay => 3,
            Self::Reply => 4,
        }
    }
}

/// The value of PEER_HANDSHAKE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Where it is.
    pub mode: Mode,
    /// The Noise message.
    pub noise: Vec<u8>,
    /// The other end, as the node in between sees it.
    pub peer: Option<SocketAddrV4>,
    /// Another node in between.
    pub relay: Option<SocketAddrV4>,
}

impl Handshake {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        let flags = reader.uint()?;
        Ok(Self {
            mode: Mode::read(reader)?,
            noise: reader.buffer()?.to_vec(),
            peer: if flags & 1 != 0 { Some(read_v4(reader)?) } else { None },
            relay: if flags & 2 != 0 { Some(read_v4(reader)?) } else { None },
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.noise.len() + 24);
        writer.uint(u64::from(self.peer.is_some()) | u64::from(self.relay.is_some()) << 1);
        writer.uint(self.mode.number()).buffer(&self.noise);
        for address in [self.peer, self.relay].into_iter().flatten() {
            write_v4(&mut writer, address);
        }
        writer.into_vec()
    }
}

/// The value of PEER_HOLEPUNCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holepunch {
    /// Where it is.
    pub mode: Mode,
    /// Which handshake of the server's it belongs to.
    pub id: u64,
    /// A [`HolepunchPayload`](super::HolepunchPayload), sealed.
    pub payload: Vec<u8>,
    /// The other end, as the node in between sees it.
    pub peer: Option<SocketAddrV4>,
}

impl Holepunch {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        let flags = reader.uint()?;
        Ok(Self {
            mode: Mode::read(reader)?,
            id: reader.uint()?,
            payload: reader.buffer()?.to_vec(),
            peer: if flags & 1 != 0 { Some(read_v4(reader)?) } else { None },
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.payload.len() + 24);
        writer.uint(self.peer.is_some().into()).uint(self.mode.number()).uint(self.id).buffer(&self.payload);
        if let Some(address) = self.peer {
            write_v4(&mut writer, address);
        }
        writer.into_vec()
    }
}
