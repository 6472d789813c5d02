//! Messages beside the stream: encrypted, but neither ordered nor sure to arrive, for
//! transports that have such (UDX). NaCl's secretbox: XSalsa20 and Poly1305.
//!
//! Whoever records one can send it again later, and it will be read again: what is sent
//! this way must be able to bear that.

use super::header::datagram_key;
use crate::noise::Keys;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

/// Bytes by which a datagram is longer than its text: a counter, then the MAC.
pub const DATAGRAM_OVERHEAD: usize = COUNTER + MAC;

const COUNTER: usize = 8;
const MAC: usize = 16;

/// Seals and opens the datagrams of one stream.
pub struct Datagrams {
    tx: [u8; 32],
    rx: [u8; 32],
    counter: u64,
    first: u64,
}

impl Datagrams {
    /// Those of the stream with these keys.
    pub fn new(keys: &Keys) -> Result<Self, getrandom::Error> {
        Ok(Self::starting_at(keys, getrandom::u64()?))
    }

    pub(super) fn starting_at(keys: &Keys, first: u64) -> Self {
        Self {
            tx: datagram_key(&keys.handshake_hash, keys.is_initiator),
            rx: datagram_key(&keys.handshake_hash, !keys.is_initiator),
            counter: first,
            first,
        }
    }

    #[cfg(test)]
    pub(super) fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }

    /// Encrypts a message; `None` once all 2^64 counters are used up.
    pub fn seal(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let counter = self.counter.wrapping_add(1);
        if counter == self.first {
            return None;
        }
        self.counter = counter;
        let mut datagram = Vec::with_capacity(DATAGRAM_OVERHEAD + text.len());
        datagram.extend_from_slice(&counter.to_le_bytes());
        datagram.extend_from_slice(&[0; MAC]);
        datagram.extend_from_slice(text);
        let (mut cipher, poly) = start(&self.tx, &counter.to_le_bytes());
        cipher.apply_keystream(&mut datagram[DATAGRAM_OVERHEAD..]);
        let mac = poly.compute_unpadded(&datagram[DATAGRAM_OVERHEAD..]);
        datagram[COUNTER..DATAGRAM_OVERHEAD].copy_from_slice(&mac);
        Some(datagram)
    }

    /// Decrypts one; `None` for what is forged, or no datagram of this stream.
    pub fn open(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (counter, rest) = datagram.split_first_chunk::<COUNTER>()?;
        let (mac, text) = rest.split_first_chunk::<MAC>()?;
        let (mut cipher, poly) = start(&self.rx, counter);
        let expected: [u8; MAC] = poly.compute_unpadded(text).into();
        if !super::cipher::equal(&expected, mac) {
            return None;
        }
        let mut text = text.to_vec();
        cipher.apply_keystream(&mut text);
        Some(text)
    }
}

/// The cipher, standing at the text, and the MAC: its key is the start of the key stream.
fn start(key: &[u8; 32], counter: &[u8; COUNTER]) -> (XSalsa20, Poly1305) {
    let mut nonce = [0; 24];
    nonce[..COUNTER].copy_from_slice(counter);
    let mut cipher = XSalsa20::new(key.into(), &nonce.into());
    let mut mac_key = [0; 32];
    cipher.apply_keystream(&mut mac_key);
    (cipher, Poly1305::new(&mac_key.into()))
}
