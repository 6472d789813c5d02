//! Commands, errors, and the constants that keep signatures of one kind apart from
//! another.

use crate::hash::{Hash, namespace};

/// What can be asked of a node.
pub mod command {
    /// The Noise handshake with the holder of a key: see [`Handshake`](super::super::Handshake).
    pub const PEER_HANDSHAKE: u64 = 0;
    /// Agrees on how to get through firewalls: see [`Holepunch`](super::super::Holepunch).
    pub const PEER_HOLEPUNCH: u64 = 1;
    /// Who relays to the holder of that key?
    pub const FIND_PEER: u64 = 2;
    /// Who is interested in that topic?
    pub const LOOKUP: u64 = 3;
    /// I am, or: I am the holder of that key.
    pub const ANNOUNCE: u64 = 4;
    /// No longer.
    pub const UNANNOUNCE: u64 = 5;
    /// Keep this for me, until I say something newer.
    pub const MUTABLE_PUT: u64 = 6;
    /// What does that key say?
    pub const MUTABLE_GET: u64 = 7;
    /// Keep this.
    pub const IMMUTABLE_PUT: u64 = 8;
    /// What has that hash?
    pub const IMMUTABLE_GET: u64 = 9;
    /// A command of something that not every node has.
    pub const PLUGIN: u64 = 10;
}

/// The errors of [`MUTABLE_PUT`](command::MUTABLE_PUT).
pub mod error {
    /// There is another value of the same number.
    pub const SEQ_REUSED: u64 = 16;
    /// There is a value of a higher number.
    pub const SEQ_TOO_LOW: u64 = 17;
}

/// The constant for what is signed, or mixed in, by a command.
pub(crate) fn constant(command: u64) -> Hash {
    namespace("hyperswarm/dht", command as u8)
}
