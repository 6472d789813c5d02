//! Histories that are rewritten.

use super::world::{Line, World, blocks};
use bytes::Bytes;
use hypercore::hyperspace_api::Core;
use hypercore::replication::replicator::{Demand, Outcome};
use std::time::Duration;

/// Cuts the writer's core and lets it go on otherwise.
fn rewrite(world: &mut World, writer: usize, content: &mut Vec<Bytes>, keep: usize, more: &[Bytes]) {
    world.nodes[writer].core.truncate(keep as u64, None).unwrap();
    content.truncate(keep);
    world.changed(writer);
    content.extend(more.iter().cloned());
    world.append(writer, more);
}

#[test]
fn a_reader_follows_to_a_newer_fork_and_keeps_what_is_shared() {
    for (keep, more) in [(700, 300), (0, 5), (999, 1), (513, 2000), (1000, 1)] {
        let mut world = World::new();
        let mut content = blocks(1000, 100);
        let writer = world.writer(&content);
        let reader = world.reader(writer);
        world.follow(reader);
        world.connect(writer, reader, Line::FAR);
        world.download(reader, 0, 1000, true);
        let before = world.nodes[writer].uploaded;
        let more: Vec<_> = (0..more).map(|at| Bytes::from(format!("new {at}"))).collect();
        rewrite(&mut world, writer, &mut content, keep, &more);
        let length = content.len() as u64;
        world.run(Duration::from_secs(20), |world| {
            (world.nodes[reader].core.fork(), world.nodes[reader].core.length()) == (1, length)
        });
        assert_eq!((world.nodes[reader].core.fork(), world.nodes[reader].core.length()), (1, length));
        assert_eq!(world.check(reader, &content), keep, "what is shared is still there");
        world.download(reader, 0, length, true);
        assert_eq!(world.check(reader, &content), content.len());
        assert_eq!(world.nodes[writer].uploaded - before, more.len() as u64);
        assert_eq!(world.nodes[reader].banned, [""; 0]);
    }
}

#[test]
fn a_fork_in_the_midst_of_a_download() {
    let mut world = World::new();
    let mut content = blocks(2000, 500);
    let writer = world.writer(&content);
    let (a, b) = (world.reader(writer), world.reader(writer));
    world.connect(writer, a, Line::FAR);
    world.connect(a, b, Line::FAST);
    for node in [a, b] {
        world.follow(node);
        world.demand(node, Demand::Range { start: 0, end: u64::MAX, linear: node == a });
    }
    for round in 0..4 {
        world.run(Duration::from_millis(250), |_| false);
        let keep = 1500 - 300 * round;
        let more: Vec<_> = (0..200).map(|at| Bytes::from(format!("round {round} block {at}"))).collect();
        rewrite(&mut world, writer, &mut content, keep, &more);
    }
    let length = content.len() as u64;
    world.run(Duration::from_secs(60), |world| {
        [a, b].iter().all(|node| world.nodes[*node].core.contiguous_length() == length)
    });
    for node in [a, b] {
        assert_eq!(world.nodes[node].core.fork(), 4);
        assert_eq!(world.check(node, &content), content.len());
        assert_eq!(world.nodes[node].banned, [""; 0]);
    }
}

#[test]
fn a_late_reader_comes_to_the_fork_at_once() {
    let mut world = World::new();
    let mut content = blocks(20, 50);
    let writer = world.writer(&content);
    rewrite(&mut world, writer, &mut content, 12, &blocks(3, 9));
    let reader = world.reader(writer);
    world.connect(writer, reader, Line::FAR);
    let update = world.demand(reader, Demand::Update { length: 15 });
    assert_eq!(world.finish(reader, update), Outcome::Done);
    world.download(reader, 0, 15, true);
    assert_eq!(world.check(reader, &content), 15);
    assert_eq!(world.nodes[reader].core.fork(), 1);
    assert!(world.nodes[reader].core.manifest().is_some());
}

#[test]
fn a_writer_does_not_follow_others() {
    // The same key at two places: the one that is used would be cut by the other.
    let mut world = World::new();
    let content = blocks(10, 50);
    let writer = world.writer(&content);
    let reader = world.reader(writer);
    world.connect(writer, reader, Line::FAST);
    world.download(reader, 0, 10, true);
    world.disconnect(writer, reader);
    let copy = world.twin(writer, &content);
    world.nodes[copy].core.truncate(5, None).unwrap();
    world.changed(copy);
    world.follow(writer);
    world.connect(writer, copy, Line::FAST);
    world.run(Duration::from_secs(5), |_| false);
    assert_eq!((world.nodes[writer].core.fork(), world.nodes[writer].core.length()), (0, 10));
    // Who lost everything gets it back.
    let restored = world.twin(writer, &[]);
    world.connect(restored, reader, Line::FAST);
    world.download(restored, 0, 10, true);
    assert_eq!(world.check(restored, &content), 10);
    assert!(world.nodes[restored].core.writable());
}
