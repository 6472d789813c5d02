//! One peer.

use super::world::{Line, World, blocks};
use hypercore::hyperspace_api::{Core, Seek};
use hypercore::replication::replicator::{Demand, Options, Outcome};
use std::time::Duration;

#[test]
fn a_whole_core_comes_over() {
    for linear in [true, false] {
        let mut world = World::new();
        let content = blocks(1000, 300);
        let writer = world.writer(&content);
        let reader = world.reader(writer);
        world.connect(writer, reader, Line::FAST);
        world.download(reader, 0, 1000, linear);
        assert_eq!(world.check(reader, &content), 1000);
        assert_eq!(world.nodes[reader].core.contiguous_length(), 1000);
        assert_eq!(world.nodes[writer].uploaded, 1000, "each block once");
    }
}

#[test]
fn a_far_peer_is_used_to_the_full() {
    let mut world = World::new();
    let content = blocks(1000, 16_384);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    world.connect(writer, reader, Line::FAR);
    let took = world.download(reader, 0, 1000, true);
    // 16 MB at 4 MB/s are 4.1 s.
    assert!(took < Duration::from_secs(6), "{took:?}");
    let (_, window) = world.nodes[reader].replicator.peer(world.peers(reader)[0]).expect("it is there");
    assert!((20..=200).contains(&window), "a round trip holds 40 blocks: {window}");
}

#[test]
fn single_blocks_are_fetched_and_nothing_else() {
    let mut world = World::new();
    let content = blocks(100_000, 50);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    world.connect(writer, reader, Line::FAR);
    for index in [0, 99_999, 50_000, 50_001] {
        let demand = world.demand(reader, Demand::Block { index, if_available: true });
        let began = world.now;
        assert_eq!(world.finish(reader, demand), Outcome::Done);
        assert!(world.now - began < Duration::from_millis(600), "{:?}", world.now - began);
    }
    assert_eq!(world.check(reader, &content), 4);
    assert_eq!(world.nodes[writer].uploaded, 4);
    assert!(world.nodes[writer].sent_bytes < 10_000, "{}", world.nodes[writer].sent_bytes);
}

#[test]
fn what_nobody_has_is_said_to_be_so() {
    let mut world = World::new();
    let content = blocks(100, 50);
    let writer = world.writer(&content);
    world.nodes[writer].core.clear_now(10, 20).unwrap();
    let reader = world.reader(writer);
    let demand = world.demand(reader, Demand::Block { index: 3, if_available: true });
    assert_eq!(world.finish(reader, demand), Outcome::NotAvailable, "there are no peers");
    world.connect(writer, reader, Line::FAR);
    let began = world.now;
    for (index, outcome) in [
        (15, Outcome::NotAvailable),
        (9, Outcome::Done),
        (20, Outcome::Done),
        (100, Outcome::NotAvailable),
        (1 << 45, Outcome::NotAvailable),
    ] {
        let demand = world.demand(reader, Demand::Block { index, if_available: true });
        assert_eq!(world.finish(reader, demand), outcome, "block {index}");
    }
    assert!(world.now - began < Duration::from_secs(3), "{:?}", world.now - began);
    // Who waits, waits: until the block exists.
    let demand = world.demand(reader, Demand::Block { index: 100, if_available: false });
    world.run(Duration::from_secs(10), |world| world.nodes[reader].finished.contains_key(&demand));
    assert!(!world.nodes[reader].finished.contains_key(&demand));
    world.append(writer, &[bytes::Bytes::from_static(b"at last")]);
    assert_eq!(world.finish(reader, demand), Outcome::Done);
}

#[test]
fn a_reader_follows_a_writer() {
    let mut world = World::new();
    let mut content = blocks(10, 100);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    world.follow(reader);
    world.demand(reader, Demand::Range { start: 0, end: u64::MAX, linear: true });
    world.connect(writer, reader, Line::FAR);
    for round in 0..20usize {
        let more: Vec<_> = blocks(500, 80)[round * 20..][..1 + round % 7].to_vec();
        content.extend(more.iter().cloned());
        world.append(writer, &more);
        let length = content.len() as u64;
        let took = world
            .run(Duration::from_secs(10), |world| world.nodes[reader].core.contiguous_length() == length);
        assert_eq!(world.nodes[reader].core.contiguous_length(), length);
        assert!(round < 2 || took < Duration::from_millis(500), "round {round}: {took:?}");
    }
    assert_eq!(world.check(reader, &content), content.len());
}

#[test]
fn an_update_tells_whether_there_is_more() {
    let mut world = World::new();
    let writer = world.writer(&blocks(10, 100));
    let reader = world.reader(writer);
    let update = world.demand(reader, Demand::Update { length: 1 });
    assert_eq!(world.finish(reader, update), Outcome::NotAvailable);
    world.connect(writer, reader, Line::FAR);
    let update = world.demand(reader, Demand::Update { length: 1 });
    assert_eq!(world.finish(reader, update), Outcome::Done);
    assert_eq!(world.nodes[reader].core.length(), 10);
    let update = world.demand(reader, Demand::Update { length: 11 });
    assert_eq!(world.finish(reader, update), Outcome::NotAvailable);
    assert_eq!(world.nodes[writer].uploaded, 0);
}

#[test]
fn any_byte_is_found_with_few_questions() {
    let mut world = World::new();
    let content = blocks(5000, 40);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    world.connect(writer, reader, Line::FAST);
    let total: u64 = content.iter().map(|block| block.len() as u64).sum();
    for bytes in [0, 1, total / 3, total / 2, total - 1, total] {
        let mut offset = bytes;
        let index = content.iter().position(|block| {
            let here = offset < block.len() as u64;
            offset -= if here { 0 } else { block.len() as u64 };
            here
        });
        let expected = Seek { index: index.map_or(5000, |index| index as u64), offset };
        let demand = world.demand(reader, Demand::Seek { bytes, if_available: true });
        assert_eq!(world.finish(reader, demand), Outcome::Found(expected), "byte {bytes}");
    }
    assert!(world.nodes[writer].uploaded <= 12, "{}", world.nodes[writer].uploaded);
    let demand = world.demand(reader, Demand::Seek { bytes: total + 1, if_available: true });
    assert_eq!(world.finish(reader, demand), Outcome::NotAvailable);
}

#[test]
fn what_nobody_waits_for_any_more_is_not_sent() {
    let mut world = World::new();
    let content = blocks(400, 10_000);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    world.connect(writer, reader, Line::SLOW);
    let range = world.demand(reader, Demand::Range { start: 0, end: 400, linear: true });
    world.run(Duration::from_secs(2), |_| false);
    let urgent = world.demand(reader, Demand::Block { index: 399, if_available: true });
    let began = world.now;
    assert_eq!(world.finish(reader, urgent), Outcome::Done);
    assert!(world.now - began < Duration::from_secs(2), "it overtakes: {:?}", world.now - began);
    world.cancel(reader, range);
    let so_far = world.check(reader, &content);
    world.run(Duration::from_secs(60), |_| false);
    let then = world.check(reader, &content);
    assert!(then - so_far <= 32, "{so_far} {then}");
}

#[test]
fn a_reader_that_reconnects_goes_on() {
    let mut world = World::new();
    let content = blocks(2000, 1000);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    let range = world.demand(reader, Demand::Range { start: 0, end: 2000, linear: false });
    for _ in 0..5 {
        world.connect(writer, reader, Line::FAR);
        world.run(Duration::from_millis(400), |_| false);
        world.disconnect(writer, reader);
    }
    world.connect(writer, reader, Line::FAR);
    assert_eq!(world.finish(reader, range), Outcome::Done);
    assert_eq!(world.check(reader, &content), 2000);
}

#[test]
fn who_wants_nothing_is_left_alone() {
    let mut world = World::new();
    let content = blocks(10, 100);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    world.connect(writer, reader, Line::FAST);
    world.download(reader, 0, 10, true);
    world.run(Duration::from_secs(60), |_| false);
    assert!(!world.is_connected(writer, reader), "both have all they want");
}

#[test]
fn blocks_are_pushed_to_who_takes_them() {
    for allow_push in [false, true] {
        let mut world = World::new();
        let mut content = blocks(50, 100);
        let writer = world.writer(&content);
        let reader = world.reader_with(writer, Options { allow_push, seed: 3 });
        world.follow(reader);
        world.follow(writer);
        world.connect(writer, reader, Line::FAR);
        world.run(Duration::from_secs(1), |_| false);
        assert_eq!(world.nodes[reader].core.length(), 50);
        world.push(writer, 10, 20);
        world.run(Duration::from_secs(1), |_| false);
        assert_eq!(world.check(reader, &content), if allow_push { 10 } else { 0 });
        // With what is new, and before the reader knows of it.
        let more = blocks(60, 100)[50..].to_vec();
        content.extend(more.iter().cloned());
        world.append(writer, &more);
        world.push(writer, 45, 60);
        world.run(Duration::from_secs(1), |_| false);
        assert_eq!(world.check(reader, &content), if allow_push { 25 } else { 0 });
        assert_eq!(world.nodes[reader].core.length(), 60);
        assert_eq!(world.nodes[reader].banned, [""; 0]);
    }
}

#[test]
fn what_is_given_is_taken_by_who_has_asked_for_it() {
    let mut world = World::new();
    let content = blocks(1000, 100);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    world.follow(reader);
    world.connect(writer, reader, Line::FAR);
    world.run(Duration::from_secs(1), |_| false);
    let took = |world: &mut World| {
        world.run(Duration::from_secs(1), |_| false);
        world.check(reader, &content)
    };
    // Some twice, and some that there are not.
    world.consult(reader, &[700, 3, 4, 5, 999, 3, 1200, 250], 100);
    assert_eq!(took(&mut world), 6);
    // What it has is not given again.
    let sent = world.nodes[writer].sent_bytes;
    world.consult(reader, &[250, 3], 100);
    assert_eq!(took(&mut world), 6);
    assert_eq!(world.nodes[writer].sent_bytes, sent);
    // No more than was said is taken.
    world.consult(reader, &[10, 11, 12], 2);
    assert_eq!(took(&mut world), 8);
    // Nor what nobody has asked for.
    world.consult(reader, &[], 0);
    world.give(writer, &[20, 21]);
    assert_eq!(took(&mut world), 8);
    // That cannot be proven by what was not taken. It is still to be had.
    world.consult(reader, &[13], 1);
    assert_eq!(took(&mut world), 8);
    world.download(reader, 0, 1000, true);
    assert_eq!(took(&mut world), 1000);
    assert_eq!(world.nodes[reader].banned, [""; 0]);
}

#[test]
fn blocks_that_a_peer_cannot_prove_are_asked_of_another() {
    let mut world = World::new();
    let mut content = blocks(10, 100);
    let writer = world.writer(&content);
    let behind = world.partial(writer, &[(0, 10)]);
    let more = blocks(1000, 100)[10..].to_vec();
    content.extend(more.iter().cloned());
    world.append(writer, &more);
    // It knows the roots of the whole, but not those of its beginning.
    let reader = world.partial(writer, &[]);
    assert_eq!(world.nodes[reader].core.length(), 1000);
    world.connect(behind, reader, Line::FAST);
    let range = world.demand(reader, Demand::Range { start: 0, end: 10, linear: true });
    world.run(Duration::from_secs(1), |_| false);
    assert_eq!(world.check(reader, &content), 0, "nobody could prove them");
    world.connect(writer, reader, Line::FAST);
    assert_eq!(world.finish(reader, range), Outcome::Done);
    assert_eq!(world.check(reader, &content), 10);
}
