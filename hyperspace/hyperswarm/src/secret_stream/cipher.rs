//! libsodium's `crypto_secretstream_xchacha20poly1305`: a sequence of messages, encrypted
//! so that none can be changed, left out, repeated or moved.
//!
//! Ours, on top of `chacha20` and `poly1305`, and not the crate `crypto_secretstream`:
//! that one moves each message by a byte to make room for the tag, twice copies what is
//! sent and received, and is bound to older ciphers without AVX-512. Measured, 64 KiB
//! messages: 1.1 GiB/s for it; 1.2 GiB/s here with AVX2, 2.7 GiB/s where the build allows
//! AVX-512 (`--cfg chacha20_avx512`). All are chosen at run time by what the CPU has.
//!
//! Of the construction, this leaves out associated data, and sends only the tag
//! MESSAGE, as everybody does here. On the wire, a message of n bytes is n + 17: the
//! encrypted tag, the text, the MAC.

use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::{ChaCha20, R20};
use poly1305::universal_hash::{KeyInit, UniversalHash};
use poly1305::{Block, Poly1305};
use zeroize::Zeroize;

/// Bytes by which a message is longer on the wire: tag and MAC.
pub const OVERHEAD: usize = 17;

/// Bytes of the header from which a sequence starts: random, and sent in the clear.
pub const HEADER_BYTES: usize = 24;

/// How much is encrypted, then authenticated, at a time: it stays in the fastest cache
/// in between. A multiple of both block sizes.
const STRIDE: usize = 16 << 10;

/// The tag after which both sides change their key. We never send it.
const REKEY: u8 = 2;

/// A message was changed, or is not the next one of the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// One direction of a stream: encrypts its messages in order, or decrypts them.
pub struct Sequence {
    key: [u8; 32],
    /// A counter of four bytes, little-endian, from 1; then eight bytes that change with
    /// every MAC.
    nonce: [u8; 12],
}

/// The key stream before the text: block 0 is the MAC's key, block 1 encrypts the tag, and
/// 63 zeros that are never sent. Ours is always the tag MESSAGE, which is 0, too.
struct Start([u8; 128]);

impl Start {
    fn authenticator(&self) -> Poly1305 {
        let mut key = poly1305::Key::default();
        key.copy_from_slice(&self.0[..32]);
        let poly = Poly1305::new(&key);
        key.zeroize();
        poly
    }

    fn tag(&self) -> u8 {
        self.0[64]
    }

    fn set_tag(&mut self, tag: u8) {
        self.0[64] = tag;
    }

    fn authenticate(&self, poly: &mut Poly1305) {
        poly.update(Block::slice_as_chunks(&self.0[64..]).0);
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The MAC, given what of the ciphertext is less than a block. libsodium means to pad that
/// to a block, but adds as many zeros as there are bytes: so does everybody now.
fn finish(poly: Poly1305, rest: &[u8], length: usize) -> [u8; 16] {
    let mut tail = [0; 48];
    tail[..rest.len()].copy_from_slice(rest);
    let at = 2 * rest.len();
    tail[at + 8..at + 16].copy_from_slice(&(64 + length as u64).to_le_bytes());
    poly.compute_unpadded(&tail[..at + 16]).into()
}

/// Compares without telling by the time it takes where the difference is.
pub(super) fn equal(a: &[u8; 16], b: &[u8; 16]) -> bool {
    std::hint::black_box(u128::from_ne_bytes(*a) ^ u128::from_ne_bytes(*b)) == 0
}

impl Sequence {
    /// The sequence of that key and header.
    pub fn new(key: &[u8; 32], header: &[u8; HEADER_BYTES]) -> Self {
        let (input, tail) = header.split_at(16);
        let mut once = [0; 16];
        once.copy_from_slice(input);
        let key = chacha20::hchacha::<R20>(key.into(), &once.into()).into();
        let mut nonce = [0; 12];
        nonce[0] = 1;
        nonce[4..].copy_from_slice(tail);
        Self { key, nonce }
    }

    /// Encrypts a message where it lies: `frame` is a byte for the tag, the text, and 16
    /// bytes for the MAC.
    ///
    /// # Panics
    /// If it is shorter than [`OVERHEAD`].
    pub fn seal(&mut self, frame: &mut [u8]) {
        let (tag, rest) = frame.split_first_mut().expect("a frame has a tag");
        let (text, mac) = rest.split_last_chunk_mut::<16>().expect("a frame has a MAC");
        let (mut cipher, block) = self.start();
        let mut poly = block.authenticator();
        *tag = block.tag();
        block.authenticate(&mut poly);
        for part in text.chunks_mut(STRIDE) {
            cipher.apply_keystream(part);
            poly.update(Block::slice_as_chunks(part).0);
        }
        *mac = finish(poly, &text[text.len() & !15..], text.len());
        self.advance(mac, false);
    }

    /// Decrypts a message where it lies; the text is `frame` without its first byte and
    /// its last 16. If it is forged, what lies there is garbage, and the sequence has
    /// ended.
    pub fn open(&mut self, frame: &mut [u8]) -> Result<(), Forged> {
        let (tag, rest) = frame.split_first_mut().ok_or(Forged)?;
        let (text, mac) = rest.split_last_chunk_mut::<16>().ok_or(Forged)?;
        let (mut cipher, mut block) = self.start();
        let mut poly = block.authenticator();
        let rekey = (block.tag() ^ *tag) & REKEY != 0;
        block.set_tag(*tag);
        block.authenticate(&mut poly);
        let last = text.len() & !15;
        let (whole, rest) = text.split_at_mut(last);
        for part in whole.chunks_mut(STRIDE) {
            poly.update(Block::slice_as_chunks(part).0);
            cipher.apply_keystream(part);
        }
        let expected = finish(poly, rest, last + rest.len());
        if !equal(&expected, mac) {
            return Err(Forged);
        }
        cipher.apply_keystream(rest);
        self.advance(mac, rekey);
        Ok(())
    }

    /// The cipher of the next message, standing at its text, and what it made so far.
    fn start(&self) -> (ChaCha20, Start) {
        let mut cipher = ChaCha20::new(&self.key.into(), &self.nonce.into());
        let mut start = Start([0; 128]);
        cipher.apply_keystream(&mut start.0);
        (cipher, start)
    }

    #[cfg(test)]
    pub(super) fn set_counter(&mut self, counter: u32) {
        self.nonce[..4].copy_from_slice(&counter.to_le_bytes());
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> [u8; 32] {
        self.key
    }

    fn advance(&mut self, mac: &[u8; 16], rekey: bool) {
        self.nonce[4..].iter_mut().zip(mac).for_each(|(nonce, mac)| *nonce ^= mac);
        let (counter, _) = self.nonce.split_first_chunk_mut::<4>().expect("twelve bytes");
        let next = u32::from_le_bytes(*counter).wrapping_add(1);
        *counter = next.to_le_bytes();
        if rekey || next == 0 {
            self.rekey();
        }
    }

    /// After 2^32 messages: the key and the tail of the nonce are encrypted with
    /// themselves, and the counter starts anew.
    fn rekey(&mut self) {
        let mut both = [0; 40];
        both[..32].copy_from_slice(&self.key);
        both[32..].copy_from_slice(&self.nonce[4..]);
        ChaCha20::new(&self.key.into(), &self.nonce.into()).apply_keystream(&mut both);
        self.key.copy_from_slice(&both[..32]);
        self.nonce[4..].copy_from_slice(&both[32..]);
        self.nonce[..4].copy_from_slice(&1u32.to_le_bytes());
        both.zeroize();
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.key.zeroize();
        self.nonce.zeroize();
    }
}
