//! Bytes arrive in order whatever the network does, and about as fast as it can carry them.

use crate::world::{A, B, IDS, Link, Transfer, World, ms};
use hyperswarm::udx::{Config, StreamError};
use proptest::prelude::*;
use std::time::Duration;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// How fast so many bytes go over such a link, as a part of what it can carry; and how many
/// packets were sent again, as a part of all.
fn transfer(link: Link, total: usize, seed: u64) -> (f64, f64) {
    let mut world = World::connected(link.clone(), Config::default(), seed);
    let mut transfer = Transfer::new(A, total);
    world.run_until(seconds(600), |world| transfer.go_on(world));
    let took = transfer.finished.expect("it is done").as_secs_f64();
    let stats = world.stats(A);
    let again = stats.retransmits as f64 / stats.packets.0 as f64;
    println!(
        "{total} bytes at {:.1} % loss in {took:.2} s: {:.1} % of the link, {:.1} % sent again, {} dropped, mtu {}, {:?}",
        link.loss * 100.0,
        total as f64 / took / link.rate as f64 * 100.0,
        again * 100.0,
        world.dropped,
        stats.mtu,
        stats.round_trip,
    );
    (total as f64 / took / link.rate as f64, again)
}

/// 20 Mbit/s, 25 ms each way, and a queue of 50 ms.
fn link(loss: f64) -> Link {
    Link { rate: 2_500_000, queue: 125_000, loss, ..Link::new(ms(25)) }
}

#[test]
fn a_link_is_filled() {
    let (part, again) = transfer(link(0.0), 25_000_000, 1);
    assert!(part > 0.88 && again < 0.02, "{part}, {again}");
}

#[test]
fn a_link_that_loses_one_of_a_hundred_is_filled() {
    let (part, again) = transfer(link(0.01), 25_000_000, 2);
    assert!(part > 0.85 && again < 0.05, "{part}, {again}");
}

#[test]
fn a_link_that_loses_one_of_twenty_is_filled() {
    let (part, again) = transfer(link(0.05), 25_000_000, 3);
    assert!(part > 0.80 && again < 0.10, "{part}, {again}");
}

#[test]
fn a_link_that_loses_one_of_ten_is_used_well() {
    let (part, again) = transfer(link(0.1), 10_000_000, 3);
    assert!(part > 0.70 && again < 0.2, "{part}, {again}");
}

#[test]
fn a_fast_link_is_filled() {
    let fast = Link { rate: 50_000_000, queue: 2_500_000, ..Link::new(ms(10)) };
    let (part, again) = transfer(fast, 100_000_000, 4);
    assert!(part > 0.80 && again < 0.05, "{part}, {again}");
}

/// What is received beyond a gap fills the other side's buffer, and ours, before the gap is
/// repaired: neither may end in waiting where chance alone makes them.
#[test]
fn a_fast_link_is_filled_though_it_loses_and_its_queue_is_short() {
    for (loss, least) in [(0.0, 0.81), (0.01, 0.79), (0.05, 0.70)] {
        let fast = Link { rate: 25_000_000, queue: 1_250_000, loss, ..Link::new(ms(25)) };
        let (part, again) = transfer(fast, 64 << 20, 4);
        assert!(part > least && again < loss + 0.03, "{loss}: {part}, {again}");
    }
}

#[test]
fn a_link_with_a_short_queue_is_used_well() {
    let (part, again) = transfer(Link { queue: 20_000, ..link(0.0) }, 25_000_000, 5);
    assert!(part > 0.6 && again < 0.25, "{part}, {again}");
}

#[test]
fn packets_that_overtake_each_other_are_not_taken_for_lost() {
    let (part, again) = transfer(Link { jitter: ms(5), ..link(0.0) }, 10_000_000, 6);
    assert!(part > 0.6 && again < 0.03, "{part}, {again}");
}

#[test]
fn both_ways_at_once() {
    let mut world = World::connected(link(0.01), Config::default(), 7);
    let mut transfers = [Transfer::new(A, 5_000_000), Transfer::new(B, 5_000_000)];
    world.run_until(seconds(60), |world| {
        let done = transfers.each_mut().map(|transfer| transfer.go_on(world));
        done == [true, true]
    });
    for transfer in transfers {
        let took = transfer.finished.expect("it is done").as_secs_f64();
        assert!(took < 4.5, "{took}");
    }
}

#[test]
fn large_packets_are_found_and_small_ones_kept_where_they_must_be() {
    for (mtu, least, most) in [(1500, 1500, 1500), (1420, 1388, 1420), (1280, 1248, 1280), (1200, 1200, 1200)]
    {
        let mut world = World::connected(Link { mtu, ..link(0.0) }, Config::default(), 8);
        let mut transfer = Transfer::new(A, 5_000_000);
        world.run_until(seconds(60), |world| transfer.go_on(world));
        let found = world.stats(A).mtu;
        assert!((least..=most).contains(&found), "{mtu}: {found}");
        let took = transfer.finished.expect("it is done").as_secs_f64();
        assert!(took < 3.5, "{mtu}: {took}");
    }
}

#[test]
fn the_last_packet_is_missed_soon() {
    let mut world = World::connected(Link::new(ms(20)), Config::default(), 9);
    world.with(A, |stream| stream.write(&[1; 100]));
    world.run(ms(500));
    world.read_all(B);
    // Everything that is sent within the next millisecond is lost.
    let mut lost = 0;
    world.lose = Some(Box::new(move |from, _| {
        lost += u32::from(from == A);
        from == A && lost <= 2
    }));
    world.with(A, |stream| stream.write(&[2; 2000]));
    let begun = world.elapsed();
    world.run_until(seconds(5), |world| world.with(B, |stream| stream.readable()) == 2000);
    let took = world.elapsed() - begun;
    // A probe after two round trips shows that both are lost.
    assert!(took >= ms(100) && took < ms(250), "{took:?}");
}

#[test]
fn a_peer_that_does_not_answer_is_given_up() {
    let mut world = World::connected(Link { loss: 1.0, ..Link::new(ms(20)) }, Config::default(), 10);
    world.record = Some(Vec::new());
    world.with(A, |stream| stream.write(b"anybody?"));
    world.run(ms(12_900));
    assert_eq!(world.closed(A), None);
    world.run(ms(14_100));
    assert_eq!(world.closed(A), Some(Some(StreamError::TimedOut)));
    // Nobody is told: the other side is away.
    let record = world.record.take().expect("it was recorded");
    assert!(record.iter().all(|carried| carried.datagram[2] == 1 && carried.datagram.len() == 28));
    let times: Vec<u128> = record.iter().map(|carried| carried.at.as_millis()).collect();
    assert!((6..=9).contains(&times.len()), "{times:?}");
    assert_eq!(world.sides[A].poll_timeout(crate::world::SOCKET), None);
    world.sides[A].release(IDS[A]);
    assert!(world.sides[A].is_empty());
}

#[test]
fn a_link_that_was_cut_for_a_while_is_used_again() {
    let mut world = World::connected(link(0.0), Config::default(), 11);
    let mut transfer = Transfer::new(A, 10_000_000);
    world.run_until(seconds(60), |world| {
        let cut = (ms(1000)..ms(6000)).contains(&world.elapsed());
        world.links.iter_mut().for_each(|link| link.loss = if cut { 1.0 } else { 0.0 });
        transfer.go_on(world)
    });
    let took = transfer.finished.expect("it is done");
    assert!(took < seconds(14), "{took:?}");
}

#[test]
fn two_streams_share_a_link() {
    // The other stream is one of the same two sides.
    let mut world = World::connected(link(0.0), Config::default(), 12);
    for side in [A, B] {
        world.open(side, 11 + side as u32, Config::default());
        let now = world.now;
        let path = hyperswarm::udx::Path {
            socket: crate::world::SOCKET,
            remote: crate::world::address(1 - side),
            id: 12 - side as u32,
        };
        world.sides[side].update(11 + side as u32, |stream| stream.connect(now, path));
    }
    let mut received = [0usize; 2];
    let chunk = vec![0; 65536];
    world.run_until(seconds(60), |world| {
        for (number, [from, to]) in [[1u32, 2], [11, 12]].into_iter().enumerate() {
            world.sides[A].update(from, |stream| stream.write(&chunk));
            let read = world.sides[B].update(to, |stream| {
                let mut into = vec![0; stream.readable()];
                stream.read(&mut into)
            });
            received[number] += read.expect("there is a stream");
        }
        world.elapsed() >= seconds(20)
    });
    let [less, more] = [received[0].min(received[1]), received[0].max(received[1])];
    assert!(less * 4 > more, "{received:?}");
    assert!(less + more > 20 * 2_000_000, "{received:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_the_network_does_all_bytes_arrive_in_order(
        seed: u64,
        loss in 0.0..0.2f64,
        doubled in 0.0..0.2f64,
        delay in 0..60u64,
        jitter in 0..40u64,
        mtu in 1200..1501usize,
        total in 0..300_000usize,
        back in 0..100_000usize,
        window in 3_000..200_000u32,
    ) {
        let rough = Link { loss, doubled, jitter: ms(jitter), mtu, rate: 2_000_000, queue: 60_000, ..Link::new(ms(delay)) };
        let config = Config { receive_window: window, ..Config::default() };
        let mut world = World::connected(rough, config, seed);
        let mut transfers = [Transfer::new(A, total), Transfer::new(B, back)];
        world.run_until(seconds(1200), |world| {
            let done = transfers.each_mut().map(|transfer| transfer.go_on(world));
            done == [true, true]
        });
        world.links.iter_mut().for_each(|link| link.loss = 0.0);
        let until = world.elapsed() + seconds(60);
        world.run_until(until, |world| world.closed(A).is_some() && world.closed(B).is_some());
        prop_assert_eq!((world.closed(A), world.closed(B)), (Some(None), Some(None)));
    }
}
