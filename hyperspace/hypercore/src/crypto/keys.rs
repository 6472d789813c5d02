//! Ed25519 key pairs and signatures.

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Sha512, SigningKey, VerifyingKey};
use std::fmt;
use std::sync::Arc;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A detached Ed25519 signature.
pub type Signature = [u8; SIGNATURE_BYTES];

/// The public half of a key pair.
pub type PublicKey = [u8; 32];

/// A pair that signs. Made from 32 secret bytes, its seed.
///
/// The seed is expanded once, here, so that each signature costs one multiplication and
/// no more. Cheap to clone; the secrets are wiped from memory with the last clone.
#[derive(Clone)]
pub struct KeyPair(Arc<Secret>);

struct Secret {
    signing: SigningKey,
    expanded: ExpandedSecretKey,
    verifying: VerifyingKey,
}

impl KeyPair {
    /// The pair of that seed, always the same one.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let verifying = signing.verifying_key();
        Self(Arc::new(Secret { expanded: ExpandedSecretKey::from(seed), signing, verifying }))
    }

    /// A new pair, from the system's random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::from_seed(&seed))
    }

    /// The pair of a 64-byte secret key as libsodium stores it (seed, then public key);
    /// `None` if the two do not belong together.
    pub fn from_secret_key(secret: &[u8; 64]) -> Option<Self> {
        let (seed, public) = secret.split_first_chunk::<32>()?;
        let pair = Self::from_seed(seed);
        (pair.public_key().as_slice() == public).then_some(pair)
    }

    /// The seed. Whoever has it can append to the core.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.signing.as_bytes()
    }

    /// The 64 bytes that libsodium calls the secret key.
    pub fn secret_key(&self) -> [u8; 64] {
        self.0.signing.to_keypair_bytes()
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        self.0.verifying.to_bytes()
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        raw_sign::<Sha512>(&self.0.expanded, message, &self.0.verifying).to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&hyperspace_api::Key::from(self.public_key())).finish()
    }
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.0.verifying == other.0.verifying
    }
}

impl Eq for KeyPair {}

/// Did the owner of `public_key` sign `message`? As strict as libsodium: keys of small
/// order and signatures in a form that is not the shortest are refused.
pub fn verify(public_key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok())
}
