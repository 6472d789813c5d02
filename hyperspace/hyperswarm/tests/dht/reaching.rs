//! A node finds out who it is, and whether it can be reached.

use crate::network::{Connected, Network, SERVER_PORT};
use crate::swarm::{PATIENCE, dht, grown};
use hyperswarm::dht::{Config, Network as Change, node_id};
use hyperswarm::hyperdht::{Dht, Event};
use std::time::Duration;

/// A node with the usual settings: it neither knows its address nor whether it is open.
fn usual(network: &mut Network<Dht>, connected: Connected) -> usize {
    let bootstrap = vec![network.address(0)];
    let seed = network.random.bytes();
    let host = network.add(connected, |now, _| {
        dht(Config { bootstrap, server_port: SERVER_PORT, ..Config::default() }, seed, now)
    });
    let ready = network.wait(host, PATIENCE, |event| (event == Event::Ready).then_some(()));
    assert!(ready.is_some(), "{connected:?}");
    host
}

#[test]
fn who_can_be_reached_becomes_persistent_in_time() {
    let mut network = grown(20, 40);
    let open = usual(&mut network, Connected::Openly);
    let firewalled = usual(&mut network, Connected::BehindFirewall);
    let random = usual(&mut network, Connected::BehindRandomNat);
    assert!(!network.machine(open).node().is_firewalled(), "found out at once");
    for host in [open, firewalled, random] {
        assert!(network.machine(host).node().is_ephemeral());
    }
    network.run(Duration::from_secs(15 * 60));
    assert!(network.machine(open).node().is_ephemeral(), "not before it has been there for a while");
    network.run(Duration::from_secs(6 * 60));
    let node = network.machine(open).node();
    assert_eq!(node.id(), Some(node_id(network.address(open))));
    assert_eq!(node.remote_address(), Some(network.address(open)));
    assert!(network.events(open).contains(&Event::Persistent));
    for host in [firewalled, random] {
        let node = network.machine(host).node();
        assert!(node.is_firewalled() && node.is_ephemeral() && node.remote_address().is_none());
        assert_eq!(node.nat().is_randomized(), host == random);
        assert_eq!(node.nat().consistent().is_some(), host == firewalled);
        assert_eq!(node.nat().host(), Some(*network.address(host).ip()));
    }
    // Others know it, and none of the others.
    let known: Vec<_> = (0..40).flat_map(|host| network.machine(host).node().nodes(1000)).collect();
    assert!(known.contains(&network.address(open)));
    assert!(known.iter().all(|node| node.ip() != network.address(firewalled).ip()));
    assert!(known.iter().all(|node| node.ip() != network.address(random).ip()));
}

#[test]
fn who_was_asleep_keeps_its_id_to_itself_again() {
    let mut network = grown(21, 40);
    let host = usual(&mut network, Connected::Openly);
    network.run(Duration::from_secs(21 * 60));
    assert!(!network.machine(host).node().is_ephemeral());
    network.events(host);
    // A node that the time passes by: what it is told next is minutes later.
    let later = network.now + Duration::from_secs(60);
    network.with(host, |dht, _| dht.handle_timeout(later));
    assert!(network.machine(host).node().is_ephemeral());
    assert!(network.events(host).contains(&Event::Ephemeral));
}

#[test]
fn the_network_goes_and_comes() {
    let mut network = grown(22, 40);
    let host = usual(&mut network, Connected::Openly);
    network.run(Duration::from_secs(60));
    network.events(host);
    network.loss = 1.0;
    let mut changes = Vec::new();
    for second in 0..120 {
        // Somebody wants something all the time.
        let id = network.with(host, |dht, now| dht.lookup(now, [second; 32]));
        network.run(Duration::from_secs(1));
        network.with(host, |dht, now| dht.cancel(now, id));
        let topic = [second; 32];
        network.with(host, |dht, now| dht.lookup(now, topic));
    }
    let events = |network: &mut Network<Dht>, changes: &mut Vec<Change>| {
        changes.extend(network.events(host).into_iter().filter_map(|event| match event {
            Event::Network(change) => Some(change),
            _ => None,
        }));
    };
    events(&mut network, &mut changes);
    assert_eq!(changes, [Change::Offline]);
    assert!(network.machine(host).node().known() >= 20, "nobody is forgotten because nobody answers");
    network.loss = 0.0;
    network.run(Duration::from_secs(20));
    network.with(host, |dht, now| dht.lookup(now, [9; 32]));
    network.run(Duration::from_secs(30));
    events(&mut network, &mut changes);
    assert_eq!(changes[..2], [Change::Offline, Change::Online]);
}

#[test]
fn the_dead_are_forgotten_and_the_living_take_their_place() {
    let mut network = grown(23, 60);
    for host in 30..60 {
        network.kill(host);
    }
    network.run(Duration::from_secs(20 * 60));
    for host in 0..30 {
        let nodes = network.machine(host).node().nodes(1000);
        let dead = (30..60).filter(|host| nodes.contains(&network.address(*host))).count();
        assert!(dead <= 2, "host {host} knows {dead} dead of {}", nodes.len());
        assert!(nodes.len() >= 15, "host {host} knows {}", nodes.len());
    }
}

#[test]
fn who_remembers_nodes_needs_no_bootstrap() {
    let mut network = grown(24, 40);
    let nodes = network.machine(7).node().nodes(256);
    assert!(nodes.len() >= 20);
    for all_dead in [false, true] {
        let nodes = if all_dead {
            (0..30).map(|number| std::net::SocketAddrV4::new([9, 9, 9, number].into(), 1)).collect()
        } else {
            nodes.clone()
        };
        // And with a bootstrap, it bears that all the remembered ones are gone.
        let bootstrap = if all_dead { vec![network.address(0)] } else { Vec::new() };
        let seed = network.random.bytes();
        let host = network.add(Connected::Openly, |now, _| {
            dht(Config { nodes, bootstrap, server_port: SERVER_PORT, ..Config::default() }, seed, now)
        });
        let ready = network.wait(host, PATIENCE, |event| (event == Event::Ready).then_some(()));
        assert!(ready.is_some());
        let looked = crate::swarm::lookup(&mut network, host, [5; 32]);
        assert_eq!(looked.summary.outcome.closest, crate::swarm::closest(&network, &[5; 32], 20));
    }
}
