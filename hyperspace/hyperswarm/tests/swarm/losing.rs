//! Peers that go, and come back; and when the network or the time does so.

use crate::world::{Host, World, ms, secs};
use hyperswarm::swarm::Join;
use std::time::Duration;

const SERVER: Join = Join { server: true, client: false, limit: None };
const CLIENT: Join = Join { server: false, client: true, limit: None };

/// One who only serves, and one who only looks for it: they are connected for a while.
fn connected(world: &mut World) -> (Host, Host) {
    let (server, client) = (world.add(), world.add());
    let topic = world.topic(1);
    world.join(server, topic, SERVER);
    world.run(secs(3));
    world.join(client, topic, CLIENT);
    world.until(secs(10), |world| world.are_connected(client, server)).expect("it is found");
    world.run(secs(30));
    (server, client)
}

#[test]
fn who_fails_four_times_is_dropped_until_it_is_found_again() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let (dead, one) = (world.add(), world.add());
        let topic = world.topic(1);
        world.join(dead, topic, SERVER);
        world.run(secs(3));
        world.kill(dead);
        world.join(one, topic, CLIENT);
        world.run(secs(500));
        let dials: Vec<_> = world.hosts[one].dials.iter().map(|(at, _)| *at).collect();
        let gaps: Vec<_> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(dials.len(), 4, "{gaps:?}");
        // About 5, 15 and 15 seconds, give or take a third, and the time of a dial.
        for (gap, most) in gaps.iter().zip([11, 25, 25]) {
            assert!(*gap > secs(3) && *gap < secs(most), "{gaps:?}");
        }
        assert_eq!(world.stats(one).known, 0);
        // The DHT remembers it a while longer.
        world.run(secs(300));
        assert_eq!(world.hosts[one].dials.len(), 8);
    }
}

#[test]
fn a_killed_peer_is_noticed_and_connected_soon_after_it_is_back() {
    for (seed, away) in (0..60).zip([0, 1, 3, 8, 15, 20, 30, 45, 60, 90].into_iter().cycle()) {
        let mut world = World::new(seed);
        let (server, client) = connected(&mut world);
        world.kill(server);
        let noticed = world.until(secs(20), |world| world.connected(client).is_empty());
        assert!(noticed.is_some(), "seed {seed}");
        world.run(secs(away));
        world.start(server);
        world.join(server, [1; 32], SERVER);
        let back = world.until(secs(60), |world| world.are_connected(client, server)).expect("it is dialled");
        assert!(back < secs(10) + ms(3300), "away for {away} s: {back:?}");
    }
}

#[test]
fn a_killed_client_comes_back_by_itself() {
    let mut world = World::new(1);
    let (server, client) = connected(&mut world);
    world.kill(client);
    world.until(secs(20), |world| world.connected(server).is_empty()).expect("it is noticed");
    world.run(secs(120));
    world.start(client);
    world.join(client, [1; 32], CLIENT);
    let back = world.until(secs(10), |world| world.are_connected(client, server));
    assert!(back.is_some());
}

#[test]
fn the_network_is_gone_for_a_minute() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let here: Vec<_> = (0..4).map(|_| world.add()).collect();
        let there: Vec<_> = (0..4).map(|_| world.add()).collect();
        let topic = world.topic(1);
        let all = [here.clone(), there].concat();
        for host in &all {
            world.join_both(*host, topic);
        }
        world.until(secs(60), |world| world.all_connected(&all)).expect("they find each other");
        world.run(secs(60));
        here.iter().for_each(|host| world.set_online(*host, false));
        world.run(secs(60));
        assert!(here.iter().all(|host| world.connected(*host).is_empty()));
        here.iter().for_each(|host| world.set_online(*host, true));
        let took = world.until(secs(60), |world| world.all_connected(&all)).expect("they find each other");
        assert!(took < secs(15), "seed {seed}: {took:?}");
        world.run(secs(900));
        assert!(world.all_connected(&all));
    }
}

#[test]
fn a_short_break_is_not_noticed() {
    let mut world = World::new(2);
    let (server, client) = connected(&mut world);
    let link = world.connected(client)[&server];
    world.set_online(server, false);
    world.run(secs(8));
    world.set_online(server, true);
    world.run(secs(60));
    assert_eq!(world.connected(client).get(&server), Some(&link));
}

#[test]
fn the_machine_sleeps_for_a_night() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let (server, client) = (world.add(), world.add());
        for topic in 0..50 {
            world.join(server, [topic; 32], SERVER);
            world.join(client, [topic; 32], CLIENT);
        }
        // Somebody who waits to be dialled again.
        let dead = world.key(server);
        world.run(secs(700));
        world.kill(server);
        world.until(secs(30), |world| world.connected(client).is_empty()).expect("it is noticed");
        let (dials, asks) = (world.hosts[client].dials.len(), world.hosts[client].asks.len());
        world.jump(secs(8 * 3600));
        world.run(secs(2));
        // Not all fifty at once, and nobody as often as it was missed.
        let burst = world.hosts[client].asks.len() - asks;
        assert!(burst < 10, "seed {seed}: {burst} topics at once");
        assert!(world.hosts[client].dials.len() - dials <= 2);
        assert!(world.hosts[client].dials.iter().all(|(_, key)| *key == dead));
        world.run(secs(125));
        let asked = world.hosts[client].asks.len() - asks;
        assert!((45..=60).contains(&asked), "seed {seed}: {asked} rounds");
    }
}

#[test]
fn an_explicit_peer_is_not_given_up() {
    let mut world = World::new(3);
    let (server, client) = (world.add(), world.add());
    let key = world.key(server);
    // Never was in any topic that the client knows of.
    world.join(server, [9; 32], SERVER);
    world.run(secs(3));
    world.with(client, |core, now| core.join_peer(now, key));
    world.until(secs(5), |world| world.are_connected(client, server)).expect("it is there");
    world.kill(server);
    world.run(secs(4 * 3600));
    let dials = world.hosts[client].dials.len();
    assert!((20..80).contains(&dials), "{dials} in four hours");
    assert_eq!(world.stats(client).known, 1);
    world.start(server);
    world.join(server, [9; 32], SERVER);
    world.until(secs(1000), |world| world.are_connected(client, server)).expect("it is dialled again");
    // As one of many, it is forgotten.
    world.with(client, |core, _| core.leave_peer(&key));
    assert!(world.are_connected(client, server));
    world.kill(server);
    world.run(secs(1000));
    assert_eq!(world.stats(client).known, 0);
}

#[test]
fn explicit_peers_are_dialled_though_there_are_enough_others() {
    let mut world = World::new(4);
    let many: Vec<_> = (0..6).map(|_| world.add()).collect();
    let chosen = world.add();
    world.config.max_peers = 5;
    let one = world.add();
    for host in &many {
        world.join(*host, [1; 32], SERVER);
    }
    world.join(chosen, [2; 32], SERVER);
    world.run(secs(3));
    world.join(one, [1; 32], CLIENT);
    world.run(secs(30));
    assert_eq!(world.connected(one).len(), 5);
    let key = world.key(chosen);
    world.with(one, |core, now| core.join_peer(now, key));
    world.until(secs(5), |world| world.are_connected(one, chosen)).expect("it is dialled at once");
}

#[test]
fn while_suspended_nothing_happens_and_then_everything() {
    let mut world = World::new(5);
    let (server, client) = connected(&mut world);
    let suspended = world.wait(server, secs(10), |core, now, wait| core.suspend(now, wait));
    assert_eq!((suspended, world.is_known(&[1; 32], server)), (Some(true), false));
    world.run(secs(1));
    assert!(world.connected(client).is_empty() && world.connected(server).is_empty());
    let (asks, dials) = (world.hosts[server].asks.len(), world.hosts[server].dials.len());
    let before = world.hosts[client].dials.len();
    world.run(secs(60));
    assert!(world.hosts[client].dials.len() > before, "the client goes on");
    assert_eq!((world.hosts[server].asks.len(), world.hosts[server].dials.len()), (asks, dials));
    world.with(server, |core, now| core.resume(now));
    let back = world.until(secs(15), |world| world.are_connected(client, server));
    assert!(back.is_some());
    assert!(world.is_known(&[1; 32], server));
    // Suspended and resumed in one breath.
    let wait = world.wait_id();
    world.with(server, |core, now| core.suspend(now, wait));
    world.with(server, |core, now| core.resume(now));
    assert_eq!(world.done(server, ms(1), wait), Some(false));
    world.until(secs(15), |world| world.are_connected(client, server)).expect("it is there again");
    assert!(world.is_known(&[1; 32], server));
}

#[test]
fn suspended_as_soon_as_it_is_announced_it_is_announced_again() {
    let mut world = World::new(8);
    let host = world.add();
    let session = world.join_both(host, [1; 32]);
    let flushed = world.wait(host, secs(10), |core, _, wait| core.flush_topic(session, wait));
    assert_eq!((flushed, world.is_known(&[1; 32], host)), (Some(true), true));
    // It was about to look who else was announced meanwhile.
    let suspended = world.wait(host, secs(10), |core, now, wait| core.suspend(now, wait));
    assert_eq!((suspended, world.is_known(&[1; 32], host)), (Some(true), false));
    world.with(host, |core, now| core.resume(now));
    let flushed = world.wait(host, secs(10), |core, _, wait| core.flush_topic(session, wait));
    assert_eq!((flushed, world.is_known(&[1; 32], host)), (Some(true), true));
}

#[test]
fn who_is_reached_no_more_tries_again() {
    let mut world = World::new(6);
    let (server, client) = connected(&mut world);
    // Its socket failed.
    world.hosts[server].listening = false;
    world.with(server, |core, now| core.unlistened(now));
    world.run(secs(12));
    assert!(world.hosts[server].listening);
    let late = world.add();
    world.join(late, [1; 32], CLIENT);
    world.until(secs(10), |world| world.are_connected(late, server)).expect("it is reached");
    assert!(world.are_connected(client, server));
}

/// However it ends: the swarm's own count is right.
#[test]
fn counts_are_right_after_a_wild_hour() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        let all: Vec<_> = (0..10).map(|_| world.add()).collect();
        for host in &all {
            world.join_both(*host, [1; 32]);
        }
        let mut alive = vec![true; all.len()];
        for _ in 0..300 {
            let pause = Duration::from_millis(world.random.below(12_000));
            world.run(pause);
            let host = all[world.random.below(all.len() as u64) as usize];
            match world.random.below(4) {
                0 if alive[host] => {
                    world.kill(host);
                    alive[host] = false;
                }
                1 | 2 if !alive[host] => {
                    world.start(host);
                    world.join_both(host, [1; 32]);
                    alive[host] = true;
                }
                3 if alive[host] => world.with(host, |core, now| core.network_changed(now)),
                _ => {}
            }
        }
        for host in &all {
            if !alive[*host] {
                world.start(*host);
                world.join_both(*host, [1; 32]);
            }
        }
        world.until(secs(120), |world| world.all_connected(&all)).expect("they find each other again");
        world.run(secs(120));
        for host in &all {
            let stats = world.stats(*host);
            let counted = (stats.connections, stats.connecting, stats.queued, stats.known);
            assert_eq!(counted, (9, 0, 0, 9), "seed {seed}");
            // Of this life.
            assert!(stats.client_opened + stats.server_opened >= 9);
            let over = stats.client_closed + stats.server_closed;
            assert_eq!(stats.attempted + stats.server_opened - over, 9, "seed {seed}: {stats:?}");
        }
    }
}
