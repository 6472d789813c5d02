//! The hash that places a key in the trie.

use siphasher::sip::SipHasher24;

/// Hashes one component (the text between two slashes) of a key.
///
/// The format fixes it to [`component_hash`]. Tests put weaker ones in its place, so
/// that different components share a hash, which SipHash does not do in practice.
pub type ComponentHash = fn(component: &[u8]) -> u64;

/// SipHash-2-4 under a key of zeros. The format writes the result as 8 bytes, little
/// endian; two bits each, lowest first, they are the component's 32 digits.
///
/// ```
/// let hash = hypertrie::component_hash(b"dir");
/// assert_eq!(hash.to_le_bytes(), [0x66, 0x35, 0xf3, 0xc3, 0x80, 0x2a, 0xb2, 0x4b]);
/// ```
pub fn component_hash(component: &[u8]) -> u64 {
    SipHasher24::new().hash(component)
}
