//! Topics: who is found by them, and by whom not any more.

use crate::world::{World, ms, secs};
use hyperswarm::swarm::{Ask, Join};
use std::time::Duration;

const SERVER: Join = Join { server: true, client: false, limit: None };
const CLIENT: Join = Join { server: false, client: true, limit: None };

fn group(world: &mut World, count: usize) -> Vec<usize> {
    (0..count).map(|_| world.add()).collect()
}

#[test]
fn everyone_finds_everyone() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        let all = group(&mut world, 20);
        let topic = world.topic(1);
        for host in &all {
            world.join_both(*host, topic);
            let pause = world.random.below(2000);
            world.run(ms(pause));
        }
        let took = world.until(secs(120), |world| world.all_connected(&all)).expect("they find each other");
        assert!(took < secs(60), "{took:?}");
        // And so they stay.
        world.run(secs(3600));
        assert!(world.all_connected(&all));
        let rounds = world.hosts[0].asks.len();
        assert!((7..=9).contains(&rounds), "{rounds} rounds in an hour and some");
        for host in &all {
            let stats = world.stats(*host);
            assert_eq!((stats.connections, stats.connecting, stats.queued), (19, 0, 0));
            let peer = world.key(all[(*host + 1) % 20]);
            assert!(world.hosts[*host].core.peer(&peer).expect("it is known").is_connected);
        }
    }
}

#[test]
fn clients_find_servers_and_not_each_other() {
    let mut world = World::new(1);
    let (servers, clients) = (group(&mut world, 5), group(&mut world, 5));
    let topic = world.topic(1);
    for host in &servers {
        world.join(*host, topic, SERVER);
    }
    for host in &clients {
        world.join(*host, topic, CLIENT);
    }
    // Who looked too early looks again after ten minutes.
    world.run(secs(800));
    for server in &servers {
        assert_eq!(world.connected(*server).keys().copied().collect::<Vec<_>>(), clients);
        assert!(world.hosts[*server].dials.is_empty());
    }
    for client in &clients {
        assert_eq!(world.connected(*client).keys().copied().collect::<Vec<_>>(), servers);
        assert!(!world.is_known(&topic, *client));
        let peers: Vec<_> = world.hosts[*client].core.peers().collect();
        assert!(peers.iter().all(|peer| peer.topics == [topic] && peer.is_initiator));
    }
}

#[test]
fn thirty_to_one_and_one_to_thirty() {
    let mut world = World::new(2);
    let (one, many) = (world.add(), group(&mut world, 30));
    let topics = [world.topic(1), world.topic(2)];
    world.join(one, topics[0], SERVER);
    for host in &many {
        world.join(*host, topics[1], SERVER);
    }
    world.run(secs(3));
    for host in &many {
        world.join(*host, topics[0], CLIENT);
    }
    world.until(secs(20), |world| world.connected(one).len() == 30).expect("they come");
    let other = world.add();
    world.join(other, topics[1], CLIENT);
    // Not all are told of at once.
    world.until(secs(1500), |world| world.connected(other).len() == 30).expect("all are dialled");
}

#[test]
fn no_more_are_dialled_than_wanted() {
    let mut world = World::new(3);
    let (one, many) = (world.add(), group(&mut world, 100));
    let topic = world.topic(1);
    for host in &many {
        world.join(*host, topic, SERVER);
    }
    world.run(secs(5));
    world.join(one, topic, CLIENT);
    world.run(secs(120));
    // Each time, three nodes tell of twenty each.
    let connected = world.connected(one).len();
    assert!((30..=60).contains(&connected), "{connected}");
    world.run(secs(3600));
    assert_eq!(world.connected(one).len(), 64);
    // When some go, others take their place.
    let gone: Vec<_> = world.connected(one).into_keys().take(10).collect();
    gone.iter().for_each(|host| world.kill(*host));
    world
        .until(secs(800), |world| {
            let connected = world.connected(one);
            connected.len() == 64 && gone.iter().all(|host| !connected.contains_key(host))
        })
        .expect("others take their place");
}

#[test]
fn a_topic_may_be_limited() {
    let mut world = World::new(4);
    let (one, many) = (world.add(), group(&mut world, 15));
    let topic = world.topic(1);
    for host in &many {
        world.join(*host, topic, SERVER);
    }
    world.run(secs(5));
    world.join(one, topic, Join { server: false, client: true, limit: Some(4) });
    world.run(secs(4000));
    assert_eq!(world.connected(one).len(), 4);
}

#[test]
fn who_has_left_is_not_found() {
    let mut world = World::new(5);
    let (leaver, stayer) = (world.add(), world.add());
    let topic = world.topic(1);
    let session = world.join_both(leaver, topic);
    world.join_both(stayer, topic);
    world.until(secs(30), |world| world.are_connected(leaver, stayer)).expect("they find each other");
    assert!(world.is_known(&topic, leaver));
    let left = world.wait(leaver, secs(10), |core, now, wait| core.leave(now, session, Some(wait)));
    assert_eq!(left, Some(true));
    assert!(!world.is_known(&topic, leaver) && world.is_known(&topic, stayer));
    // The connection is the program's.
    assert!(world.are_connected(leaver, stayer));
    let late = world.add();
    world.join(late, topic, CLIENT);
    world.run(secs(30));
    assert_eq!(world.connected(late).keys().copied().collect::<Vec<_>>(), [stayer]);
    // Nothing of the topic is left.
    world.run(secs(3600));
    assert_eq!((world.stats(leaver).topics, world.is_known(&topic, leaver)), (0, false));
    // Joined again, it is found again.
    world.join_both(leaver, topic);
    world.run(secs(20));
    assert!(world.is_known(&topic, leaver));
}

#[test]
fn who_leaves_while_it_is_announced_is_not_found_either() {
    for pause in 0..40 {
        let mut world = World::new(pause);
        let host = world.add();
        let topic = world.topic(1);
        let session = world.join_both(host, topic);
        world.run(ms(50 * pause));
        let left = world.wait(host, secs(10), |core, now, wait| core.leave(now, session, Some(wait)));
        assert_eq!((left, world.is_known(&topic, host)), (Some(true), false));
        // Joined again in the middle of it, it is announced.
        let session = world.join_both(host, topic);
        world.run(secs(5));
        world.leave(host, session);
        world.run(ms(20 * pause));
        world.join_both(host, topic);
        world.run(secs(5));
        assert!(world.is_known(&topic, host));
    }
}

#[test]
fn a_topic_is_what_all_its_sessions_want() {
    let mut world = World::new(6);
    let host = world.add();
    let topic = world.topic(1);
    let both = world.join_both(host, topic);
    world.run(secs(5));
    let asked = |world: &World| world.hosts[host].asks.iter().map(|(_, _, ask)| *ask).collect::<Vec<_>>();
    assert_eq!(asked(&world), [Ask::Announce { clear: true }, Ask::Lookup]);
    // The new one before the old one goes: nothing is taken back in between.
    let again = world.join_both(host, topic);
    world.leave(host, both);
    world.run(secs(5));
    assert_eq!(asked(&world)[2..], [Ask::Announce { clear: false }]);
    // As a client only, it is not to be found any more.
    let client = world.join(host, topic, CLIENT);
    world.leave(host, again);
    world.run(secs(5));
    assert!(!world.is_known(&topic, host));
    assert_eq!(asked(&world).last(), Some(&Ask::Withdraw));
    world.run(secs(900));
    assert_eq!(asked(&world).last(), Some(&Ask::Lookup));
    // And as a server again.
    world.with(host, |core, now| core.join(now, client, topic, Join::default()));
    world.run(secs(5));
    assert!(world.is_known(&topic, host));
}

#[test]
fn fifty_topics_and_as_many_in_common() {
    let mut world = World::new(7);
    let all = group(&mut world, 10);
    for topic in 0..50 {
        let topic = world.topic(topic);
        for host in &all {
            world.join_both(*host, topic);
        }
    }
    world.until(secs(120), |world| world.all_connected(&all)).expect("they find each other");
    world.run(secs(1500));
    assert!(world.all_connected(&all));
    for host in &all {
        let stats = world.stats(*host);
        assert_eq!((stats.connections, stats.topics, stats.known), (9, 50, 9));
        assert!(world.hosts[*host].most_asking <= 16, "{}", world.hosts[*host].most_asking);
        assert!((0..50).all(|topic| world.is_known(&[topic; 32], *host)));
        // One that we have dialled, is known by all of them.
        let dialled = world.hosts[*host].core.peers().filter(|peer| peer.is_initiator);
        dialled.for_each(|peer| assert_eq!(peer.topics.len(), 50));
    }
    // All are taken back at the end, and connections go with it.
    let closed = world.wait(all[0], secs(20), |core, now, wait| core.close(now, wait));
    assert_eq!(closed, Some(true));
    assert!((0..50).all(|topic| !world.is_known(&[topic; 32], all[0])));
    world.run(secs(1));
    assert!(all[1..].iter().all(|host| world.connected(*host).len() == 8));
    assert_eq!(world.stats(all[0]).connections, 0);
}

#[test]
fn rounds_come_every_ten_to_twelve_minutes_and_sooner_after_a_failure() {
    let mut world = World::new(8);
    let host = world.add();
    let topic = world.topic(1);
    world.set_online(host, false);
    world.join_both(host, topic);
    world.run(secs(600));
    let times: Vec<_> = world.hosts[host].asks.iter().map(|(at, ..)| *at).collect();
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] < secs(30) && gaps.len() < 12, "{gaps:?}");
    assert!(gaps.iter().all(|gap| *gap > secs(10)), "{gaps:?}");
    // Back in the network, at once.
    world.set_online(host, true);
    world.until(secs(10), |world| world.is_known(&topic, host)).expect("it is announced");
    let before = world.hosts[host].asks.len();
    world.run(secs(5 * 3600));
    let times: Vec<_> = world.hosts[host].asks[before..].iter().map(|(at, ..)| *at).collect();
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap >= secs(600) && gap <= secs(722), "{gap:?}");
    }
    assert!(times.len() >= 24);
    assert!(world.is_known(&topic, host));
}
