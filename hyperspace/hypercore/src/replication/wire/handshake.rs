//! How a channel is opened: who opens it shows that it knows the core's key.

use crate::crypto::{Hash, keyed, namespace};
use crate::encoding::{DecodeError, Reader, Writer};
use hyperspace_api::Key;

/// Set in a [`Handshake`]'s flags.
const SEEKS: u64 = 1;

/// What a channel is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Does the sender understand seeks with padding?
    pub seeks: bool,
    /// See [`capability`].
    pub capability: Hash,
}

/// What only those can make who know the core's key, for this connection and this side of
/// it: it cannot be passed on.
///
/// `handshake_hash` is the Noise handshake's; `initiator` is whether the one who shows it
/// began the connection.
pub fn capability(handshake_hash: &[u8; 64], key: &Key, initiator: bool) -> Hash {
    let namespace = if initiator { &namespace::REPLICATE_INITIATOR } else { &namespace::REPLICATE_RESPONDER };
    keyed(handshake_hash, &[namespace, key.as_bytes()])
}

impl Handshake {
    /// Writes it.
    pub fn encode(&self, out: &mut Writer) {
        out.uint(if self.seeks { SEEKS } else { 0 }).raw(&self.capability);
    }

    /// Its bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(33);
        self.encode(&mut out);
        out.into_vec()
    }

    /// Reads it.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { seeks: input.uint()? & SEEKS != 0, capability: input.fixed()? })
    }
}
