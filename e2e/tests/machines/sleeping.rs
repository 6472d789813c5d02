//! Laptops that sleep: nothing of them runs, the clock that timers go by stands still, and
//! the one on the wall does not. They wake, and everything goes on.

use crate::meeting::{MEETING, peers, reads, seed, share};
use crate::world::World;
use hyperspace_e2e::internet::{Nat, Place};
use hyperspace_e2e::machine::{Machine, text, within};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// So long one sleeps.
const SLEEP: Duration = Duration::from_secs(2 * 3600);
/// So soon the others have noticed that it is gone.
const NOTICED: Duration = Duration::from_secs(20);
/// So soon after it is awake everything has been as before.
const RESUMED: Duration = Duration::from_secs(30);
/// A peer that was connected for so long is missed: it is sought for two minutes.
const MISSED: Duration = Duration::from_secs(15);

/// A machine that has never met anybody has the drive, and it has it from there.
fn is_found(world: &mut World, key: &str, report: &str, at: &Place) {
    let place = world.internet.public();
    let stranger = world.machine(&place);
    stranger.mount_drive("theirs", key);
    within(MEETING, "what the stranger reads", || reads(&stranger, report));
    assert!(peers(&stranger).contains(&at.public), "{:?}", peers(&stranger));
}

/// It sleeps in one network, and wakes in another.
#[test]
fn a_writer_that_is_carried_elsewhere() {
    let mut world = World::new();
    let [mut home, mut cafe] = [Nat::Cone, Nat::Cone].map(|nat| world.internet.router(nat));
    let mut place = world.internet.behind(&mut home);
    let mut laptop = world.machine_that_sleeps(&place);
    let there = world.internet.public();
    let reader = world.machine(&there);
    let key = share(&laptop, &reader);
    assert_eq!(peers(&reader), [home.public]);
    sleep(MISSED);

    world.internet.connect(&place, false);
    let since = laptop.sleep();
    within(NOTICED, "the end", || peers(&reader).is_empty());
    world.internet.carry(&mut place, &mut cafe);
    laptop.wake(since, SLEEP);

    fs::write(laptop.at("shared/report"), "awake").expect("a write");
    within(RESUMED, "the news", || reads(&reader, "awake"));
    assert_eq!(peers(&reader), [cafe.public]);
    is_found(&mut world, &key, "awake", &place);
}

/// It wakes where it fell asleep, and sees nothing of what has changed: its router has
/// another address, and another peer has what it reads.
#[test]
fn a_reader_that_stays_where_it_is() {
    let mut world = World::new();
    let mut home = world.internet.router(Nat::Cone);
    let mut place = world.internet.behind(&mut home);
    let [here, there] = [(); 2].map(|()| world.internet.public());
    let mut writer = world.machine(&here);
    let mut laptop = world.machine_that_sleeps(&place);
    let key = share(&writer, &laptop);
    assert_eq!(peers(&laptop), [here.public]);

    world.internet.connect(&place, false);
    let since = laptop.sleep();
    fs::write(writer.at("shared/report"), "meanwhile").expect("a write");
    let other = seeder(&world, &there, &key, "meanwhile");
    writer.stop();
    world.internet.renew(&mut home);
    world.internet.connect(&place, true);
    laptop.wake(since, SLEEP);

    within(RESUMED, "the news", || reads(&laptop, "meanwhile"));
    within(NOTICED, "the end of the other", || peers(&laptop) == [there.public]);
    // And now it has something itself.
    place.public = home.public;
    is_found(&mut world, &seed(&laptop, "mine"), "mine", &place);
    drop(other);
}

/// A machine that seeds somebody else's drive, and has all of it.
fn seeder(world: &World, place: &Place, key: &str, report: &str) -> Machine {
    let seeder = world.machine(place);
    seeder.mount_drive("theirs", key);
    within(MEETING, "what the seeder reads", || reads(&seeder, report));
    seeder.hyperdrive(&["seed", text(&seeder.at("theirs"))]);
    seeder.hyperdrive(&["download", text(&seeder.at("theirs"))]);
    seeder
}
