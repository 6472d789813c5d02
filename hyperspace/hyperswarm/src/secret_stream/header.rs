//! The header: the first frame that each side sends once it has the keys.

use super::cipher::{HEADER_BYTES, Sequence};
use crate::hash::{Hash, keyed_hash, namespace};
use crate::noise::Keys;

/// Bytes of the frame: the stream's id, then what the cipher starts from.
pub(super) const LENGTH: usize = 32 + HEADER_BYTES;

const NAME: &str = "hyperswarm/secret-stream";

/// The namespace of a side.
fn role(initiator: bool) -> Hash {
    namespace(NAME, if initiator { 0 } else { 1 })
}

/// The id by which a side shows that it is in this very handshake, and which side it is.
pub(super) fn id(handshake_hash: &[u8; 64], initiator: bool) -> Hash {
    keyed_hash(handshake_hash, &[&role(initiator)])
}

/// The key of what a side sends outside of the stream.
pub(super) fn datagram_key(handshake_hash: &[u8; 64], initiator: bool) -> Hash {
    keyed_hash(handshake_hash, &[&role(initiator), &namespace(NAME, 2)])
}

/// Our header, with the cipher that starts from it.
pub(super) fn write(keys: &Keys, start: &[u8; HEADER_BYTES]) -> ([u8; LENGTH], Sequence) {
    let mut header = [0; LENGTH];
    header[..32].copy_from_slice(&id(&keys.handshake_hash, keys.is_initiator));
    header[32..].copy_from_slice(start);
    (header, Sequence::new(&keys.tx, start))
}

/// The other side's cipher; `None` if this is no header of the other side of this handshake.
pub(super) fn read(keys: &Keys, header: &[u8]) -> Option<Sequence> {
    let (theirs, start) = header.split_first_chunk::<32>()?;
    let start = start.try_into().ok()?;
    (*theirs == id(&keys.handshake_hash, !keys.is_initiator)).then(|| Sequence::new(&keys.rx, start))
}
