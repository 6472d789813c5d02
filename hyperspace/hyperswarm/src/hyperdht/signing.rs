//! What is signed, and how.

use super::records::{Announce, MutableRecord, Peer, Signature};
use super::wire::{command, constant};
use crate::dht::Id;
use crate::hash::{Hash, hash};
use crate::key_pair::{KeyPair, PublicKey};
use compact_encoding::Writer;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

/// A signature by that pair.
pub(crate) fn sign(pair: &KeyPair, message: &[u8]) -> Signature {
    SigningKey::from_bytes(pair.seed()).sign(message).to_bytes()
}

/// Is it by that key? Keys and signatures that libsodium refuses are refused.
pub(crate) fn is_signed(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok())
}

/// The hash of a key is where its holder announces itself.
pub fn target_of(key: &PublicKey) -> Id {
    hash(&[key])
}

fn signable(command: u64, of: &Hash) -> [u8; 64] {
    let mut message = [0; 64];
    message[..32].copy_from_slice(&constant(command));
    message[32..].copy_from_slice(of);
    message
}

/// What is signed for one node, which is to keep or to drop a peer: good only there, and
/// as long as its token is.
pub(crate) struct ForNode<'a> {
    /// ANNOUNCE or UNANNOUNCE.
    pub command: u64,
    pub target: &'a Id,
    pub node: &'a Id,
    pub token: &'a [u8; 32],
}

impl ForNode<'_> {
    fn message(&self, peer: &Peer, refresh: Option<&[u8; 32]>) -> [u8; 64] {
        let refresh = refresh.map_or(&[][..], |refresh| refresh);
        signable(self.command, &hash(&[self.target, self.node, self.token, &peer.encode(), refresh]))
    }

    /// What is sent to that node.
    pub(crate) fn announce(&self, pair: &KeyPair, peer: &Peer, bump: Option<u64>) -> Announce {
        let signature = Some(sign(pair, &self.message(peer, None)));
        Announce { peer: Some(peer.clone()), refresh: None, signature, bump }
    }

    /// Is what that node got signed by the peer that it names?
    pub(crate) fn verify(&self, announce: &Announce) -> bool {
        let (Some(peer), Some(signature)) = (&announce.peer, &announce.signature) else { return false };
        is_signed(&peer.public_key, &self.message(peer, announce.refresh.as_ref()), signature)
    }
}

fn mutable_message(seq: u64, value: &[u8]) -> [u8; 64] {
    let mut writer = Writer::new();
    writer.uint(seq).buffer(value);
    signable(command::MUTABLE_PUT, &hash(&[writer.as_slice()]))
}

impl MutableRecord {
    /// What the holder of the pair says.
    pub fn sign(pair: &KeyPair, seq: u64, value: Vec<u8>) -> Self {
        let signature = sign(pair, &mutable_message(seq, &value));
        Self { seq, value, signature }
    }

    /// Did the holder of the key say that?
    pub fn is_by(&self, key: &PublicKey) -> bool {
        is_signed(key, &mutable_message(self.seq, &self.value), &self.signature)
    }
}
