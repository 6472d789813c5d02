//! Neither side sends more than the other can take, nor waits for ever when there is room.

use crate::world::{A, B, Link, Transfer, World, ms};
use hyperswarm::udx::packet::Packet;
use hyperswarm::udx::{Config, Stream};
use std::time::Duration;

fn world(receive_window: u32) -> World {
    let mut world = World::connected(Link::new(ms(10)), Config { receive_window, ..Config::default() }, 1);
    world.record = Some(Vec::new());
    world
}

/// How many bytes of payload A has sent, the first time.
fn sent(world: &World) -> usize {
    let mut next = 0;
    let mut sent = 0;
    for carried in world.record.iter().flatten().filter(|carried| carried.from == A) {
        let packet = Packet::decode(&carried.datagram).expect("a packet");
        if packet.header.flags.0 == 1 && packet.header.seq >= next {
            next = packet.header.seq + 1;
            sent += packet.payload.len();
        }
    }
    sent
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer_and_a_reader_that_reads_starts_it() {
    let mut world = world(50_000);
    let chunk = vec![7; 4 << 20];
    let written = world.with(A, |stream| stream.write(&chunk));
    assert!((256 << 10..1 << 20).contains(&written), "{written} bytes are kept for later");
    assert_eq!(world.with(A, |stream| stream.write(&chunk)), 0);
    world.run(ms(10_000));
    let waiting = world.with(B, |stream| stream.readable());
    // The first flight goes before A knows of the window.
    assert!((48_000..54_000).contains(&waiting), "{waiting}");
    assert_eq!(world.closed(A), None);
    // It is asked now and then whether there is room: 1, 3, 5, ... seconds.
    let asked = |world: &World| {
        let heartbeats = |carried: &&crate::world::Carried| carried.datagram[2] == 32;
        world.record.iter().flatten().filter(heartbeats).count()
    };
    assert!((4..=8).contains(&asked(&world)), "{}", asked(&world));

    // Once somebody reads, it goes on at once.
    let begun = world.elapsed();
    let mut received = 0;
    world.run_until(begun + ms(2000), |world| {
        received += world.read_all(B).len();
        received == written
    });
    assert!(world.elapsed() - begun < ms(900), "{:?}", world.elapsed() - begun);
    assert!(world.happened[A].writable);
    assert_eq!(sent(&world), written);
}

#[test]
fn a_writer_waits_for_ever_for_a_reader_that_lives() {
    let mut world = world(3_000);
    world.with(A, |stream| stream.write(&[1; 20_000]));
    world.run(Duration::from_secs(600));
    assert_eq!((world.closed(A), world.closed(B)), (None, None));
    let mut received = 0;
    let until = world.elapsed() + ms(5_000);
    world.run_until(until, |world| {
        received += world.read_all(B).len();
        received == 20_000
    });
}

#[test]
fn a_small_window_is_exceeded_by_no_more_than_a_packet() {
    for (window, most) in [(3000, 2), (500, 1), (1, 1)] {
        let mut world = World::connected(Link::new(ms(10)), Config::default(), 1);
        world.with(A, |stream| stream.write(b"x"));
        world.run(ms(100));
        // B says that it has little room.
        let mut ack = Vec::new();
        let header =
            hyperswarm::udx::packet::Header { stream_id: 1, window, seq: 0, ack: 1, ..Default::default() };
        header.encode(&mut ack);
        world.send(B, ack);
        world.run(ms(150));
        world.record = Some(Vec::new());
        world.lose = Some(Box::new(|_, _| true));
        world.with(A, |stream| stream.write(&[2; 20_000]));
        world.run(ms(151));
        assert_eq!(world.record.iter().flatten().count(), most, "{window}");
    }
}

#[test]
fn keep_alives_go_when_nothing_else_does() {
    let config = Config { keep_alive: Some(ms(100)), ..Config::default() };
    let mut world = World::connected(Link::new(ms(1)), config, 1);
    world.record = Some(Vec::new());
    world.run(ms(1050));
    let count = |flags: u8| {
        let all = world.record.iter().flatten().filter(|carried| carried.from == A);
        all.filter(|carried| carried.datagram[2] == flags).count()
    };
    // And each of the other side's is answered.
    assert_eq!((count(32), count(0)), (10, 10));
}

#[test]
fn sequence_numbers_wrap_around() {
    let config = Config { initial_seq: u32::MAX - 20, initial_ack: u32::MAX - 20, ..Config::default() };
    let lossy = Link { loss: 0.1, jitter: ms(3), ..Link::new(ms(10)) };
    let mut world = World::connected(lossy, config, 3);
    let mut transfers = [Transfer::new(A, 200_000), Transfer::new(B, 200_000)];
    world.run_until(Duration::from_secs(60), |world| {
        let done = transfers.each_mut().map(|transfer| transfer.go_on(world));
        done == [true, true]
    });
    assert!(world.with(A, |stream: &mut Stream| stream.remote_ended()));
}
