//! Whatever datagrams somebody sends: nothing panics, and little is kept.

use crate::world::{A, B, IDS, Link, SOCKET, World, address, ms};
use hyperswarm::udx::packet::{Flags, Header};
use hyperswarm::udx::{Config, Stream};
use proptest::prelude::*;

/// A packet for B's stream, more or less.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let near = prop_oneof![4 => 0..40u32, 1 => (0..40u32).prop_map(|less| 0u32.wrapping_sub(less)), 1 => any::<u32>()];
    let flags = prop_oneof![4 => Just(1u8), 1 => Just(4), 1 => 0..64u8, 1 => any::<u8>()];
    let window = prop_oneof![Just(0u32), Just(4 << 20), any::<u32>()];
    let ranges = prop::collection::vec((near.clone(), near.clone()), 0..60);
    let rest = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        (0..1500usize).prop_map(|size| vec![7; size]),
        ranges.prop_map(|ranges| {
            ranges
                .into_iter()
                .flat_map(|(start, end)| [start.to_le_bytes(), end.to_le_bytes()].concat())
                .collect()
        }),
    ];
    (flags, prop_oneof![3 => Just(0u8), 1 => any::<u8>()], window, near.clone(), near, rest).prop_map(
        |(flags, data_offset, window, seq, ack, rest)| {
            let header =
                Header { flags: Flags(flags & !16), data_offset, stream_id: IDS[B], window, seq, ack };
            let mut datagram = Vec::new();
            header.encode(&mut datagram);
            datagram.extend(rest);
            datagram
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_packets_in_the_midst_of_a_transfer(
        packets in prop::collection::vec((packet(), 0..30u64), 0..80),
        window in prop_oneof![Just(5_000u32), Just(4 << 20)],
        seed: u64,
    ) {
        let config = Config { receive_window: window, ..Config::default() };
        let mut world = World::connected(Link::new(ms(5)), config, seed);
        world.with(B, |stream| stream.write(&[3; 30_000]));
        world.with(A, |stream| stream.write(&[3; 30_000]));
        for (datagram, pause) in packets {
            let now = world.now;
            world.sides[B].handle_datagram(now, SOCKET, address(A), &datagram);
            let until = world.elapsed() + ms(pause);
            world.run(until);
            prop_assert!(world.with(B, |stream| stream.readable()) <= window as usize + (64 << 10));
        }
        let mut messages = 0;
        while world.with(B, Stream::receive_message).is_some() {
            messages += 1;
        }
        prop_assert!(messages <= 256);
        // It ends, one way or another.
        world.with(B, Stream::end);
        world.sides[B].destroy(IDS[B]);
        world.sides[B].release(IDS[B]);
        let until = world.elapsed() + ms(100_000);
        world.run(until);
        prop_assert!(world.sides[B].is_empty());
    }

    #[test]
    fn any_bytes(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20), head: bool) {
        let mut world = World::connected(Link::new(ms(5)), Config::default(), 1);
        for mut datagram in datagrams {
            if head && datagram.len() > 8 {
                datagram[..2].copy_from_slice(&[255, 1]);
                datagram[4..8].copy_from_slice(&IDS[B].to_le_bytes());
            }
            let now = world.now;
            world.sides[B].handle_datagram(now, SOCKET, address(A), &datagram);
            world.transmit();
        }
    }
}

#[test]
fn acknowledgements_that_nobody_takes_do_not_pile_up() {
    let mut world = World::connected(Link::new(ms(5)), Config::default(), 1);
    let mut datagram = Vec::new();
    Header { flags: Flags::DATA, stream_id: IDS[B], ..Header::default() }.encode(&mut datagram);
    let now = world.now;
    for _ in 0..100_000 {
        world.sides[B].handle_datagram(now, SOCKET, address(A), &datagram);
    }
    world.record = Some(Vec::new());
    world.transmit();
    assert_eq!(world.record.iter().flatten().count(), 512);
}
