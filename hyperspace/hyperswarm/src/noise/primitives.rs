//! What [`snow`] is given in place of its own primitives: the Diffie-Hellman that is the
//! network's own, and the hash, the cipher and the random numbers that this crate uses
//! anyway.

use crate::key_pair::KeyPair;
use blake2b_simd::State;
use chacha20poly1305::aead::{AeadInOut, Nonce, Tag};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity;
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroize;

/// Bytes that authenticate an encrypted payload.
pub(super) const TAG_BYTES: usize = 16;

/// The shared secret of a pair and somebody's public key: the point times the scalar,
/// compressed (libsodium's `crypto_scalarmult_ed25519_noclamp`).
///
/// `None` for a key that is no point, is not in its one canonical form, or is outside the
/// group of prime order: with those, a stranger could learn bits of the scalar, or force
/// the secret.
pub(super) fn diffie_hellman(pair: &KeyPair, public_key: &[u8; 32]) -> Option<[u8; 32]> {
    let compressed = CompressedEdwardsY(*public_key);
    let point = compressed.decompress()?;
    if point.compress() != compressed || point.is_small_order() || !point.is_torsion_free() {
        return None;
    }
    let shared = point * pair.scalar();
    (!shared.is_identity()).then(|| shared.compress().to_bytes())
}

/// Hands out the primitives below, whatever is asked for.
pub(super) struct Primitives;

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SystemRandom))
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(Ed25519::default()))
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Blake2b(new_hash())))
    }

    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(ChaChaPoly(ChaCha20Poly1305::new(&[0; 32].into()))))
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(dest).map_err(|_| Error::Rng)
    }
}

#[derive(Default)]
struct Ed25519 {
    pair: Option<KeyPair>,
    public: [u8; 32],
}

impl Ed25519 {
    fn hold(&mut self, pair: KeyPair) {
        self.public = pair.public_key();
        self.pair = Some(pair);
    }
}

impl Dh for Ed25519 {
    fn name(&self) -> &'static str {
        "Ed25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, seed: &[u8]) {
        // Nothing but seeds of 32 bytes is ever set; another one leaves no key to use.
        match seed.try_into() {
            Ok(seed) => self.hold(KeyPair::from_seed(seed)),
            Err(_) => self.pair = None,
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut seed = [0; 32];
        rng.try_fill_bytes(&mut seed)?;
        self.hold(KeyPair::from_seed(&seed));
        seed.zeroize();
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.pair.as_ref().map_or(&[], |pair| pair.seed())
    }

    fn dh(&self, public_key: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let pair = self.pair.as_ref().ok_or(Error::Dh)?;
        let public_key = public_key.first_chunk().ok_or(Error::Dh)?;
        let out = out.first_chunk_mut().ok_or(Error::Dh)?;
        *out = diffie_hellman(pair, public_key).ok_or(Error::Dh)?;
        Ok(())
    }
}

fn new_hash() -> State {
    blake2b_simd::Params::new().to_state()
}

struct Blake2b(State);

impl Hash for Blake2b {
    fn name(&self) -> &'static str {
        "BLAKE2b"
    }

    fn block_len(&self) -> usize {
        blake2b_simd::BLOCKBYTES
    }

    fn hash_len(&self) -> usize {
        blake2b_simd::OUTBYTES
    }

    fn reset(&mut self) {
        self.0 = new_hash();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..blake2b_simd::OUTBYTES].copy_from_slice(self.0.finalize().as_bytes());
        self.reset();
    }
}

struct ChaChaPoly(ChaCha20Poly1305);

/// Noise counts messages in the upper eight bytes.
fn nonce(counter: u64) -> Nonce<ChaCha20Poly1305> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce.into()
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = ChaCha20Poly1305::new(key.into());
    }

    fn encrypt(&self, counter: u64, ad: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let length = plain.len() + TAG_BYTES;
        let (text, tag) = out[..length].split_at_mut(plain.len());
        text.copy_from_slice(plain);
        let made = self
            .0
            .encrypt_inout_detached(&nonce(counter), ad, text.into())
            .expect("a handshake message is shorter than 256 GiB");
        tag.copy_from_slice(&made);
        length
    }

    fn decrypt(&self, counter: u64, ad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let length = sealed.len().checked_sub(TAG_BYTES).ok_or(Error::Decrypt)?;
        let (text, tag) = sealed.split_at(length);
        let tag = Tag::<ChaCha20Poly1305>::try_from(tag).map_err(|_| Error::Decrypt)?;
        let out = out.get_mut(..length).ok_or(Error::Decrypt)?;
        out.copy_from_slice(text);
        self.0.decrypt_inout_detached(&nonce(counter), ad, out.into(), &tag).map_err(|_| Error::Decrypt)?;
        Ok(length)
    }
}
