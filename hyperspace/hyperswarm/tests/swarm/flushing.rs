//! Waiting for what is under way.

use crate::world::{Host, World, ms, secs};
use hyperswarm::dht::Id;
use hyperswarm::swarm::{Config, Join};
use std::time::Duration;

const SERVER: Join = Join { server: true, client: false, limit: None };
const CLIENT: Join = Join { server: false, client: true, limit: None };

fn flush(world: &mut World, host: Host, most: Duration) -> Option<bool> {
    world.wait(host, most, |core, _, wait| core.flush(wait))
}

#[test]
fn a_flush_ends_when_everybody_who_was_found_has_been_dialled() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let many: Vec<_> = (0..10).map(|_| world.add()).collect();
        let one = world.add();
        let topic = world.topic(1);
        for host in &many {
            world.join(*host, topic, SERVER);
        }
        world.run(secs(3));
        // Some of them are gone, and not known to be.
        many[..3].iter().for_each(|host| world.kill(*host));
        world.join(one, topic, CLIENT);
        let started = world.now;
        assert_eq!(flush(&mut world, one, secs(60)), Some(true));
        assert!(world.now - started > ms(500), "the round comes first");
        assert_eq!(world.connected(one).len(), 7, "seed {seed}");
        assert!(world.hosts[one].dials.len() >= 10);
        // With nothing to do, at once.
        let now = world.now;
        assert_eq!((flush(&mut world, one, secs(60)), world.now), (Some(true), now));
    }
}

#[test]
fn of_a_server_it_ends_when_it_is_announced() {
    let mut world = World::new(1);
    let host = world.add();
    let topic = world.topic(1);
    let session = world.join(host, topic, SERVER);
    let flushed = world.wait(host, secs(10), |core, _, wait| core.flush_topic(session, wait));
    assert_eq!((flushed, world.is_known(&topic, host)), (Some(true), true));
    // Without a network, it ends, too.
    world.set_online(host, false);
    world.with(host, |core, now| core.refresh(now, session));
    let flushed = world.wait(host, secs(10), |core, _, wait| core.flush_topic(session, wait));
    assert_eq!(flushed, Some(false));
}

#[test]
fn it_ends_when_no_more_may_be_dialled() {
    let mut world = World::new(2);
    let many: Vec<_> = (0..15).map(|_| world.add()).collect();
    world.config = Config { max_peers: 5, ..Config::default() };
    let one = world.add();
    let topic = world.topic(1);
    for host in &many {
        world.join(*host, topic, SERVER);
    }
    world.run(secs(3));
    world.join(one, topic, CLIENT);
    assert_eq!(flush(&mut world, one, secs(60)), Some(true));
    assert_eq!(world.connected(one).len(), 5);
}

#[test]
fn it_is_over_when_the_swarm_stops() {
    let mut world = World::new(3);
    let host = world.add();
    let topic = world.topic(1);
    world.join_both(host, topic);
    let (first, second) = (world.wait_id(), world.wait_id());
    world.with(host, |core, _| core.flush(first));
    let suspended = world.wait(host, secs(10), |core, now, wait| core.suspend(now, wait));
    assert_eq!((suspended, world.done(host, ms(1), first)), (Some(true), Some(false)));
    assert_eq!(flush(&mut world, host, ms(1)), Some(false));
    world.with(host, |core, now| core.resume(now));
    world.with(host, |core, _| core.flush(second));
    let closed = world.wait(host, secs(10), |core, now, wait| core.close(now, wait));
    assert_eq!((closed, world.done(host, ms(1), second)), (Some(true), Some(false)));
}

#[test]
fn a_flush_is_not_held_up_by_those_who_come_later_or_are_left() {
    let mut world = World::new(4);
    let one = world.add();
    let topic = world.topic(1);
    let gone: Vec<_> = (0..9).map(|_| world.add()).collect();
    for host in &gone {
        world.join(*host, topic, SERVER);
    }
    world.run(secs(3));
    gone.iter().for_each(|host| world.kill(*host));
    let session = world.join(one, topic, CLIENT);
    world.until(secs(10), |world| world.stats(one).queued >= 5).expect("they are found");
    let flush = world.wait_id();
    world.with(one, |core, _| core.flush(flush));
    world.leave(one, session);
    // Only those who are being dialled are awaited.
    assert_eq!(world.done(one, secs(5), flush), Some(true));
    world.run(secs(60));
    assert_eq!((world.stats(one).known, world.stats(one).queued), (0, 0));
}

#[test]
fn who_was_found_is_expected_until_he_was_dialled_once() {
    let mut world = World::new(5);
    let (one, other) = (world.add(), world.add());
    let (topic, unrelated) = (world.topic(1), world.topic(2));
    world.join(other, topic, SERVER);
    world.join(one, unrelated, CLIENT);
    world.run(secs(3));
    // He is gone, and not known to be.
    world.kill(other);
    let expecting = |world: &mut World, topic| {
        let wait = world.wait_id();
        world.with(one, |core, now| core.expect(now, topic, secs(60), wait));
        wait
    };
    let wait = expecting(&mut world, Some(topic));
    assert_eq!(world.done(one, ms(1), wait), Some(true), "nobody is found yet");
    world.join(one, topic, CLIENT);
    world.until(secs(10), |world| world.stats(one).connecting == 1).expect("he is dialled");
    // Who is in a hurry waits only for those who have answered.
    let hurried = world.wait_id();
    world.with(one, |core, now| core.expect(now, Some(topic), ms(500), hurried));
    assert_eq!((world.done(one, ms(499), hurried), world.done(one, ms(2), hurried)), (None, Some(true)));
    let [of_topic, of_any, of_unrelated] =
        [Some(topic), None, Some(unrelated)].map(|topic| expecting(&mut world, topic));
    assert_eq!(world.done(one, ms(1), of_unrelated), Some(true));
    assert_eq!((world.done(one, ms(1), of_topic), world.done(one, ms(1), of_any)), (None, None));
    world.until(secs(60), |world| world.stats(one).connecting == 0).expect("that fails");
    assert_eq!((world.done(one, ms(1), of_topic), world.done(one, ms(1), of_any)), (Some(true), Some(true)));
    // He is dialled again, which nobody waits for.
    world.until(secs(60), |world| world.stats(one).connecting == 1).expect("he is dialled again");
    for topic in [Some(topic), None] {
        let wait = expecting(&mut world, topic);
        assert_eq!(world.done(one, ms(1), wait), Some(true));
    }
}

#[test]
fn who_has_answered_is_waited_for_until_there_is_a_way_to_him() {
    let mut world = World::new(6);
    let (one, other) = (world.add(), world.add());
    let topic = world.topic(1);
    world.join(other, topic, SERVER);
    world.run(secs(3));
    world.kill(other);
    world.join(one, topic, CLIENT);
    world.until(secs(10), |world| world.stats(one).connecting == 1).expect("he is dialled");
    let wait = world.wait_id();
    world.with(one, |core, now| core.expect(now, Some(topic), ms(100), wait));
    let dialled = world.dialled(one);
    world.with(one, |core, _| core.answered(dialled));
    assert_eq!(world.done(one, secs(1), wait), None);
    // In the end, there is none.
    world.until(secs(60), |world| world.stats(one).connecting == 0).expect("that fails");
    assert_eq!(world.done(one, ms(1), wait), Some(true));
}

#[test]
fn a_topic_is_searched_if_nobody_is_connected_and_not_all_the_time() {
    let mut world = World::new(7);
    let (one, other) = (world.add(), world.add());
    let topics = [world.topic(1), world.topic(2)];
    for topic in topics {
        world.join(one, topic, CLIENT);
    }
    world.run(secs(60));
    let search = |world: &mut World, topic: Option<Id>| {
        let before = world.stats(one).refreshes;
        world.with(one, |core, now| core.search(now, topic.as_ref(), secs(30)));
        world.run(secs(5));
        world.stats(one).refreshes - before
    };
    assert_eq!(search(&mut world, Some(topics[0])), 1);
    assert_eq!((search(&mut world, Some(topics[0])), search(&mut world, None)), (0, 1), "a while ago");
    world.run(secs(30));
    assert_eq!(search(&mut world, None), 2);
    // Who comes after that would be found in ten minutes.
    world.join(other, topics[0], SERVER);
    world.run(secs(30));
    assert_eq!(world.connected(one).len(), 0);
    assert_eq!((search(&mut world, Some(topics[0])), world.connected(one).len()), (1, 1));
    world.run(secs(60));
    assert_eq!((search(&mut world, Some(topics[0])), search(&mut world, None)), (0, 1), "he is connected");
}
