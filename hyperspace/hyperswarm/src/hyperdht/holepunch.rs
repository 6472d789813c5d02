//! What client and server tell each other while they make holes in their firewalls. It
//! goes over nodes that must not understand it: it is sealed (NaCl's secretbox, XSalsa20
//! and Poly1305) with a key that follows from their handshake.

use super::noise_payload::Firewall;
use super::wire::{command, constant};
use crate::dht::tokens::{equal, token};
use crate::dht::{read_list, read_v4, write_list, write_v4};
use crate::hash::keyed_hash;
use compact_encoding::{DecodeError, Reader, Writer};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use std::net::{Ipv4Addr, SocketAddrV4};

const NONCE: usize = 24;
const MAC: usize = 16;

/// One step of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HolepunchPayload {
    /// One of [`handshake_error`](super::handshake_error).
    pub error: u64,
    /// What stands before the sender.
    pub firewall: Firewall,
    /// Counts the steps.
    pub round: u64,
    /// The sender has got through.
    pub connected: bool,
    /// The sender is trying.
    pub punching: bool,
    /// Where the sender is seen.
    pub addresses: Option<Vec<SocketAddrV4>>,
    /// Where the sender takes the receiver to be.
    pub remote_address: Option<SocketAddrV4>,
    /// Proves, when it comes back, that the receiver is where the sender sees it.
    pub token: Option<[u8; 32]>,
    /// What the receiver gave out.
    pub remote_token: Option<[u8; 32]>,
}

impl HolepunchPayload {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        let flags = reader.uint()?;
        Ok(Self {
            error: reader.uint()?,
            firewall: Firewall::from_number(reader.uint()?),
            round: reader.uint()?,
            connected: flags & 1 != 0,
            punching: flags & 2 != 0,
            addresses: if flags & 4 != 0 { Some(read_list(reader)?) } else { None },
            remote_address: if flags & 8 != 0 { Some(read_v4(reader)?) } else { None },
            token: if flags & 16 != 0 { Some(reader.fixed()?) } else { None },
            remote_token: if flags & 32 != 0 { Some(reader.fixed()?) } else { None },
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let present = [
            self.connected,
            self.punching,
            self.addresses.is_some(),
            self.remote_address.is_some(),
            self.token.is_some(),
            self.remote_token.is_some(),
        ];
        let flags = present.iter().enumerate().map(|(bit, present)| u64::from(*present) << bit).sum();
        let mut writer = Writer::with_capacity(128);
        writer.uint(flags).uint(self.error).uint(self.firewall.number()).uint(self.round);
        if let Some(addresses) = &self.addresses {
            write_list(&mut writer, addresses);
        }
        if let Some(address) = self.remote_address {
            write_v4(&mut writer, address);
        }
        writer.raw(self.token.as_ref().map_or(&[], |token| token));
        writer.raw(self.remote_token.as_ref().map_or(&[], |token| token));
        writer.into_vec()
    }
}

/// The key of one handshake, and the secret by which we make tokens in it.
pub struct HolepunchSecret {
    key: [u8; 32],
    local: [u8; 32],
}

impl HolepunchSecret {
    /// That of the handshake with this hash. `local` is random.
    pub fn new(handshake_hash: &[u8; 64], local: [u8; 32]) -> Self {
        Self { key: keyed_hash(handshake_hash, &[&constant(command::PEER_HOLEPUNCH)]), local }
    }

    /// Seals a step. The nonce is random: it must never be used twice.
    pub fn seal(&self, payload: &HolepunchPayload, nonce: [u8; NONCE]) -> Vec<u8> {
        let (mut cipher, mac) = self.start(&nonce);
        let mut text = payload.encode();
        cipher.apply_keystream(&mut text);
        let mac = mac.compute_unpadded(&text);
        [&nonce[..], &mac, &text].concat()
    }

    /// Opens one; `None` if it was forged or is no step.
    pub fn open(&self, sealed: &[u8]) -> Option<HolepunchPayload> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
        let (mac, text) = rest.split_first_chunk::<MAC>()?;
        let (mut cipher, expected) = self.start(nonce);
        if !equal(&expected.compute_unpadded(text), mac) {
            return None;
        }
        let mut text = text.to_vec();
        cipher.apply_keystream(&mut text);
        HolepunchPayload::decode(&text).ok()
    }

    /// The cipher, standing at the text, and the MAC: its key is the start of the key
    /// stream.
    fn start(&self, nonce: &[u8; NONCE]) -> (XSalsa20, Poly1305) {
        let mut cipher = XSalsa20::new(&self.key.into(), &(*nonce).into());
        let mut mac_key = [0; 32];
        cipher.apply_keystream(&mut mac_key);
        (cipher, Poly1305::new(&mac_key.into()))
    }

    /// What the peer is given that we see at that host.
    pub fn token(&self, host: Ipv4Addr) -> [u8; 32] {
        token(&self.local, host)
    }
}
