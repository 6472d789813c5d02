//! The Noise handshake by which two peers prove who they are, and agree on keys: patterns
//! XX and IK over Ed25519 keys, ChaCha20-Poly1305 and BLAKE2b (npm `noise-handshake` 4
//! with `noise-curve-ed` 2).
//!
//! A [`Handshake`] knows no stream: it makes messages and reads them, alternately, the
//! initiator first. [`SecretStream`](crate::secret_stream::SecretStream) frames them on a
//! byte stream; the DHT carries those of IK in its datagrams, with payloads.
//!
//! ```
//! use hyperswarm::KeyPair;
//! use hyperswarm::noise::{Handshake, Pattern};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (KeyPair::generate()?, KeyPair::generate()?);
//! let mut ours = Handshake::initiator(Pattern::Ik(bob.public_key()), &alice, b"prologue")?;
//! let mut theirs = Handshake::responder(Pattern::Ik(()), &bob, b"prologue")?;
//!
//! assert_eq!(theirs.read(&ours.write(b"hello")?)?, b"hello");
//! assert_eq!(ours.read(&theirs.write(b"welcome")?)?, b"welcome");
//!
//! let (ours, theirs) = (ours.finish()?, theirs.finish()?);
//! assert_eq!(theirs.remote_public_key, alice.public_key());
//! assert_eq!(ours.handshake_hash, theirs.handshake_hash);
//! assert_eq!(ours.tx, theirs.rx);
//! # Ok(())
//! # }
//! ```

mod primitives;

use crate::key_pair::{KeyPair, PublicKey};
use primitives::{Primitives, TAG_BYTES};
use snow::HandshakeState;
use snow::params::NoiseParams;
use std::fmt;
use zeroize::Zeroize;

/// The longest message that Noise has; a longer one is refused unread.
pub const MAX_MESSAGE: usize = 65535;

/// The most that a message adds to its payload: two public keys, one of them sealed, and
/// the payload's own tag.
const OVERHEAD: usize = 32 + 32 + 2 * TAG_BYTES;

/// Who knows whom before the first message. `K` is what the initiator of IK knows
/// beforehand: the responder's public key. The responder knows nothing: `()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern<K = PublicKey> {
    /// Nobody: three messages, in which each proves its key to the other.
    Xx,
    /// The initiator knows the responder: two messages.
    Ik(K),
}

/// Why a handshake failed. Deliberately little: it is nobody's business how far a
/// stranger's message got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// A message that is not the next one of a handshake with us.
    #[error("Noise handshake failed")]
    Refused,
    /// A message was asked for, or given, out of turn.
    #[error("it is the other side's turn in the Noise handshake")]
    NotOurTurn,
    /// The payload does not fit in a message of [`MAX_MESSAGE`].
    #[error("a payload of {0} bytes is too long for a Noise message")]
    TooLong(usize),
    /// The system gave no random numbers.
    #[error("no random numbers for a Noise handshake")]
    NoRandom,
}

impl From<snow::Error> for HandshakeError {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Rng => Self::NoRandom,
            snow::Error::State(_) => Self::NotOurTurn,
            _ => Self::Refused,
        }
    }
}

/// What both sides have in the end.
#[derive(Clone)]
pub struct Keys {
    /// Were we the initiator?
    pub is_initiator: bool,
    /// Our own key.
    pub public_key: PublicKey,
    /// The key that the other side has proved to hold.
    pub remote_public_key: PublicKey,
    /// Names this very handshake; the same on both sides.
    pub handshake_hash: [u8; 64],
    /// Encrypts what we send.
    pub tx: [u8; 32],
    /// Decrypts what we receive.
    pub rx: [u8; 32],
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.tx.zeroize();
        self.rx.zeroize();
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("is_initiator", &self.is_initiator).finish_non_exhaustive()
    }
}

/// A handshake that is under way.
pub struct Handshake {
    state: HandshakeState,
    public_key: PublicKey,
}

impl Handshake {
    /// The side that sends the first message.
    pub fn initiator(pattern: Pattern, pair: &KeyPair, prologue: &[u8]) -> Result<Self, HandshakeError> {
        Self::start(pattern, true, pair, prologue, None)
    }

    /// The side that reads the first message.
    pub fn responder(pattern: Pattern<()>, pair: &KeyPair, prologue: &[u8]) -> Result<Self, HandshakeError> {
        let pattern = match pattern {
            Pattern::Xx => Pattern::Xx,
            Pattern::Ik(()) => Pattern::Ik([0; 32]),
        };
        Self::start(pattern, false, pair, prologue, None)
    }

    /// With a key pair for the one time given, so that the transcript is always the same:
    /// for tests, since whoever uses one twice gives its secrecy away.
    #[cfg(test)]
    pub(crate) fn with_ephemeral(
        pattern: Pattern,
        initiator: bool,
        pair: &KeyPair,
        prologue: &[u8],
        ephemeral: &[u8; 32],
    ) -> Result<Self, HandshakeError> {
        Self::start(pattern, initiator, pair, prologue, Some(ephemeral))
    }

    fn start(
        pattern: Pattern,
        initiator: bool,
        pair: &KeyPair,
        prologue: &[u8],
        ephemeral: Option<&[u8; 32]>,
    ) -> Result<Self, HandshakeError> {
        let (known, actual) = match pattern {
            Pattern::Xx => ("Noise_XX_25519_ChaChaPoly_BLAKE2b", "Noise_XX_Ed25519_ChaChaPoly_BLAKE2b"),
            Pattern::Ik(_) => ("Noise_IK_25519_ChaChaPoly_BLAKE2b", "Noise_IK_Ed25519_ChaChaPoly_BLAKE2b"),
        };
        // snow reads a name with a curve that it knows; what is hashed is the true one.
        let mut params: NoiseParams = known.parse()?;
        params.name = actual.to_owned();
        let mut builder = snow::Builder::with_resolver(params, Box::new(Primitives))
            .local_private_key(pair.seed())?
            .prologue(prologue)?;
        if let Pattern::Ik(remote) = &pattern
            && initiator
        {
            builder = builder.remote_public_key(remote)?;
        }
        if let Some(seed) = ephemeral {
            builder = builder.fixed_ephemeral_key_for_testing_only(seed);
        }
        let state = if initiator { builder.build_initiator()? } else { builder.build_responder()? };
        Ok(Self { state, public_key: pair.public_key() })
    }

    /// Our next message, with a payload. In the first message of XX, anybody can read
    /// that; in the first of IK, whoever gets hold of the responder's key later can.
    pub fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        if payload.len() > MAX_MESSAGE - OVERHEAD {
            return Err(HandshakeError::TooLong(payload.len()));
        }
        let mut message = vec![0; payload.len() + OVERHEAD];
        let length = self.state.write_message(payload, &mut message)?;
        message.truncate(length);
        Ok(message)
    }

    /// Reads the other side's next message, and gives its payload. After a failure, the
    /// handshake is of no more use.
    pub fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        if message.len() > MAX_MESSAGE {
            return Err(HandshakeError::Refused);
        }
        let mut payload = vec![0; message.len()];
        let length = self.state.read_message(message, &mut payload)?;
        payload.truncate(length);
        Ok(payload)
    }

    /// Is the next message ours?
    pub fn is_our_turn(&self) -> bool {
        !self.is_finished() && self.state.is_my_turn()
    }

    /// Has the last message been written or read?
    pub fn is_finished(&self) -> bool {
        self.state.is_handshake_finished()
    }

    /// Whom we talk to, as soon as that is known.
    pub fn remote_public_key(&self) -> Option<PublicKey> {
        self.state.get_remote_static().and_then(|key| key.try_into().ok())
    }

    /// The keys, once [finished](Self::is_finished).
    pub fn finish(mut self) -> Result<Keys, HandshakeError> {
        if !self.is_finished() {
            return Err(HandshakeError::NotOurTurn);
        }
        let remote_public_key = self.remote_public_key().ok_or(HandshakeError::Refused)?;
        let handshake_hash =
            self.state.get_handshake_hash().try_into().map_err(|_| HandshakeError::Refused)?;
        let is_initiator = self.state.is_initiator();
        let (mut first, mut second) = self.state.dangerously_get_raw_split();
        let (tx, rx) = if is_initiator { (first, second) } else { (second, first) };
        first.zeroize();
        second.zeroize();
        Ok(Keys { is_initiator, public_key: self.public_key, remote_public_key, handshake_hash, tx, rx })
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("is_initiator", &self.state.is_initiator()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
