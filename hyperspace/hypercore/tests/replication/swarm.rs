//! Several peers, who have parts, are slow, or leave.

use super::world::{Line, World, blocks};
use hypercore::hyperspace_api::Core;
use hypercore::replication::replicator::{Demand, Outcome};
use std::time::Duration;

#[test]
fn parts_come_from_those_who_have_them() {
    let mut world = World::new();
    let content = blocks(3000, 200);
    let writer = world.writer(&content);
    let parts = [
        world.partial(writer, &[(0, 1000), (2500, 2600)]),
        world.partial(writer, &[(1000, 2000)]),
        world.partial(writer, &[(2000, 2500), (2600, 3000)]),
    ];
    let before = world.nodes[writer].uploaded;
    let reader = world.reader(writer);
    for part in parts {
        world.connect(reader, part, Line::FAR);
    }
    world.download(reader, 0, 3000, false);
    assert_eq!(world.check(reader, &content), 3000);
    assert_eq!(world.nodes[writer].uploaded, before);
    let total: u64 = parts.iter().map(|part| world.nodes[*part].uploaded).sum();
    assert!(total <= 3100, "hardly any block twice: {total}");
}

#[test]
fn a_single_block_is_found_at_the_one_who_has_it() {
    let mut world = World::new();
    let content = blocks(100_000, 20);
    let writer = world.writer(&content);
    let one = world.partial(writer, &[(10, 20)]);
    let other = world.partial(writer, &[(70_000, 70_010)]);
    let reader = world.reader(writer);
    world.connect(reader, one, Line::FAR);
    world.connect(reader, other, Line::FAR);
    for (index, outcome) in [
        (70_005, Outcome::Done),
        (15, Outcome::Done),
        (500, Outcome::NotAvailable),
        (99_999, Outcome::NotAvailable),
    ] {
        let began = world.now;
        let demand = world.demand(reader, Demand::Block { index, if_available: true });
        assert_eq!(world.finish(reader, demand), outcome, "block {index}");
        assert!(world.now - began < Duration::from_millis(1500), "block {index}: {:?}", world.now - began);
    }
    assert_eq!(world.check(reader, &content), 2);
}

#[test]
fn two_readers_help_each_other() {
    let mut world = World::new();
    let content = blocks(600, 5000);
    let writer = world.writer(&content);
    let (a, b) = (world.reader(writer), world.reader(writer));
    world.connect(writer, a, Line::SLOW);
    world.connect(writer, b, Line::SLOW);
    world.connect(a, b, Line::FAST);
    let demands =
        [a, b].map(|node| (node, world.demand(node, Demand::Range { start: 0, end: 600, linear: false })));
    let began = world.now;
    for (node, demand) in demands {
        assert_eq!(world.finish(node, demand), Outcome::Done);
        assert_eq!(world.check(node, &content), 600);
    }
    // 3 MB at 100 kB/s each are 30 s for one alone.
    let took = world.now - began;
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert!(world.nodes[writer].uploaded < 900, "{}", world.nodes[writer].uploaded);
}

#[test]
fn what_a_slow_peer_owes_is_asked_of_a_fast_one() {
    let mut world = World::new();
    let content = blocks(200, 10_000);
    let writer = world.writer(&content);
    let slow = world.partial(writer, &[(0, 200)]);
    let reader = world.reader(writer);
    world.connect(reader, slow, Line { bytes_per_second: 5_000, ..Line::FAR });
    let demand = world.demand(reader, Demand::Range { start: 0, end: 200, linear: true });
    world.run(Duration::from_secs(3), |_| false);
    world.connect(reader, writer, Line::FAST);
    let began = world.now;
    assert_eq!(world.finish(reader, demand), Outcome::Done);
    // The slow one alone would need 400 s, and for what it owes 32.
    assert!(world.now - began < Duration::from_secs(5), "{:?}", world.now - began);
}

#[test]
fn what_a_silent_peer_owes_is_asked_of_another() {
    let mut world = World::new();
    let content = blocks(100, 1000);
    let writer = world.writer(&content);
    let silent = world.partial(writer, &[(0, 100)]);
    world.lie(silent, |message| if matches!(message.kind(), 3 | 4) { Vec::new() } else { vec![message] });
    let reader = world.reader(writer);
    world.connect(reader, silent, Line::FAST);
    let demand = world.demand(reader, Demand::Range { start: 0, end: 100, linear: true });
    let update = world.demand(reader, Demand::Update { length: 1 });
    world.run(Duration::from_secs(1), |_| false);
    world.connect(reader, writer, Line::FAST);
    let began = world.now;
    assert_eq!(world.finish(reader, update), Outcome::Done);
    assert_eq!(world.finish(reader, demand), Outcome::Done);
    assert!(world.now - began < Duration::from_secs(8), "{:?}", world.now - began);
}

#[test]
fn a_writer_serves_all_alike() {
    let mut world = World::new();
    let content = blocks(300, 4000);
    let writer = world.writer(&content);
    let readers: Vec<_> = (0..20).map(|_| world.reader(writer)).collect();
    for reader in &readers {
        world.connect(writer, *reader, Line { bytes_per_second: 1_000_000, ..Line::FAST });
        world.demand(*reader, Demand::Range { start: 0, end: 300, linear: true });
    }
    world.run(Duration::from_millis(600), |_| false);
    let got: Vec<_> = readers.iter().map(|reader| world.nodes[*reader].core.contiguous_length()).collect();
    let (least, most) = (got.iter().min().expect("20"), got.iter().max().expect("20"));
    assert!(*most < 300 && *least * 2 > *most, "{got:?}");
    world.run(Duration::from_secs(60), |world| {
        readers.iter().all(|reader| world.nodes[*reader].core.contiguous_length() == 300)
    });
    for reader in readers {
        assert_eq!(world.check(reader, &content), 300);
    }
}

#[test]
fn cleared_blocks_are_asked_of_others() {
    let mut world = World::new();
    let content = blocks(100, 100);
    let writer = world.writer(&content);
    let mirror = world.partial(writer, &[(0, 100)]);
    let reader = world.reader(writer);
    world.connect(reader, writer, Line::FAST);
    world.connect(reader, mirror, Line::FAST);
    world.follow(reader);
    world.run(Duration::from_millis(100), |_| false);
    world.clear(writer, 20, 80);
    world.run(Duration::from_millis(100), |_| false);
    world.download(reader, 0, 100, true);
    assert_eq!(world.check(reader, &content), 100);
    // The writer gets its own blocks back as anybody would.
    world.connect(writer, mirror, Line::FAST);
    world.download(writer, 0, 100, true);
    assert_eq!(world.check(writer, &content), 100);
}

#[test]
fn news_travel_by_those_who_do_not_write() {
    let mut world = World::new();
    let mut content = blocks(50, 100);
    let writer = world.writer(&content);
    let middle = world.reader(writer);
    let reader = world.reader(writer);
    world.follow(middle);
    world.follow(reader);
    world.connect(writer, middle, Line::FAST);
    world.connect(middle, reader, Line::FAST);
    world.run(Duration::from_secs(2), |world| world.nodes[reader].core.length() == 50);
    assert_eq!(world.nodes[reader].core.length(), 50);
    let more = blocks(60, 100)[50..].to_vec();
    content.extend(more.iter().cloned());
    world.append(writer, &more);
    world.run(Duration::from_secs(2), |world| world.nodes[reader].core.length() == 60);
    assert_eq!(world.nodes[reader].core.length(), 60);
    // Nobody in between has the block yet.
    let demand = world.demand(reader, Demand::Block { index: 55, if_available: false });
    world.run(Duration::from_secs(1), |_| false);
    assert!(!world.nodes[reader].finished.contains_key(&demand));
    let fetched = world.demand(middle, Demand::Block { index: 55, if_available: true });
    assert_eq!(world.finish(middle, fetched), Outcome::Done);
    assert_eq!(world.finish(reader, demand), Outcome::Done);
    assert_eq!(world.check(reader, &content), 1);
}
