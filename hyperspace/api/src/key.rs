//! Keys of cores, and their text forms.

use data_encoding::{Encoding, HEXLOWER, Specification};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// The 32 bytes by which a core is known: the hash of its manifest, or (for
/// `compat` cores) its signer's public key. Also used for Noise public keys.
///
/// Shown as 64 hex digits. Read from those, from 52 letters of z-base-32 (as
/// today's programs show it, npm `hypercore-id-encoding` 1.3.0), and from either
/// after any `scheme://` and before any `/` or `+`.
///
/// ```
/// use hyperspace_api::Key;
/// let key = Key::from([7; 32]);
/// assert_eq!(key.to_string().parse::<Key>(), Ok(key));
/// assert_eq!(format!("hyper://{key}/dir").parse::<Key>(), Ok(key));
/// assert_eq!(key.to_z32().parse::<Key>(), Ok(key));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// What a core is announced under: BLAKE2b-256 of `hypercore`, keyed with the
/// core's [`Key`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiscoveryKey([u8; 32]);

/// A text or byte string that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Key must be a 32-byte long hex string.")]
pub struct KeyError;

static Z32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("ybndrfg8ejkmcpqxot1uwisza345h769");
    spec.encoding().expect("a fixed alphabet of 32 letters")
});

impl Key {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the core is announced under.
    pub fn discovery_key(&self) -> DiscoveryKey {
        let hash = blake2b_simd::Params::new().hash_length(32).key(&self.0).hash(b"hypercore");
        let mut out = [0; 32];
        out.copy_from_slice(hash.as_bytes());
        DiscoveryKey(out)
    }

    /// The 52-letter form.
    pub fn to_z32(&self) -> String {
        Z32.encode(&self.0)
    }
}

impl DiscoveryKey {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let text = text.split(['/', '+']).next().unwrap_or("");
        let bytes = match text.len() {
            64 => HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()),
            52 => Z32.decode(text.as_bytes()),
            _ => return Err(KeyError),
        };
        Self::try_from(bytes.map_err(|_| KeyError)?.as_slice())
    }
}

macro_rules! bytes32 {
    ($name:ident) => {
        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }
        impl TryFrom<&[u8]> for $name {
            type Error = KeyError;
            fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
                bytes.try_into().map(Self).map_err(|_| KeyError)
            }
        }
        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), HEXLOWER.encode(&self.0))
            }
        }
    };
}
bytes32!(Key);
bytes32!(DiscoveryKey);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn discovery_key_of_npm() {
        // hypercore-11-vectors.json, manifests.v1_single
        let key: Key = "d8c3a0597903b28d751c6e0b7107775e388ec5a3cf669bdd1e7ec41b8b8f6e72".parse().unwrap();
        assert_eq!(
            key.discovery_key().to_string(),
            "fb892b1c77fdcb05dcbd234607208b7036e00a13e7f2cc0bbaa463924e57865a"
        );
    }

    #[test]
    fn refuses_what_is_no_key() {
        for text in ["", "abc", "hyper://", &"g".repeat(64), &"0".repeat(63), &"l".repeat(52)] {
            assert_eq!(text.parse::<Key>(), Err(KeyError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_text_form_reads_back(bytes: [u8; 32]) {
            let key = Key::from(bytes);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
            prop_assert_eq!(key.to_z32().parse(), Ok(key));
            prop_assert_eq!(format!("pear://{}/a/b", key.to_z32()).parse(), Ok(key));
        }

        #[test]
        fn any_text_is_a_key_or_an_error(text in ".*") {
            let _ = text.parse::<Key>();
        }
    }
}
