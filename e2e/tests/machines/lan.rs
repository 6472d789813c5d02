//! Behind one router, which does not hairpin: they meet inside, by the addresses that only
//! they know.

use crate::meeting::{Announced, WithNpm, peers, share};
use crate::world::World;
use hyperspace_e2e::internet::{Nat, Place};

/// A world, and two machines in it that are neighbours.
fn neighbours(nat: Nat) -> (World, [Place; 2]) {
    let mut world = World::new();
    let mut router = world.internet.router(nat);
    let places = [(); 2].map(|()| world.internet.behind(&mut router));
    (world, places)
}

fn meet(nat: Nat) {
    let (world, places) = neighbours(nat);
    let [writer, reader] = places.each_ref().map(|place| world.machine(place));
    share(&writer, &reader);
    assert_eq!(peers(&reader), [places[0].own]);
    assert_eq!(peers(&writer), [places[1].own]);
}

#[test]
fn behind_one_cone() {
    meet(Nat::Cone);
}

#[test]
fn behind_one_symmetric_router() {
    meet(Nat::Symmetric);
}

fn meet_npm(nat: Nat, announced: Announced) {
    let (world, [here, there]) = neighbours(nat);
    let met = WithNpm::meet(&world, world.machine(&here), &there, announced, &[]);
    assert_eq!(peers(&met.machine), [there.own]);
    met.npm.wait_for_line(&format!("connected to {}", here.own));
}

#[test]
fn npm_behind_the_same_cone() {
    meet_npm(Nat::Cone, Announced::Ours);
    meet_npm(Nat::Cone, Announced::Npm);
}

#[test]
fn npm_behind_the_same_symmetric_router() {
    meet_npm(Nat::Symmetric, Announced::Ours);
    meet_npm(Nat::Symmetric, Announced::Npm);
}
