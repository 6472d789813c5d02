//! What client and server tell each other inside the Noise handshake: how they can be
//! reached, and which stream is meant.

use crate::dht::{read_list, read_v4, read_v6, write_list, write_v4, write_v6};
use crate::key_pair::PublicKey;
use compact_encoding::{DecodeError, Reader, Writer};
use std::net::{SocketAddrV4, SocketAddrV6};

/// The version that this is.
pub const VERSION: u64 = 1;

/// Why a handshake or a holepunch comes to nothing.
pub mod handshake_error {
    /// It does not.
    pub const NONE: u64 = 0;
    /// Given up.
    pub const ABORTED: u64 = 1;
    /// The other side speaks another version.
    pub const VERSION_MISMATCH: u64 = 2;
    /// Not now.
    pub const TRY_LATER: u64 = 3;
}

/// What stands between a peer and the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firewall {
    /// It does not know.
    #[default]
    Unknown,
    /// Nothing.
    Open,
    /// All see it at the same address, but cannot reach it before it has sent something.
    Consistent,
    /// Each sees it at another port.
    Random,
}

impl Firewall {
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Open,
            2 => Self::Consistent,
            3 => Self::Random,
            _ => Self::Unknown,
        }
    }

    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Open => 1,
            Self::Consistent => 2,
            Self::Random => 3,
        }
    }
}

/// A node that the server has announced itself to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// That node.
    pub relay: SocketAddrV4,
    /// The server, as that node sees it.
    pub peer: SocketAddrV4,
}

/// How to get through to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolepunchInfo {
    /// Its number for this handshake.
    pub id: u64,
    /// By whom it can be told of it.
    pub relays: Vec<Relay>,
}

/// The stream that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdxInfo {
    /// Of UDX; always 1.
    pub version: u64,
    /// May the socket be used again?
    pub reusable_socket: bool,
    /// What the other side sends to.
    pub id: u64,
    /// The first number; always 0.
    pub seq: u64,
}

/// A third peer, over which both can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayThrough {
    /// Its key.
    pub public_key: PublicKey,
    /// What tells the two apart from others there.
    pub token: [u8; 32],
}

/// The payload of both messages of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoisePayload {
    /// Of the format. Of another than [`VERSION`], nothing else is read.
    pub version: u64,
    /// One of [`handshake_error`].
    pub error: u64,
    /// What stands before the sender.
    pub firewall: Firewall,
    /// The server's, unless it can be reached by everybody.
    pub holepunch: Option<HolepunchInfo>,
    /// Where the sender can be reached directly.
    pub addresses4: Vec<SocketAddrV4>,
    /// The same.
    pub addresses6: Vec<SocketAddrV6>,
    /// The sender's stream.
    pub udx: Option<UdxInfo>,
    /// The version of the secret stream on it; always 1.
    pub secret_stream: Option<u64>,
    /// Where to meet.
    pub relay_through: Option<RelayThrough>,
    /// Where the server is found the next time.
    pub relay_addresses: Option<Vec<SocketAddrV4>>,
}

impl Default for NoisePayload {
    fn default() -> Self {
        Self {
            version: VERSION,
            error: handshake_error::NONE,
            firewall: Firewall::Unknown,
            holepunch: None,
            addresses4: Vec::new(),
            addresses6: Vec::new(),
            udx: None,
            secret_stream: None,
            relay_through: None,
            relay_addresses: None,
        }
    }
}

impl NoisePayload {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        let version = reader.uint()?;
        if version != VERSION {
            return Ok(Self { version, ..Self::default() });
        }
        let flags = reader.uint()?;
        let mut payload = Self {
            error: reader.uint()?,
            firewall: Firewall::from_number(reader.uint()?),
            ..Self::default()
        };
        if flags & 1 != 0 {
            let id = reader.uint()?;
            let relays =
                reader.array(12, |reader| Ok(Relay { relay: read_v4(reader)?, peer: read_v4(reader)? }))?;
            payload.holepunch = Some(HolepunchInfo { id, relays });
        }
        if flags & 2 != 0 {
            payload.addresses4 = read_list(reader)?;
        }
        if flags & 4 != 0 {
            payload.addresses6 = reader.array(18, read_v6)?;
        }
        if flags & 8 != 0 {
            payload.udx = Some(UdxInfo {
                version: reader.uint()?,
                reusable_socket: reader.uint()? & 1 != 0,
                id: reader.uint()?,
                seq: reader.uint()?,
            });
        }
        if flags & 16 != 0 {
            payload.secret_stream = Some(reader.uint()?);
        }
        if flags & 32 != 0 {
            let (_version, _flags) = (reader.uint()?, reader.uint()?);
            payload.relay_through =
                Some(RelayThrough { public_key: reader.fixed()?, token: reader.fixed()? });
        }
        if flags & 64 != 0 {
            payload.relay_addresses = Some(read_list(reader)?);
        }
        Ok(payload)
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128);
        let present = [
            self.holepunch.is_some(),
            !self.addresses4.is_empty(),
            !self.addresses6.is_empty(),
            self.udx.is_some(),
            self.secret_stream.is_some(),
            self.relay_through.is_some(),
            self.relay_addresses.is_some(),
        ];
        let flags = present.iter().enumerate().map(|(bit, present)| u64::from(*present) << bit).sum();
        writer.uint(VERSION).uint(flags).uint(self.error).uint(self.firewall.number());
        if let Some(holepunch) = &self.holepunch {
            writer.uint(holepunch.id).array(&holepunch.relays, |writer, relay| {
                write_v4(writer, relay.relay);
                write_v4(writer, relay.peer);
            });
        }
        if !self.addresses4.is_empty() {
            write_list(&mut writer, &self.addresses4);
        }
        if !self.addresses6.is_empty() {
            writer.array(&self.addresses6, |writer, address| write_v6(writer, *address));
        }
        if let Some(udx) = &self.udx {
            writer.uint(udx.version).uint(udx.reusable_socket.into()).uint(udx.id).uint(udx.seq);
        }
        if let Some(version) = self.secret_stream {
            writer.uint(version);
        }
        if let Some(relay) = &self.relay_through {
            writer.uint(1).uint(0).raw(&relay.public_key).raw(&relay.token);
        }
        if let Some(addresses) = &self.relay_addresses {
            write_list(&mut writer, addresses);
        }
        writer.into_vec()
    }
}
