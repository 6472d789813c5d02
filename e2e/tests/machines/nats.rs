//! Behind routers that translate addresses: the kernel's.
//!
//! A cone and a symmetric router are not here: one side guesses the other's port, which takes
//! seconds, or minutes. `hyperswarm`'s tests have them in a simulated network.

use crate::world::World;
use hyperspace_api::Key;
use hyperspace_e2e::internet::Nat;
use hyperspace_e2e::machine::{text, within};
use hyperspace_e2e::node;
use hyperspace_e2e::process::Process;
use std::fs;
use std::time::Duration;

/// Two who have just started may miss each other at first.
const MEETING: Duration = Duration::from_secs(60);

/// The writer and the reader meet directly, wherever each is.
fn meet(writer: Option<Nat>, reader: Option<Nat>) {
    let mut world = World::new();
    let (theirs, ours) = (world.place(writer), world.place(reader));
    let (writer, reader) = (world.machine(&theirs), world.machine(&ours));
    let key = writer.create("shared");
    fs::write(writer.at("shared/report"), "here it is").expect("a write");
    writer.hyperdrive(&["seed", text(&writer.at("shared"))]);
    reader.mount_drive("theirs", &key);
    within(MEETING, "the file", || {
        fs::read_to_string(reader.at("theirs/report")).is_ok_and(|text| text == "here it is")
    });
    let status = reader.json(&["status"]);
    let peer = &status["network"]["peers"][0];
    let at = peer["remoteAddress"].as_str().expect("an address");
    assert_eq!(at.split(':').next(), Some(theirs.public.to_string().as_str()), "not directly: {status}");
    assert_eq!(peer["type"], "udx", "{status}");
}

#[test]
fn symmetric_and_symmetric_meet_at_a_relay() {
    let mut world = World::new();
    let place = world.place(None);
    let (relay, key, _home) = world.relay(&place);
    let both = [Nat::Symmetric; 2].map(|nat| world.place(Some(nat)));
    let [writer, reader] = both.each_ref().map(|place| world.machine_with(place, &["--relay", &key]));
    let drive = writer.create("shared");
    fs::write(writer.at("shared/report"), "here it is").expect("a write");
    writer.hyperdrive(&["seed", text(&writer.at("shared"))]);
    reader.mount_drive("theirs", &drive);
    within(MEETING, "the file", || {
        fs::read_to_string(reader.at("theirs/report")).is_ok_and(|text| text == "here it is")
    });
    let status = reader.json(&["status"]);
    let at = status["network"]["peers"][0]["remoteAddress"].as_str().expect("an address");
    assert_eq!(at.split(':').next(), Some(place.public.to_string().as_str()), "not by the relay: {status}");
    drop((writer, reader, relay));
}

#[test]
fn open_and_cone() {
    meet(None, Some(Nat::Cone));
    meet(Some(Nat::Cone), None);
}

#[test]
fn cone_and_cone() {
    meet(Some(Nat::Cone), Some(Nat::Cone));
}

#[test]
fn open_and_symmetric() {
    meet(None, Some(Nat::Symmetric));
    meet(Some(Nat::Symmetric), None);
}

/// npm hyperswarm and one of ours meet directly, wherever each is; whoever is `announced` is
/// the one that is dialled.
fn meet_npm(ours: Option<Nat>, npm: Option<Nat>, announced: Announced) {
    let mut world = World::new();
    let (here, there) = (world.place(ours), world.place(npm));
    let machine = world.machine(&here);
    let home = world.scratch(&there);
    let peer = |topic: &str, how: &str| {
        let arguments = ["net/machine-peer.js", "meet", world.bootstrap(), topic, how];
        Process::start(&mut node::command(&home, &arguments))
    };
    let process = match announced {
        Announced::Ours => {
            machine.create("shared");
            machine.hyperdrive(&["seed", text(&machine.at("shared"))]);
            let facts = machine.json(&["info", text(&machine.at("shared"))]);
            peer(facts["discoveryKey"].as_str().expect("a topic"), "look")
        }
        Announced::Npm => {
            let key = Key::from([7; 32]);
            let process = peer(&key.discovery_key().to_string(), "announce");
            process.wait_for_line("announced");
            machine.mount_drive("theirs", &key.to_string());
            process
        }
    };
    let at = || {
        let status = machine.json(&["status"]);
        status["network"]["peers"][0]["remoteAddress"].as_str().map(str::to_owned)
    };
    within(MEETING, "a connection", || at().is_some());
    let (at, expected) = (at().expect("it stays"), there.public.to_string());
    assert_eq!(at.split(':').next(), Some(expected.as_str()), "not directly");
    process.wait_for_line("connected");
}

#[derive(Clone, Copy)]
enum Announced {
    Ours,
    Npm,
}

#[test]
fn npm_behind_a_cone() {
    meet_npm(Some(Nat::Cone), Some(Nat::Cone), Announced::Ours);
    meet_npm(Some(Nat::Cone), Some(Nat::Cone), Announced::Npm);
    meet_npm(None, Some(Nat::Cone), Announced::Npm);
}
