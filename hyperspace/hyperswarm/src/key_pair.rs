//! The key pair by which a peer is known.

use ed25519_dalek::SigningKey;
use ed25519_dalek::hazmat::ExpandedSecretKey;
use std::fmt;
use std::sync::Arc;

/// The public half of a key pair: a compressed point of the Edwards curve.
pub type PublicKey = [u8; 32];

/// An Ed25519 pair, made from 32 secret bytes, its seed. It names a peer, and proves in
/// the [handshake](crate::noise) that the peer is the one.
///
/// Cheap to clone; the secret is wiped from memory with the last clone.
#[derive(Clone)]
pub struct KeyPair(Arc<SigningKey>);

impl KeyPair {
    /// The pair of that seed, always the same one.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Arc::new(SigningKey::from_bytes(seed)))
    }

    /// A new pair, from the system's random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::from_seed(&seed))
    }

    /// The seed. Whoever has it can pass for this peer.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        self.0.verifying_key().to_bytes()
    }

    /// What a point is multiplied by: the lower half of the seed's SHA-512, clamped, and
    /// reduced by the order of the group.
    pub(crate) fn scalar(&self) -> curve25519_dalek::Scalar {
        ExpandedSecretKey::from(self.0.as_bytes()).scalar
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair(")?;
        self.public_key().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}
