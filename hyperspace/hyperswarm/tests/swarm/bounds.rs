//! Strangers: what they can make a swarm keep, and whom it lets in.

use crate::world::{World, ms, secs};
use hyperswarm::PublicKey;
use hyperswarm::swarm::{Config, CoreEvent, Firewall, Found, Gate, Join, SessionId};
use std::sync::Arc;

const SERVER: Join = Join { server: true, client: false, limit: None };
const CLIENT: Join = Join { server: false, client: true, limit: None };

fn stranger(number: u64) -> PublicKey {
    let mut key = [0xee; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

#[test]
fn a_liar_can_make_us_know_only_so_many() {
    let mut world = World::new(1);
    let host = world.add();
    let found = |range: std::ops::Range<u64>| -> Vec<Found> {
        range.map(|number| Found { key: stranger(number), relays: Vec::new() }).collect()
    };
    let mut next = 0;
    let mut sessions = Vec::new();
    for topic in 0..12 {
        sessions.push(world.join(host, [topic; 32], CLIENT));
        let query = world.hosts[host].last_query.expect("it asks");
        for _ in 0..200 {
            world.with(host, |core, now| core.found(now, query, &found(next..next + 20)));
            next += 20;
        }
        let stats = world.stats(host);
        assert!(stats.known <= 1024 * (usize::from(topic) + 1) + 8, "{stats:?}");
        assert!(stats.known <= 8192 + 8 && stats.connecting <= 3, "{stats:?}");
    }
    assert!(world.stats(host).known >= 8192);
    // Those that are left are forgotten with their topics.
    sessions.into_iter().for_each(|session| world.leave(host, session));
    world.run(secs(60));
    assert_eq!((world.stats(host).known, world.stats(host).queued), (0, 0));
}

#[test]
fn so_many_may_come_and_no_more() {
    let mut world = World::new(2);
    world.config = Config { max_server_connections: 10, ..Config::default() };
    let server = world.add();
    let many: Vec<_> = (0..15).map(|_| world.add()).collect();
    world.join(server, [1; 32], SERVER);
    world.run(secs(3));
    for host in &many {
        world.join(*host, [1; 32], CLIENT);
    }
    world.run(secs(30));
    assert_eq!(world.connected(server).len(), 10);
    assert!(world.stats(server).refused >= 5);
    // A place that is free is taken.
    let gone: Vec<_> = world.connected(server).into_keys().take(3).collect();
    gone.iter().for_each(|host| world.kill(*host));
    world.until(secs(900), |world| world.connected(server).len() == 10).expect("others come");
}

#[test]
fn who_is_banned_neither_comes_nor_is_dialled() {
    let mut world = World::new(3);
    let (one, other) = (world.add(), world.add());
    let key = world.key(other);
    world.with(one, |core, now| core.ban(now, key));
    world.with(one, |core, now| core.ban(now, key));
    for host in [one, other] {
        world.join_both(host, [1; 32]);
    }
    world.run(secs(900));
    assert!(world.connected(one).is_empty() && world.hosts[one].dials.is_empty());
    let banned = world.hosts[one].events.iter().filter(|(_, event)| *event == CoreEvent::Banned(key)).count();
    assert_eq!((banned, world.stats(one).banned), (1, 1));
    world.with(one, |core, _| core.unban(&key));
    world.until(secs(900), |world| world.are_connected(one, other)).expect("it is let in again");
    // One that is connected stays so.
    world.with(one, |core, now| core.ban(now, key));
    world.run(secs(60));
    assert!(world.are_connected(one, other));
    world.kill(other);
    world.run(secs(60));
    assert_eq!((world.connected(one).len(), world.stats(one).known), (0, 0));
}

#[test]
fn the_firewall_refuses_both_ways() {
    let mut world = World::new(4);
    let (liked, disliked) = (world.add(), world.add());
    let refused = world.key(disliked);
    let firewall: Firewall = Arc::new(move |key, _| *key == refused);
    let one = world.add_with(|key| Gate::new(key, Some(firewall)));
    for host in [liked, disliked, one] {
        world.join_both(host, [1; 32]);
    }
    world.run(secs(900));
    assert_eq!(world.connected(one).keys().copied().collect::<Vec<_>>(), [liked]);
    assert!(world.hosts[one].dials.iter().all(|(_, key)| *key != refused));
    assert!(world.are_connected(liked, disliked));
}

#[test]
fn nobody_is_dialled_while_nobody_takes_connections() {
    let mut world = World::new(5);
    let (one, other) = (world.add(), world.add());
    world.join(other, [1; 32], SERVER);
    world.run(secs(3));
    world.with(one, |core, now| core.hold(now, true));
    world.join(one, [1; 32], CLIENT);
    world.run(secs(60));
    assert_eq!((world.hosts[one].dials.len(), world.stats(one).queued), (0, 1));
    world.with(one, |core, now| core.hold(now, false));
    world.until(secs(1), |world| world.are_connected(one, other)).expect("it is dialled now");
}

#[test]
fn nonsense_from_the_driver_does_nothing() {
    let mut world = World::new(6);
    let host = world.add();
    let own = world.key(host);
    world.with(host, |core, now| {
        core.join_peer(now, own);
        core.leave(now, SessionId(99), None);
        core.refresh(now, SessionId(99));
        core.listening(now, true);
        core.unlistened(now);
        core.resume(now);
        assert_eq!(core.incoming(now, own, true), None);
        core.handle_timeout(now);
    });
    world.run(ms(10));
    assert_eq!((world.stats(host).known, world.hosts[host].events.len()), (0, 0));
}
