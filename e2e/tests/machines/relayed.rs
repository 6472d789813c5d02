//! Both behind symmetric routers: they meet at a relay, which is ours or npm's, and so are
//! they.

use crate::meeting::{Announced, WithNpm, peers, seed, share};
use crate::world::World;
use hyperspace_e2e::internet::{Nat, Place};
use hyperspace_e2e::machine::{Machine, text};
use hyperspace_e2e::node;
use hyperspace_e2e::told::hex;
use serde_json::json;

fn behind(world: &mut World) -> [Place; 2] {
    [Nat::Symmetric; 2].map(|nat| world.place(Some(nat)))
}

/// Which of the two has been told of the relay.
#[derive(Clone, Copy, Debug)]
enum Told {
    Ours,
    Npm,
}

/// One of ours, and the arguments for npm's.
fn start<'a>(world: &World, place: &Place, relay: &'a str, told: Told) -> (Machine, Vec<&'a str>) {
    match told {
        Told::Ours => (world.machine_with(place, &["--relay", relay]), vec![]),
        Told::Npm => (world.machine(place), vec!["--relay", relay]),
    }
}

/// npm's corestore 7 reads a drive that ours seeds.
fn npm_reads(told: Told) {
    let mut world = World::new();
    let place = world.place(None);
    let (_relay, key, _home) = world.relay(&place);
    let [here, there] = behind(&mut world);
    let (machine, more) = start(&world, &here, &key, told);
    let drive = seed(&machine, "over the relay");
    let facts = machine.json(&["info", text(&machine.at("shared"))]);
    let topic = facts["discoveryKey"].as_str().expect("a topic");
    let home = world.scratch(&there);
    let folder = home.join("home/store");
    let arguments = ["net/machine-peer.js", "read", world.bootstrap(), topic, text(&folder), &drive];
    let theirs = node::json(&home, &[&arguments[..], &more].concat(), "");
    assert_eq!(theirs["hosts"], json!([place.public]), "not at the relay");
    assert_eq!(theirs["content"]["blocks"], json!([hex(b"over the relay")]));
}

/// Two of ours meet at one of ours.
fn meet_at_ours(writer_is_told: bool, reader_is_told: bool) {
    let mut world = World::new();
    let place = world.place(None);
    let (_relay, key, _home) = world.relay(&place);
    let told = |told: bool| if told { vec!["--relay", &key] } else { vec![] };
    let [here, there] = behind(&mut world);
    let writer = world.machine_with(&here, &told(writer_is_told));
    let reader = world.machine_with(&there, &told(reader_is_told));
    share(&writer, &reader);
    assert_eq!(peers(&reader), [place.public], "not at the relay");
}

#[test]
fn both_have_been_told() {
    meet_at_ours(true, true);
}

#[test]
fn one_has_been_told() {
    meet_at_ours(true, false);
    meet_at_ours(false, true);
}

#[test]
fn npm_dials_ours_and_has_been_told() {
    npm_reads(Told::Npm);
}

#[test]
fn npm_dials_ours_which_has_been_told() {
    npm_reads(Told::Ours);
}

/// npm's hyperswarm announces a topic, and ours asks it for a core.
fn npm_is_asked(told: Told) {
    let mut world = World::new();
    let place = world.place(None);
    let (_relay, key, _home) = world.relay(&place);
    let [here, there] = behind(&mut world);
    let (machine, more) = start(&world, &here, &key, told);
    let met = WithNpm::meet(&world, machine, &there, Announced::Npm, &more);
    assert_eq!(peers(&met.machine), [place.public], "not at the relay");
    met.npm.wait_for_line(&format!("connected to {}", place.public));
    met.npm.wait_for_line(&format!("heard from {}", place.public));
}

#[test]
fn ours_dials_npm_which_has_been_told() {
    npm_is_asked(Told::Npm);
}

#[test]
fn ours_dials_npm_and_has_been_told() {
    npm_is_asked(Told::Ours);
}

#[test]
fn ours_meet_at_a_relay_of_npm() {
    let mut world = World::new();
    let place = world.place(None);
    let (_relay, key, _home) = world.npm_relay(&place);
    let [writer, reader] = behind(&mut world).map(|place| world.machine_with(&place, &["--relay", &key]));
    share(&writer, &reader);
    assert_eq!(peers(&reader), [place.public], "not at the relay");
    assert_eq!(peers(&writer), [place.public], "not at the relay");
}
