//! Both dial each other: one connection is left, and both know which.

use crate::world::{World, ms, secs};
use hyperswarm::swarm::CoreEvent;

#[test]
fn who_dial_each_other_at_once_keep_the_one_of_the_greater_key() {
    let mut retried = 0;
    for seed in 0..500 {
        let mut world = World::new(seed);
        let (a, b) = (world.add(), world.add());
        let topics = [world.topic(1), world.topic(2)];
        // Both are reachable.
        world.join(a, topics[0], hyperswarm::swarm::Join { client: false, ..Default::default() });
        world.join(b, topics[1], hyperswarm::swarm::Join { client: false, ..Default::default() });
        world.run(secs(3));
        let (key_a, key_b) = (world.key(a), world.key(b));
        world.with(a, |core, now| core.join_peer(now, key_b));
        let pause = world.random.below(150);
        world.run(ms(pause));
        world.with(b, |core, now| core.join_peer(now, key_a));
        world.run(ms(600));
        if !world.are_connected(a, b) {
            // Both have given up the one that the other kept: seldom, and soon mended.
            retried += 1;
            world.until(secs(10), |world| world.are_connected(a, b)).expect("they dial again");
        }
        world.run(secs(600));
        assert!(world.are_connected(a, b), "seed {seed}");
        for host in [a, b] {
            let stats = world.stats(host);
            assert_eq!((stats.connections, stats.connecting), (1, 0));
        }
        // If both dialled before either knew of the other.
        let dials = [a, b].map(|host| world.hosts[host].dials.len());
        if dials == [1, 1] && pause == 0 {
            let link = world.connected(a)[&b];
            let greater = if key_a > key_b { a } else { b };
            assert_eq!(world.dialler(link), Some(greater), "seed {seed}");
        }
    }
    assert!(retried <= 5, "{retried} of 500");
}

#[test]
fn exactly_at_once_none_is_lost() {
    for seed in 0..500 {
        let mut world = World::new(seed);
        let (a, b) = (world.add(), world.add());
        let topic = world.topic(1);
        for host in [a, b] {
            world.join(host, topic, hyperswarm::swarm::Join { client: false, ..Default::default() });
        }
        world.run(secs(3));
        let (key_a, key_b) = (world.key(a), world.key(b));
        world.with(a, |core, now| core.join_peer(now, key_b));
        world.with(b, |core, now| core.join_peer(now, key_a));
        world.run(secs(1));
        assert!(world.are_connected(a, b), "seed {seed}");
        let link = world.connected(a)[&b];
        assert_eq!(world.dialler(link), Some(if key_a > key_b { a } else { b }));
        world.run(secs(600));
        assert_eq!(world.connected(a)[&b], link, "it is left alone");
    }
}

#[test]
fn a_peer_that_comes_back_replaces_its_old_connection() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        let (here, there) = (world.add(), world.add());
        let topic = world.topic(1);
        world.join_both(here, topic);
        world.run(secs(3));
        world.join_both(there, topic);
        world.until(secs(10), |world| world.are_connected(here, there)).expect("they find each other");
        world.run(secs(30));
        // It is back before its end was noticed.
        world.kill(there);
        world.run(secs(1));
        world.start(there);
        world.join_both(there, topic);
        let took = world.until(secs(10), |world| world.are_connected(here, there));
        assert!(took.is_some(), "seed {seed}");
        let link = world.connected(here)[&there];
        world.run(secs(120));
        assert_eq!(world.connected(here).get(&there), Some(&link), "the old one's end does not touch it");
        let told = |wanted: fn(&CoreEvent) -> bool| {
            world.hosts[here].events.iter().filter(|(_, event)| wanted(event)).count()
        };
        let opened = told(|event| matches!(event, CoreEvent::Opened(_)));
        assert_eq!(told(|event| matches!(event, CoreEvent::Closed(_))), opened - 1);
    }
}

#[test]
fn many_who_join_at_once_in_both_roles() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let all: Vec<_> = (0..12).map(|_| world.add()).collect();
        let topic = world.topic(1);
        for host in &all {
            world.join_both(*host, topic);
        }
        world.run(secs(5));
        for host in &all {
            world.with(*host, |core, now| core.network_changed(now));
        }
        world.until(secs(60), |world| world.all_connected(&all)).expect("they find each other");
        world.run(secs(900));
        assert!(world.all_connected(&all), "seed {seed}");
        all.iter().for_each(|host| assert_eq!(world.stats(*host).connections, 11));
    }
}
