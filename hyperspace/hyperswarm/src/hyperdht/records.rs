//! What nodes keep for others, and what they are asked about it.

use crate::dht::{read_list, write_list};
use crate::key_pair::PublicKey;
use compact_encoding::{DecodeError, Reader, Writer};
use std::net::SocketAddrV4;

/// The most nodes that a peer can name through which it is reached.
pub const MAX_RELAYS: usize = 3;

/// The most peers that a node names for a topic.
pub const MAX_PEERS: usize = 20;

/// A signature of Ed25519.
pub type Signature = [u8; 64];

/// Somebody who can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Who.
    pub public_key: PublicKey,
    /// Nodes that pass on to it what is meant for it.
    pub relays: Vec<SocketAddrV4>,
}

impl Peer {
    /// A peer is at least its key and the length of an empty list.
    const MIN: usize = 33;

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { public_key: reader.fixed()?, relays: read_list(reader)? })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.raw(&self.public_key);
        write_list(writer, &self.relays);
    }

    /// Reads the value of an answer to FIND_PEER.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes))
    }

    /// As a node keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_vec()
    }
}

/// The value of an answer to LOOKUP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// Some of those who are interested.
    pub peers: Vec<Peer>,
    /// When somebody last asked for attention: milliseconds since 1970. Not signed: a hint.
    pub bump: u64,
}

impl Peers {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let peers = reader.array(Peer::MIN, Peer::read)?;
        let bump = if reader.is_empty() { 0 } else { reader.uint()? };
        Ok(Self { peers, bump })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.array(&self.peers, |writer, peer| peer.write(writer)).uint(self.bump);
        writer.into_vec()
    }
}

/// The value of ANNOUNCE and of UNANNOUNCE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announce {
    /// Who is interested.
    pub peer: Option<Peer>,
    /// The end of a chain of hashes: who reveals what hashes to it can renew this.
    pub refresh: Option<[u8; 32]>,
    /// By the peer's key, for this node and its token.
    pub signature: Option<Signature>,
    /// Asks for attention: see [`Peers::bump`].
    pub bump: Option<u64>,
}

impl Announce {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.uint()?;
        let reader = &mut reader;
        Ok(Self {
            peer: if flags & 1 != 0 { Some(Peer::read(reader)?) } else { None },
            refresh: if flags & 2 != 0 { Some(reader.fixed()?) } else { None },
            signature: if flags & 4 != 0 { Some(reader.fixed()?) } else { None },
            bump: if flags & 8 != 0 { Some(reader.uint()?) } else { None },
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let flags = u64::from(self.peer.is_some())
            | u64::from(self.refresh.is_some()) << 1
            | u64::from(self.signature.is_some()) << 2
            | u64::from(self.bump.is_some()) << 3;
        writer.uint(flags);
        if let Some(peer) = &self.peer {
            peer.write(&mut writer);
        }
        writer.raw(self.refresh.as_ref().map_or(&[], |refresh| refresh));
        writer.raw(self.signature.as_ref().map_or(&[], |signature| signature));
        if let Some(bump) = self.bump {
            writer.uint(bump);
        }
        writer.into_vec()
    }
}

/// The value of an answer to MUTABLE_GET, and what a node keeps of MUTABLE_PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutableRecord {
    /// The higher, the newer.
    pub seq: u64,
    /// What the key says.
    pub value: Vec<u8>,
    /// By that key.
    pub signature: Signature,
}

impl MutableRecord {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { seq: reader.uint()?, value: reader.buffer()?.to_vec(), signature: reader.fixed()? })
    }

    fn write(&self, writer: &mut Writer) {
        writer.uint(self.seq).buffer(&self.value).raw(&self.signature);
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes))
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_vec()
    }
}

/// The value of MUTABLE_PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutablePut {
    /// Whose value it is.
    pub public_key: PublicKey,
    /// What it says.
    pub record: MutableRecord,
}

impl MutablePut {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self { public_key: reader.fixed()?, record: MutableRecord::read(&mut reader)? })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&self.public_key);
        self.record.write(&mut writer);
        writer.into_vec()
    }
}
