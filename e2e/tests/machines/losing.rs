//! Peers that die and come back, and a network that is gone for a while.

use crate::world::World;
use hyperspace_e2e::machine::{Machine, text, within};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// So soon a dead peer is noticed,
const NOTICED: Duration = Duration::from_secs(20);
/// and one that is back connected again.
const BACK: Duration = Duration::from_secs(10);
/// How long the network is gone.
const GONE: Duration = Duration::from_secs(60);

fn peers(machine: &Machine) -> usize {
    machine.json(&["status"])["network"]["peers"].as_array().map_or(0, Vec::len)
}

fn says(machine: &Machine, expected: &str) -> bool {
    fs::read_to_string(machine.at("theirs/report")).is_ok_and(|text| text == expected)
}

/// A writer and a reader that are connected.
fn pair(world: &mut World) -> (Machine, Machine, hyperspace_e2e::internet::Place) {
    let (here, there) = (world.internet.public(), world.internet.public());
    let (writer, reader) = (world.machine(&here), world.machine(&there));
    let key = writer.create("shared");
    fs::write(writer.at("shared/report"), "before").expect("a write");
    writer.hyperdrive(&["seed", text(&writer.at("shared"))]);
    reader.mount_drive("theirs", &key);
    assert!(says(&reader, "before"));
    (writer, reader, there)
}

#[test]
fn a_peer_that_is_killed_is_noticed_and_found_again() {
    let mut world = World::new();
    let (mut writer, reader, _) = pair(&mut world);
    writer.kill();
    within(NOTICED, "the end", || peers(&reader) == 0);
    // What is here is here.
    assert!(says(&reader, "before"));
    writer.restart();
    within(BACK, "the return", || peers(&reader) == 1);
    fs::write(writer.at("shared/report"), "after").expect("a write");
    within(BACK, "the news", || says(&reader, "after"));
}

#[test]
fn a_network_that_is_gone_for_a_minute() {
    let mut world = World::new();
    let (writer, reader, place) = pair(&mut world);
    world.internet.connect(&place, false);
    fs::write(writer.at("shared/report"), "meanwhile").expect("a write");
    within(NOTICED, "the end", || peers(&reader) == 0);
    // It is the time that matters: connections and announcements are given up in it.
    sleep(GONE);
    // Nothing that is here waits for the network.
    assert!(says(&reader, "before"));
    fs::write(reader.at("note"), "a note").expect("a write");
    world.internet.connect(&place, true);
    within(GONE, "the news", || says(&reader, "meanwhile"));
}
