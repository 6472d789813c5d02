//! npm `hyperswarm` 4 and swarms of ours in one network on this machine: they find each other
//! by topics, stay connected, and come back.

#[path = "swarm/npm.rs"]
mod npm;
#[path = "swarm/ours.rs"]
mod ours;
#[path = "swarm/relay.rs"]
mod relay;

use hyperspace_e2e::process::PATIENCE;
use hyperspace_e2e::told::hex;
use hyperswarm::swarm::{Config, Join};
use npm::Npm;
use ours::Ours;
use serde_json::json;
use std::time::{Duration, Instant};

const SERVER: Join = Join { server: true, client: false, limit: None };
const CLIENT: Join = Join { server: false, client: true, limit: None };
const TOPIC: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_finds_the_other_until_it_leaves() {
    let network = Npm::network().await;
    let mut npm = Npm::swarms(&network).await;
    let theirs = npm.create(0, 1).await;
    let ours = Ours::start(network.bootstrap, 2).await;

    // They announce, we look.
    npm.join(0, TOPIC, true, false).await;
    let looking = ours.swarm.join(TOPIC, CLIENT);
    assert!(soon(looking.flushed()).await && soon(ours.swarm.flush()).await);
    ours.echo_with(&[theirs]).await;
    assert_eq!(npm.connections(0).await, [hex(&ours.key)]);
    let status = ours.swarm.status().await;
    assert_eq!((status.connections.len(), status.connections[0].is_initiator), (1, true));
    assert!(npm.lookup(0, TOPIC).await == [hex(&theirs)], "we look, and are not found");
    npm.ask(json!({ "do": "leave", "name": 0, "topic": hex(&TOPIC) })).await;
    assert!(ours.lookup(TOPIC).await.is_empty());
    assert_eq!(ours.echoing(), [theirs], "a connection outlives its topic");

    // We announce, another of theirs looks.
    let announced = ours.swarm.join(OTHER, SERVER);
    assert!(soon(announced.flushed()).await);
    let status = ours.swarm.status().await;
    let topic = status.topics.iter().find(|topic| topic.topic == OTHER).expect("it is joined");
    assert!(topic.announced_by >= 3, "{topic:?}");
    let second = npm.create(1, 3).await;
    npm.join(1, OTHER, false, true).await;
    ours.echo_with(&[theirs, second]).await;
    assert_eq!(npm.lookup(1, OTHER).await, [hex(&ours.key)]);
    soon(announced.destroy()).await;
    assert!(npm.lookup(1, OTHER).await.is_empty());

    // And what is announced when we close.
    let announced = ours.swarm.join(OTHER, Join::default());
    assert!(soon(announced.flushed()).await);
    assert_eq!(npm.lookup(1, OTHER).await, [hex(&ours.key)]);
    soon(ours.stop()).await;
    assert!(npm.lookup(1, OTHER).await.is_empty());
    npm.until(0, 0).await;
    npm.until(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_of_theirs_come_to_one_of_ours() {
    let network = Npm::network().await;
    let ours = Ours::start(network.bootstrap, 100).await;
    let announced = ours.swarm.join(TOPIC, SERVER);
    assert!(soon(announced.flushed()).await);
    let mut keys = Vec::new();
    let mut processes = Vec::new();
    for process in 0..3 {
        let mut npm = Npm::swarms(&network).await;
        for name in 0..10 {
            keys.push(npm.create(name, 1 + 10 * process + name).await);
            npm.join(name, TOPIC, false, true).await;
        }
        processes.push(npm);
    }
    ours.echo_with(&keys).await;
    for npm in &mut processes {
        for name in 0..10 {
            assert_eq!(npm.connections(name).await, [hex(&ours.key)]);
        }
    }
    soon(ours.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_ours_goes_to_thirty_of_theirs() {
    let network = Npm::network().await;
    let ours = Ours::start(network.bootstrap, 100).await;
    let mut keys = Vec::new();
    let mut processes = Vec::new();
    // Twenty are told of by each node: two topics, for not to miss some of them by chance.
    for (process, topic) in (0..3).zip([TOPIC, OTHER, OTHER]) {
        let mut npm = Npm::swarms(&network).await;
        for name in 0..10 {
            keys.push(npm.create(name, 1 + 10 * process + name).await);
            npm.join(name, topic, true, false).await;
        }
        processes.push(npm);
    }
    let looking = [TOPIC, OTHER].map(|topic| ours.swarm.join(topic, CLIENT));
    ours.echo_with(&keys).await;
    for npm in &mut processes {
        for name in 0..10 {
            assert_eq!(npm.connections(name).await, [hex(&ours.key)]);
        }
    }
    drop(looking);
    soon(ours.stop()).await;
    for npm in &mut processes {
        for name in 0..10 {
            npm.until(name, 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_topics() {
    let network = Npm::network().await;
    let mut npm = Npm::swarms(&network).await;
    let theirs = npm.create(0, 1).await;
    let ours = Ours::start(network.bootstrap, 2).await;
    let topics: Vec<[u8; 32]> = (50..100).map(|topic| [topic; 32]).collect();
    let joined: Vec<_> = topics.iter().map(|topic| ours.swarm.join(*topic, Join::default())).collect();
    for session in &joined {
        assert!(soon(session.flushed()).await);
    }
    for topic in &topics {
        npm.join(0, *topic, true, true).await;
    }
    ours.echo_with(&[theirs]).await;
    assert_eq!(npm.connections(0).await, [hex(&ours.key)]);
    for topic in &topics {
        let mut both = [hex(&ours.key), hex(&theirs)];
        both.sort();
        assert_eq!(npm.lookup(0, *topic).await, both);
    }
    let status = ours.swarm.status().await;
    assert!(status.topics.iter().all(|topic| topic.announced_by >= 3), "{status:#?}");
    soon(ours.stop()).await;
    for topic in &topics {
        assert_eq!(npm.lookup(0, *topic).await, [hex(&theirs)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_one_again() {
    let network = Npm::network().await;
    let mut npm = Npm::swarms(&network).await;
    let theirs = npm.create(0, 1).await;
    npm.join(0, TOPIC, true, true).await;
    for round in 0..3 {
        let ours = Ours::start(network.bootstrap, 2).await;
        let joined = ours.swarm.join(TOPIC, Join::default());
        assert!(soon(joined.flushed()).await);
        ours.echo_with(&[theirs]).await;
        npm.until(0, 1).await;
        if round == 1 {
            // Gone without a word: the new one replaces it before its end is noticed.
            ours.vanish().await;
        } else {
            soon(ours.stop()).await;
            npm.until(0, 0).await;
        }
    }
    let ours = Ours::start(network.bootstrap, 2).await;
    let _joined = ours.swarm.join(TOPIC, Join::default());
    ours.echo_with(&[theirs]).await;
    // And they.
    npm.ask(json!({ "do": "destroy", "name": 0 })).await;
    ours.echo_with(&[]).await;
    npm.create(0, 1).await;
    npm.join(0, TOPIC, true, true).await;
    ours.echo_with(&[theirs]).await;
    assert_eq!(npm.connections(0).await, [hex(&ours.key)]);
    soon(ours.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dial_each_other_and_one_connection_is_left() {
    let network = Npm::network().await;
    let mut npm = Npm::swarms(&network).await;
    // Ours is the greater key in some, theirs in the others.
    for round in 0..10u8 {
        let theirs = npm.create(round, 10 + round).await;
        let ours = Ours::start(network.bootstrap, 100 + round).await;
        // Both can be found, and know it.
        npm.join(round, TOPIC, true, false).await;
        let reachable = ours.swarm.join(OTHER, SERVER);
        assert!(soon(reachable.flushed()).await);
        ours.swarm.join_peer(theirs);
        npm.ask(json!({ "do": "joinPeer", "name": round, "key": hex(&ours.key) })).await;
        ours.echo_with(&[theirs]).await;
        npm.until(round, 1).await;
        // And it stays: no other is under way.
        let settled = ours.swarm.wait_until(|stats| stats.connections == 1 && stats.connecting == 0);
        assert!(soon(settled).await);
        assert!(soon(ours.swarm.flush()).await);
        assert_eq!(ours.echoing(), [theirs]);
        assert_eq!(npm.connections(round).await, [hex(&ours.key)]);
        soon(ours.stop()).await;
        npm.ask(json!({ "do": "destroy", "name": round })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_it_is_gone_and_resumed_it_is_back() {
    let network = Npm::network().await;
    let mut npm = Npm::swarms(&network).await;
    let theirs = npm.create(0, 1).await;
    npm.join(0, TOPIC, true, true).await;
    let ours = Ours::start(network.bootstrap, 2).await;
    let joined = ours.swarm.join(TOPIC, Join::default());
    assert!(soon(joined.flushed()).await);
    ours.echo_with(&[theirs]).await;
    let address = ours.endpoint.local_address();
    for _ in 0..2 {
        assert!(soon(ours.swarm.suspend()).await);
        let sent = ours.endpoint.udx().sent();
        ours.echo_with(&[]).await;
        npm.until(0, 0).await;
        assert_eq!(npm.lookup(0, TOPIC).await, [hex(&theirs)]);
        assert_eq!(ours.endpoint.udx().sent(), sent, "not a datagram leaves");

        ours.swarm.resume();
        assert!(soon(joined.flushed()).await);
        let mut both = [hex(&ours.key), hex(&theirs)];
        both.sort();
        assert_eq!(npm.lookup(0, TOPIC).await, both);
        ours.echo_with(&[theirs]).await;
        npm.until(0, 1).await;
        assert_eq!(ours.endpoint.local_address(), address);
    }
    soon(ours.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_is_noticed_and_found_again_when_it_is_back() {
    let network = Npm::network().await;
    // However short it was, it was a good connection.
    let config = Config { stable: Duration::ZERO, ..Config::default() };
    let ours = Ours::start_with(network.bootstrap, 100, config).await;
    let mut npm = Npm::swarms(&network).await;
    let theirs = npm.create(0, 1).await;
    // It only waits to be dialled: that it is back, we have to find out.
    npm.join(0, TOPIC, true, false).await;
    let _looking = ours.swarm.join(TOPIC, CLIENT);
    ours.echo_with(&[theirs]).await;
    npm.process.kill();
    ours.until("the end is noticed", Duration::from_secs(20), |all| all.is_empty()).await;
    let mut npm = Npm::swarms(&network).await;
    npm.create(0, 1).await;
    npm.join(0, TOPIC, true, false).await;
    let back = Instant::now();
    ours.until("it is dialled", Duration::from_secs(10), |all| all.len() == 1).await;
    println!("connected {:?} after it was announced", back.elapsed());
    assert_eq!(npm.connections(0).await, [hex(&ours.key)]);
    soon(ours.stop()).await;
}
