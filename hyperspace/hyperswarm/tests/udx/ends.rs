//! How streams end, each side for itself or both at once; and messages beside them.

use crate::world::{A, B, IDS, Link, SOCKET, World, address, ms};
use hyperswarm::udx::packet::{Flags, Packet};
use hyperswarm::udx::{Config, Path, Stream, StreamError, Taken, Verdict};
use std::sync::Arc;
use std::time::Instant;

fn world() -> World {
    let mut world = World::connected(Link::new(ms(10)), Config::default(), 1);
    world.record = Some(Vec::new());
    world
}

/// The packets so far: from whom, flags, seq, ack and length of the payload.
fn packets(world: &World) -> Vec<(usize, u8, u32, u32, usize)> {
    let carried = world.record.as_ref().expect("it is recorded");
    let read = |datagram: &[u8]| {
        let packet = Packet::decode(datagram).expect("a packet");
        (packet.header.flags.0, packet.header.seq, packet.header.ack, packet.payload.len())
    };
    carried
        .iter()
        .map(|each| {
            let (flags, seq, ack, length) = read(&each.datagram);
            (each.from, flags, seq, ack, length)
        })
        .collect()
}

#[test]
fn each_side_ends_for_itself() {
    let mut world = world();
    world.with(A, |stream| stream.write(b"hello"));
    world.run(ms(100));
    world.with(A, Stream::end);
    assert_eq!(world.with(A, |stream| stream.write(b"more")), 0);
    world.run(ms(200));
    assert_eq!(world.read_all(B), b"hello");
    assert!(world.with(B, |stream| stream.remote_ended()));
    assert!(world.happened[A].acknowledged && world.happened[B].readable);
    world.with(B, |stream| stream.write(b"and you"));
    world.run(ms(300));
    world.with(B, Stream::end);
    world.run(ms(400));
    assert_eq!(world.read_all(A), b"and you");
    assert_eq!((world.closed(A), world.closed(B)), (Some(None), Some(None)));
    let expected = [
        (A, 1, 0, 0, 5),
        (B, 0, 0, 1, 0),
        (A, 2, 1, 0, 0),
        (B, 0, 0, 2, 0),
        (A, 0, 2, 0, 0),
        (B, 1, 0, 2, 7),
        (A, 0, 2, 1, 0),
        (B, 2, 1, 2, 0),
        (A, 0, 2, 2, 0),
    ];
    assert_eq!(packets(&world), expected);
    // Nobody holds them any more, and they go.
    for side in [A, B] {
        world.sides[side].release(IDS[side]);
    }
    world.run(ms(11_000));
    assert!(world.sides.iter().all(|side| side.is_empty()));
}

#[test]
fn the_end_rides_on_the_last_packet() {
    let mut world = world();
    world.with(A, |stream| stream.write(b"all"));
    world.with(A, Stream::end);
    world.run(ms(100));
    assert_eq!(packets(&world)[0], (A, 3, 0, 0, 3));
    assert_eq!(world.read_all(B), b"all");
    assert!(world.with(B, |stream| stream.remote_ended()));
}

#[test]
fn a_peer_that_did_not_hear_the_last_word_is_told_again() {
    let mut world = world();
    world.with(A, Stream::end);
    world.with(B, Stream::end);
    // Whatever A says of B's end gets lost at first.
    let mut lost = 0;
    world.lose = Some(Box::new(move |from, datagram| {
        let of_the_end = from == A && datagram[16..20] == [1, 0, 0, 0];
        lost += u32::from(of_the_end);
        of_the_end && lost <= 2
    }));
    world.run(ms(50));
    assert_eq!(world.closed(A), Some(None));
    world.sides[A].release(IDS[A]);
    assert_eq!(world.closed(B), None);
    world.run(ms(8000));
    assert_eq!(world.closed(B), Some(None));
}

#[test]
fn a_peer_that_is_gone_after_its_end_ends_well() {
    let mut world = world();
    world.with(B, Stream::end);
    world.run(ms(100));
    world.lose = Some(Box::new(|from, _| from == B));
    world.with(A, Stream::end);
    world.run(ms(20_000));
    assert_eq!(world.closed(A), Some(None));
}

#[test]
fn a_stream_that_is_given_up_tells_the_other_side_once() {
    let mut world = world();
    world.with(A, |stream| stream.write(&[1; 5000]));
    world.run(ms(100));
    world.record = Some(Vec::new());
    world.with(A, |stream| stream.write(b"never sent"));
    world.sides[A].destroy(IDS[A]);
    world.run(ms(5000));
    assert_eq!(packets(&world), [(A, 16, 5, 0, 0)]);
    assert_eq!(world.closed(A), Some(Some(StreamError::Destroyed)));
    assert_eq!(world.closed(B), Some(Some(StreamError::Reset)));
    // What has come can be read.
    assert_eq!(world.read_all(B).len(), 5000);
    world.sides[A].release(IDS[A]);
    assert!(world.sides[A].is_empty());
}

#[test]
fn a_stream_that_was_never_connected_goes_in_silence() {
    let mut world = World::new(Link::new(ms(10)), 1);
    world.open(A, 1, Config::default());
    world.record = Some(Vec::new());
    world.sides[A].destroy(1);
    world.run(ms(100));
    assert_eq!(world.closed(A), Some(Some(StreamError::Destroyed)));
    assert!(packets(&world).is_empty());
}

#[test]
fn a_stream_that_nobody_holds_waits_for_its_peer_only_so_long() {
    let mut world = world();
    let now = world.now;
    world.with(A, |stream| stream.write(b"farewell"));
    world.with(A, Stream::end);
    world.with(A, |stream| stream.detach(now));
    world.sides[A].release(IDS[A]);
    world.with(B, |stream| stream.write(b"nobody reads this"));
    world.run(ms(59_000));
    assert_eq!(world.read_all(B), b"farewell");
    assert_eq!(world.closed(B), None);
    world.run(ms(61_000));
    assert_eq!(world.closed(B), Some(Some(StreamError::Reset)));
    assert!(world.sides[A].is_empty());
}

#[test]
fn an_old_farewell_is_not_heard() {
    let mut world = world();
    world.with(A, |stream| stream.write(b"x"));
    world.run(ms(100));
    let mut destroy = Vec::new();
    let header =
        hyperswarm::udx::packet::Header { flags: Flags::DESTROY, stream_id: IDS[B], ..Default::default() };
    header.encode(&mut destroy);
    world.send(A, destroy.clone());
    world.run(ms(200));
    assert_eq!(world.closed(B), None);
    destroy[12] = 1;
    world.send(A, destroy);
    world.run(ms(300));
    assert_eq!(world.closed(B), Some(Some(StreamError::Reset)));
}

#[test]
fn messages_go_beside_the_stream() {
    let mut world = world();
    world.message(A, b"one");
    world.message(A, b"");
    world.with(A, |stream| stream.write(b"bytes"));
    world.run(ms(100));
    assert!(world.happened[B].message);
    assert_eq!(world.with(B, Stream::receive_message).as_deref(), Some(&b"one"[..]));
    assert_eq!(world.with(B, Stream::receive_message).as_deref(), Some(&b""[..]));
    assert_eq!(world.with(B, Stream::receive_message), None);
    assert_eq!(world.read_all(B), b"bytes");
    // Messages are not acknowledged.
    assert_eq!(packets(&world).iter().filter(|packet| packet.0 == B).count(), 1);
    let largest = world.with(A, |stream| stream.send_message(vec![0; 1152].into()));
    assert!(largest.is_ok());
    let longer = world.with(A, |stream| stream.send_message(vec![0; 1153].into()));
    assert_eq!(
        longer.expect_err("it is too long").to_string(),
        "the message is longer than the 1152 bytes that fit a packet"
    );
    for _ in 0..2000 {
        let _ = world.with(A, |stream| stream.send_message("many".into()));
    }
    world.run(ms(200));
    let mut taken = 0;
    while world.with(B, Stream::receive_message).is_some() {
        taken += 1;
    }
    assert_eq!(taken, 256);
}

#[test]
fn a_stream_learns_where_its_peer_is_from_the_first_packet() {
    let mut world = World::new(Link::new(ms(10)), 1);
    for side in [A, B] {
        world.open(side, IDS[side], Config::default());
    }
    world.connect(A);
    world.with(A, |stream| stream.write(b"hello"));
    // Without a firewall, nobody comes in.
    world.run(ms(500));
    assert_eq!(world.with(B, |stream| stream.readable()), 0);
    world.sides[B].set_firewall(
        IDS[B],
        Box::new(|socket, from| {
            assert_eq!((socket, from), (SOCKET, address(A)));
            Verdict::Connect(IDS[A])
        }),
    );
    world.run(ms(2000));
    assert!(world.happened[B].connected);
    assert_eq!(world.read_all(B), b"hello");
    world.with(B, |stream| stream.write(b"hi"));
    world.run(ms(2100));
    assert_eq!(world.read_all(A), b"hi");
}

#[test]
fn what_came_before_we_are_connected_is_acknowledged_then() {
    let mut world = World::new(Link::new(ms(10)), 1);
    for side in [A, B] {
        world.open(side, IDS[side], Config::default());
    }
    world.connect(A);
    world.sides[B].set_firewall(IDS[B], Box::new(|_, _| Verdict::Take));
    world.with(A, |stream| stream.write(b"early"));
    world.run(ms(100));
    assert_eq!(world.read_all(B), b"early");
    assert!(!world.happened[A].acknowledged);
    world.connect(B);
    world.run(ms(200));
    assert!(world.happened[A].acknowledged);
}

#[test]
fn datagrams_that_are_not_for_us_are_left_to_others() {
    let mut world = world();
    let now = world.now;
    let mut take = |datagram: &[u8]| world.sides[B].handle_datagram(now, SOCKET, address(A), datagram);
    assert_eq!(take(b""), Taken::NotOurs);
    assert_eq!(take(&[255; 19]), Taken::NotOurs);
    assert_eq!(take(&[3; 100]), Taken::NotOurs);
    let packet = |id: u8| [&[255, 1, 0, 0, id, 0, 0, 0][..], &[0; 12]].concat();
    assert_eq!(take(&packet(9)), Taken::NotOurs);
    assert_eq!(take(&packet(2)), Taken::Stream);
    let mut other_version = packet(2);
    other_version[1] = 2;
    assert_eq!(take(&other_version), Taken::NotOurs);
}

#[test]
fn a_stream_moves_to_another_socket() {
    // A's second socket has its own address there; here, the network carries both alike.
    let mut world = world();
    world.with(A, |stream| stream.write(b"one "));
    world.run(ms(100));
    let path = Path { socket: SOCKET, remote: address(B), id: IDS[B] };
    // Nothing is under way: it is done at once.
    world.with(A, |stream| stream.change_remote(path));
    world.run(ms(101));
    assert!(std::mem::take(&mut world.happened[A].remote_changed));
    world.with(A, |stream| stream.write(b"two "));
    world.transmit();
    world.with(A, |stream| stream.change_remote(path));
    world.with(A, |stream| stream.write(b"three"));
    world.run(ms(111));
    assert!(!world.happened[A].remote_changed && world.with(A, |stream| stream.is_changing()));
    world.run(ms(200));
    assert!(world.happened[A].remote_changed);
    assert_eq!(world.read_all(B), b"one two three");
}

#[test]
fn who_gives_up_says_what_has_come_by_then() {
    let now = Instant::now();
    let pair = || {
        let mut streams = [(); 2].map(|()| Stream::new(Arc::new(Config::default()), now));
        for (side, stream) in streams.iter_mut().enumerate() {
            stream.connect(now, Path { socket: SOCKET, remote: address(1 - side), id: IDS[1 - side] });
        }
        streams
    };
    let next = |stream: &mut Stream| {
        let mut datagram = Vec::new();
        stream.poll_transmit(now, 1, &mut datagram).map(|_| datagram)
    };
    let arrive = |stream: &mut Stream, datagram: &[u8]| {
        stream.handle_packet(now, &Packet::decode(datagram).expect("a packet"));
    };
    for (arrives, acknowledged) in [(true, true), (false, false)] {
        let [mut ours, mut theirs] = pair();
        ours.write(b"hello");
        let hello = next(&mut ours).expect("a packet");
        if arrives {
            arrive(&mut theirs, &hello);
        }
        theirs.destroy();
        // Nothing else has told us.
        arrive(&mut ours, &next(&mut theirs).expect("a packet"));
        assert_eq!(next(&mut theirs), None);
        assert_eq!(ours.closed(), Some(Some(StreamError::Reset)));
        assert_eq!(ours.is_acknowledged(), acknowledged);
    }
}
