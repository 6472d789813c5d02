//! Behind routers that translate addresses: the kernel's.

use crate::meeting::{Announced, WithNpm, peers, share};
use crate::world::World;
use hyperspace_e2e::internet::Nat;

/// The writer and the reader meet directly, wherever each is.
fn meet(writer: Option<Nat>, reader: Option<Nat>) {
    let mut world = World::new();
    let (theirs, ours) = (world.place(writer), world.place(reader));
    let (writer, reader) = (world.machine(&theirs), world.machine(&ours));
    share(&writer, &reader);
    let status = reader.json(&["status"]);
    assert_eq!(peers(&reader), [theirs.public], "not directly: {status}");
    assert_eq!(status["network"]["peers"][0]["type"], "udx", "{status}");
}

/// The same, npm's hyperswarm and one of ours.
fn meet_npm(ours: Option<Nat>, npm: Option<Nat>, announced: Announced) {
    let mut world = World::new();
    let (here, there) = (world.place(ours), world.place(npm));
    let machine = world.machine(&here);
    let met = WithNpm::meet(&world, machine, &there, announced, &[]);
    assert_eq!(peers(&met.machine), [there.public], "not directly");
    met.npm.wait_for_line(&format!("connected to {}", here.public));
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

// One guesses the other's port, which takes 5 s on average, and over 30 s once in 500 times.

#[test]
fn cone_and_symmetric() {
    meet(Some(Nat::Cone), Some(Nat::Symmetric));
}

#[test]
fn symmetric_and_cone() {
    meet(Some(Nat::Symmetric), Some(Nat::Cone));
}

#[test]
fn npm_behind_a_cone() {
    meet_npm(Some(Nat::Cone), Some(Nat::Cone), Announced::Ours);
    meet_npm(Some(Nat::Cone), Some(Nat::Cone), Announced::Npm);
    meet_npm(None, Some(Nat::Cone), Announced::Npm);
}

#[test]
fn npm_behind_a_symmetric_router() {
    meet_npm(Some(Nat::Cone), Some(Nat::Symmetric), Announced::Ours);
    meet_npm(Some(Nat::Cone), Some(Nat::Symmetric), Announced::Npm);
}

#[test]
fn npm_behind_a_cone_and_ours_behind_a_symmetric_router() {
    meet_npm(Some(Nat::Symmetric), Some(Nat::Cone), Announced::Ours);
    meet_npm(Some(Nat::Symmetric), Some(Nat::Cone), Announced::Npm);
}
