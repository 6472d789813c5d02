//! Sequence numbers: 32 bits on the wire, which wrap around; 64 bits here, which do not.

/// The number that a stream's first packet has here, if it has `initial` on the wire. Far
/// enough from 0 that no number on the wire leads below it.
pub(super) fn first(initial: u32) -> u64 {
    (1 << 32) | u64::from(initial)
}

/// The number nearest to `near` that looks like `wire`.
pub(super) fn expand(near: u64, wire: u32) -> u64 {
    let distance = wire.wrapping_sub(near as u32).cast_signed();
    near.saturating_add_signed(i64::from(distance))
}

/// How it looks on the wire.
pub(super) fn shorten(seq: u64) -> u32 {
    seq as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_nearby_come_back(initial: u32, sent in 0..1u64 << 40, distance in -0x7fff_ffff..0x7fff_ffffi64) {
            let near = first(initial) + sent;
            let seq = near.saturating_add_signed(distance);
            prop_assert_eq!(expand(near, shorten(seq)), seq);
        }
    }
}
