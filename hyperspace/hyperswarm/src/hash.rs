//! BLAKE2b-256, and the constants that keep one use of it apart from another.

/// 32 bytes of BLAKE2b.
pub(crate) type Hash = [u8; 32];

fn finish(hash: &blake2b_simd::Hash) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(hash.as_bytes());
    out
}

/// The hash of the pieces, one after the other.
pub(crate) fn hash(pieces: &[&[u8]]) -> Hash {
    keyed_hash(&[], pieces)
}

/// The same under a key of at most 64 bytes: BLAKE2's own key parameter.
pub(crate) fn keyed_hash(key: &[u8], pieces: &[&[u8]]) -> Hash {
    let mut state = blake2b_simd::Params::new().hash_length(32).key(key).to_state();
    for piece in pieces {
        state.update(piece);
    }
    finish(&state.finalize())
}

/// Number `number` of the constants that belong to `name`.
pub(crate) fn namespace(name: &str, number: u8) -> Hash {
    hash(&[&hash(&[name.as_bytes()]), &[number]])
}
