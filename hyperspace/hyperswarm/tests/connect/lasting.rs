//! Servers stay found: for long, when the nodes that pass on to them go, when they sleep, and
//! when their own network changes.

use crate::network::{Connected, Network};
use crate::peer::{News, PATIENCE, Peer, announced, grown, join, listen, reach};
use hyperswarm::KeyPair;
use hyperswarm::hyperdht::{DialError, Event, target_of};
use std::time::Duration;

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

/// A network of 30 nodes, a client, and a server, both behind NATs.
fn world(seed: u64) -> (Network<Peer>, usize, usize) {
    let mut network = grown(seed, 30);
    let client = join(&mut network, Connected::BehindNat);
    let server = join(&mut network, Connected::BehindNat);
    listen(&mut network, server, &pair(2));
    (network, client, server)
}

fn check(network: &mut Network<Peer>, client: usize, server: usize) -> Result<Duration, DialError> {
    let key = pair(2).public_key();
    reach(network, client, server, &pair(1), key).map(|reached| reached.time)
}

fn relays(network: &Network<Peer>, server: usize) -> Vec<std::net::SocketAddrV4> {
    let target = target_of(&pair(2).public_key());
    network.machine(server).dht.server_relays(&target).iter().map(|relay| relay.relay).collect()
}

#[test]
fn a_server_is_found_for_hours() {
    let (mut network, client, server) = world(1);
    network.loss = 0.02;
    for _ in 0..12 {
        network.run(Duration::from_secs(10 * 60));
        let time = check(&mut network, client, server).expect("it is found");
        assert!(time < Duration::from_secs(10), "{time:?}");
    }
    // What was opened for it is closed again.
    network.run(Duration::from_secs(60));
    for host in [client, server] {
        let (sockets, _, connecting) = network.machine(host).size();
        assert_eq!(connecting, (0, 0));
        // Two of its own, and those of the connections that still last.
        assert!(sockets <= 2 + 12, "{sockets}");
    }
}

#[test]
fn who_passes_on_may_go() {
    let (mut network, client, server) = world(2);
    for _ in 0..4 {
        let before = relays(&network, server);
        assert_eq!(before.len(), 3);
        for host in network.alive() {
            if before.contains(&network.address(host)) && host != 0 {
                network.kill(host);
            }
        }
        network.run(Duration::from_secs(20));
        let after = relays(&network, server);
        assert!(after.iter().filter(|node| !before.contains(node)).count() >= 2, "{before:?} {after:?}");
        check(&mut network, client, server).expect("it is found");
    }
}

#[test]
fn a_nat_that_forgets_is_noticed() {
    let (mut network, client, server) = world(3);
    network.reconnect(server, Connected::BehindNat);
    network.run(Duration::from_secs(10));
    check(&mut network, client, server).expect("it is found");
    // And with one of another kind.
    network.reconnect(server, Connected::BehindRandomNat);
    network.run(Duration::from_secs(10));
    check(&mut network, client, server).expect("it is found");
}

#[test]
fn who_wakes_up_is_found_again() {
    let (mut network, client, server) = world(4);
    network.sleep(server, true);
    network.run(Duration::from_secs(3600));
    let failed = check(&mut network, client, server).expect_err("it sleeps");
    assert!(matches!(failed, DialError::PeerNotFound | DialError::PeerConnectionFailed), "{failed}");
    network.sleep(server, false);
    announced(&mut network, server, target_of(&pair(2).public_key()));
    check(&mut network, client, server).expect("it is there again");
}

#[test]
fn who_is_told_that_it_slept_announces_itself_at_once() {
    let (mut network, client, server) = world(6);
    network.run(Duration::from_secs(10));
    network.events(server);
    network.with(server, |peer, now| peer.act(now, |dht, now| dht.woken(now)));
    network.run(Duration::from_secs(2));
    let listening = News::Dht(Event::Listening { server: target_of(&pair(2).public_key()) });
    assert!(network.events(server).contains(&listening));
    check(&mut network, client, server).expect("it is found");
}

#[test]
fn who_was_offline_is_found_again() {
    let (mut network, client, server) = world(5);
    // Nothing arrives anywhere for a while.
    network.loss = 1.0;
    network.run(Duration::from_secs(300));
    network.loss = 0.0;
    network.run(PATIENCE);
    check(&mut network, client, server).expect("it is there again");
}
