//! The constants and derivations that keep one use of a hash or a key apart from another.

use super::hash::{Hash, hash, keyed, keyed_hash};
use super::keys::KeyPair;
use hyperspace_api::Key;

macro_rules! hex {
    ($text:literal) => {{
        const TEXT: &[u8; 64] = $text;
        const fn digit(byte: u8) -> u8 {
            if byte >= b'a' { byte - b'a' + 10 } else { byte - b'0' }
        }
        let mut out = [0; 32];
        let mut at = 0;
        while at < 32 {
            out[at] = digit(TEXT[2 * at]) << 4 | digit(TEXT[2 * at + 1]);
            at += 1;
        }
        out
    }};
}

/// Before what is signed for a tree.
pub const TREE: Hash = hex!(b"9fac70b50ca14efc4e91c833b204e75b8b5aad8b5881bfc0adb5ef38a3275b9c");
/// In the capability that the Noise initiator shows.
pub const REPLICATE_INITIATOR: Hash =
    hex!(b"51812a2a359b50369536775df89e18e47740f3db72ac0ae70b29594c194dc316");
/// In the capability that the other side shows.
pub const REPLICATE_RESPONDER: Hash =
    hex!(b"0438492d02970cc13528ac0262bca0074e0926260256865accc0bf15bd79127d");
/// Before a manifest, when it is hashed to a key.
pub const MANIFEST: Hash = hex!(b"e64b7108eacce47cfc61ac850568f55f8b15b82ec5ed78c4ec597b036e2a1498");
/// The namespace of a signer that states none.
pub const DEFAULT_NAMESPACE: Hash = hex!(b"4144eea531e483d54e0c14f4ca68e0644f355343ff6fcb0f005200e12cd747cb");
/// Before the keys from which a core's block key is made.
pub const DEFAULT_ENCRYPTION: Hash =
    hex!(b"9aedb6f1dea8487cc1e1698f97eb2f063f6db4c649695622e7b675e2ceafa6e9");
/// Before what a corestore derives its seeds from.
pub const CORESTORE: Hash = hex!(b"ac5c4cbfb1064776404637a280c71fac823281d351ebeced03151743270def29");

/// Number `number` of the constants that belong to `name`: where those above come from.
pub fn constant(name: &str, number: u8) -> Hash {
    hash(&[&hash(&[name.as_bytes()]), &[number]])
}

/// The namespace within a corestore under which names are looked up. The root is 32 zero
/// bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace(pub [u8; 32]);

impl Namespace {
    /// The namespace `name` within this one.
    pub fn child(&self, name: &[u8]) -> Self {
        Self(hash(&[&self.0, name]))
    }

    /// The seed of the core `name` in the store of that primary key (npm corestore 7).
    pub fn seed(&self, primary_key: &[u8; 32], name: &[u8]) -> [u8; 32] {
        keyed_hash(primary_key, &[&CORESTORE, &self.0, name])
    }

    /// The key pair of the core `name`.
    pub fn key_pair(&self, primary_key: &[u8; 32], name: &[u8]) -> KeyPair {
        KeyPair::from_seed(&self.seed(primary_key, name))
    }
}

/// What a peer shows to prove that it knows the core's key on this very connection.
/// `handshake_hash` is Noise's, at most 64 bytes.
pub fn capability(handshake_hash: &[u8; 64], key: &Key, initiator: bool) -> Hash {
    let namespace = if initiator { &REPLICATE_INITIATOR } else { &REPLICATE_RESPONDER };
    keyed(handshake_hash, &[namespace, key.as_bytes()])
}
