//! Peers that lie, each in its own way: nothing of it is kept, and the honest are served.

use super::world::{Line, World, blocks};
use bytes::Bytes;
use hypercore::hyperspace_api::Core;
use hypercore::manifest::Manifest;
use hypercore::merkle::proof::UpgradeRequest;
use hypercore::replication::replicator::{Demand, Options, Outcome};
use hypercore::replication::wire::{Bitfield, DataMessage, Message, Range, RequestMessage, Sync, Want};
use std::time::Duration;

fn data(mut message: Message, lie: impl Fn(&mut DataMessage)) -> Message {
    if let Message::Data(data) = &mut message {
        lie(data);
    }
    message
}

/// Whatever a peer does to its answers, a reader ends with the true content if there is an
/// honest peer too, and never holds anything else.
fn check(name: &str, cut_off: bool, lie: impl Fn(&mut DataMessage) + Clone + 'static) {
    for late in [false, true] {
        let mut world = World::new();
        let content = blocks(500, 300);
        let writer = world.writer(&content);
        let liar = world.partial(writer, &[(0, 500)]);
        let reader = world.reader(writer);
        let demand = world.demand(reader, Demand::Range { start: 0, end: 500, linear: false });
        if late {
            // The reader knows the core already.
            world.connect(reader, writer, Line::FAR);
            world.run(Duration::from_millis(500), |_| false);
            world.disconnect(reader, writer);
        }
        let lie = lie.clone();
        world.lie(liar, move |message| vec![data(message, &lie)]);
        world.connect(reader, liar, Line::FAST);
        world.run(Duration::from_secs(2), |_| false);
        world.check(reader, &content);
        assert!(world.nodes[reader].core.length() == 500 || world.nodes[reader].core.length() == 0, "{name}");
        if cut_off {
            assert!(!world.is_connected(reader, liar), "{name}, late {late}: it is cut off");
            assert_eq!(world.nodes[reader].replicator.lies(), 1, "{name}: and counted");
        }
        world.connect(reader, writer, Line::FAR);
        assert_eq!(world.finish(reader, demand), Outcome::Done, "{name}");
        assert_eq!(world.check(reader, &content), 500, "{name}");
    }
}

#[test]
fn wrong_blocks() {
    check("another block", true, |data| {
        if let Some(block) = &mut data.proof.block {
            block.value = Bytes::from_static(b"not what was written");
        }
    });
}

#[test]
fn wrong_nodes() {
    check("wrong hashes on the way", true, |data| {
        if let Some(block) = &mut data.proof.block {
            // Where nothing else is to be proven, there is nothing to be lied about.
            block.nodes.iter_mut().for_each(|node| node.hash[0] ^= 1);
            if block.nodes.is_empty() {
                block.value = Bytes::from_static(b"x");
            }
        }
    });
    check("wrong sizes on the way", true, |data| {
        if let Some(block) = &mut data.proof.block {
            block.nodes.iter_mut().for_each(|node| node.size += 1);
            if block.nodes.is_empty() {
                block.value = Bytes::from_static(b"x");
            }
        }
    });
    check("fewer nodes", true, |data| {
        if let Some(block) = &mut data.proof.block {
            block.nodes.pop();
            block.value = block.value.slice(..block.value.len() / 2);
        }
    });
    check("endless nodes", true, |data| {
        if let Some(block) = &mut data.proof.block {
            let last = block.nodes.last().copied().unwrap_or_default();
            block.nodes.resize(128, last);
        }
    });
}

#[test]
fn wrong_roots_and_signatures() {
    check("another root", false, |data| {
        if let Some(upgrade) = &mut data.proof.upgrade {
            upgrade.nodes.iter_mut().for_each(|node| node.hash[5] ^= 4);
        }
    });
    check("another signature", false, |data| {
        if let Some(upgrade) = &mut data.proof.upgrade {
            upgrade.signature.iter_mut().for_each(|signature| signature[10] ^= 1);
        }
    });
    check("no signature", false, |data| {
        if let Some(upgrade) = &mut data.proof.upgrade {
            upgrade.signature = None;
        }
    });
    check("a longer tree", false, |data| {
        if let Some(upgrade) = &mut data.proof.upgrade {
            upgrade.length = (1 << 53) - 1;
        }
    });
    check("another fork", false, |data| data.proof.fork += 1);
    check("another request", false, |data| data.request += 1000);
    check("another place", false, |data| {
        if let Some(block) = &mut data.proof.block {
            block.index ^= 1;
        }
    });
}

#[test]
fn a_forged_manifest() {
    check("a manifest of somebody else", false, |data| {
        if data.manifest.is_some() {
            data.manifest = Some(Manifest::single_signer([9; 32]));
        }
    });
}

#[test]
fn no_data_again_and_again() {
    use hypercore::replication::wire::{NoData, Reason};
    let mut world = World::new();
    let content = blocks(300, 100);
    let writer = world.writer(&content);
    let liar = world.partial(writer, &[(0, 300)]);
    world.lie(liar, |message| match message {
        Message::Data(data) if data.proof.upgrade.is_none() => {
            vec![Message::NoData(NoData { request: data.request, reason: Reason::InvalidRequest })]
        }
        other => vec![other],
    });
    let reader = world.reader(writer);
    world.connect(reader, liar, Line::FAST);
    let demand = world.demand(reader, Demand::Range { start: 0, end: 300, linear: true });
    world.run(Duration::from_secs(30), |_| false);
    let asked = world.nodes[reader].sent[&1];
    assert!(asked < 1000, "it is asked no more: {asked}");
    world.connect(reader, writer, Line::FAST);
    assert_eq!(world.finish(reader, demand), Outcome::Done);
}

#[test]
fn proofs_that_were_true_once() {
    // Answers of an older fork, sent again.
    let mut world = World::new();
    let mut content = blocks(100, 100);
    let writer = world.writer(&content);
    let liar = world.partial(writer, &[(0, 100)]);
    world.nodes[writer].core.truncate(50, None).unwrap();
    content.truncate(50);
    world.changed(writer);
    let reader = world.reader(writer);
    world.connect(reader, writer, Line::FAST);
    world.download(reader, 0, 50, true);
    // It claims to be at a newer fork still, and sends what was signed for the old one.
    world.lie(liar, |message| {
        vec![match message {
            Message::Sync(sync) => Message::Sync(Sync { fork: 7, can_upgrade: true, ..sync }),
            other => data(other, |data| data.proof.fork = 7),
        }]
    });
    world.connect(reader, liar, Line::FAST);
    world.run(Duration::from_secs(5), |_| false);
    assert_eq!((world.nodes[reader].core.fork(), world.nodes[reader].core.length()), (1, 50));
    assert_eq!(world.check(reader, &content), 50);
}

#[test]
fn claims_without_measure() {
    let mut world = World::new();
    let content = blocks(100, 100);
    let writer = world.writer(&content);
    let liar = world.partial(writer, &[(0, 10)]);
    let mut at = 0u64;
    world.lie(liar, move |message| {
        at += 1;
        let drop = at.is_multiple_of(3);
        vec![
            match message {
                Message::Sync(sync) => {
                    Message::Sync(Sync { length: (1 << 53) - 1, can_upgrade: true, ..sync })
                }
                other => other,
            },
            Message::Range(Range { drop: false, start: 1 << 40, length: 1 << 50 }),
            Message::Range(Range { drop, start: at % 7, length: 1 << 52 }),
            Message::Bitfield(Bitfield { start: (at % 5) << 40, words: vec![u32::MAX; 65_536] }),
            Message::Want(Want { start: at << 33, length: 2_097_152, any: false }),
            Message::Unwant(Want { start: 0, length: 1 << 50, any: true }),
        ]
    });
    let reader = world.reader(writer);
    world.connect(reader, liar, Line::FAST);
    for demand in [
        Demand::Range { start: 0, end: u64::MAX, linear: false },
        Demand::Block { index: 1 << 45, if_available: false },
        Demand::Seek { bytes: 1 << 45, if_available: false },
        Demand::Update { length: 1 << 45 },
    ] {
        world.demand(reader, demand);
    }
    world.run(Duration::from_secs(10), |_| false);
    world.connect(reader, writer, Line::FAST);
    world.run(Duration::from_secs(20), |world| world.nodes[reader].core.contiguous_length() == 100);
    assert_eq!(world.check(reader, &content), 100);
}

#[test]
fn a_flood_of_requests() {
    let mut world = World::new();
    let content = blocks(100, 1000);
    let writer = world.writer(&content);
    let (flooder, reader) = (world.reader(writer), world.reader(writer));
    let mut id = 1 << 30;
    world.lie(flooder, move |message| {
        let mut out = vec![message];
        for _ in 0..3000 {
            id += 1;
            let upgrade = Some(UpgradeRequest { start: 0, length: 100 });
            let request = hypercore::merkle::proof::Request { upgrade, ..Default::default() };
            out.push(Message::Request(RequestMessage { id, request, ..Default::default() }));
        }
        out
    });
    world.follow(flooder);
    world.connect(writer, flooder, Line { bytes_per_second: 10_000, ..Line::FAST });
    world.connect(writer, reader, Line::FAST);
    let took = world.download(reader, 0, 100, true);
    assert!(took < Duration::from_secs(2), "{took:?}");
    world.run(Duration::from_secs(30), |_| false);
    assert_eq!(world.nodes[writer].banned, ["flood"]);
}

#[test]
fn nothing_that_was_not_asked_for_is_taken() {
    for allow_push in [false, true] {
        let mut world = World::new();
        let content = blocks(50, 100);
        let writer = world.writer(&content);
        let reader = world.reader_with(writer, Options { allow_push, seed: 3 });
        world.connect(writer, reader, Line::FAST);
        let update = world.demand(reader, Demand::Update { length: 50 });
        assert_eq!(world.finish(reader, update), Outcome::Done);
        world.follow(reader);
        // One block is asked for, and two more come with it.
        world.push_after(writer, reader, &[7, 8]);
        world.download(reader, 3, 4, true);
        world.run(Duration::from_secs(1), |_| false);
        assert_eq!(world.check(reader, &content), if allow_push { 3 } else { 1 });
        assert_eq!(world.nodes[reader].banned, [""; 0]);
    }
}
