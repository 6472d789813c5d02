//! Lookups find the nodes that are closest, with few messages, whatever is lost on the way.

use crate::network::Network;
use crate::swarm::{Looked, announce, closest, grown, join, lookup};
use hyperswarm::KeyPair;
use hyperswarm::hyperdht::Dht;
use std::time::Duration;

/// How lookups went.
#[derive(Debug, Default)]
pub struct Score {
    pub lookups: usize,
    /// In which the very closest node was found.
    pub best: usize,
    /// How many of the twenty closest were found, in all.
    pub of_twenty: usize,
    pub asked: usize,
    pub time: Duration,
}

impl Score {
    fn count(&mut self, network: &Network<Dht>, topic: [u8; 32], looked: &Looked) {
        let expected = closest(network, &topic, 20);
        let found = &looked.summary.outcome.closest;
        self.lookups += 1;
        self.best += usize::from(found.first() == expected.first());
        self.of_twenty += expected.iter().filter(|node| found.contains(node)).count();
        self.asked += looked.asked();
        self.time += looked.time;
    }
}

pub fn scored(network: &mut Network<Dht>, lookups: usize) -> Score {
    let mut score = Score::default();
    for _ in 0..lookups {
        let alive = network.alive();
        let host = alive[network.random.below(alive.len() as u64) as usize];
        let topic = network.random.bytes();
        let looked = lookup(network, host, topic);
        score.count(network, topic, &looked);
    }
    score
}

#[test]
fn they_find_the_closest_with_few_messages() {
    let mut asked = Vec::new();
    for nodes in [100, 1000] {
        let mut network = grown(1, nodes);
        let score = scored(&mut network, 50);
        assert_eq!(score.best, 50, "{nodes} nodes: {score:?}");
        assert!(score.of_twenty >= 50 * 20 * 98 / 100, "{nodes} nodes: {score:?}");
        asked.push(score.asked as f64 / 50.0);
    }
    // Ten times as many nodes: a few messages more.
    assert!(asked[1] < asked[0] + 20.0 && asked[1] < 60.0, "{asked:?}");
}

#[test]
fn they_find_them_though_a_tenth_is_lost() {
    let mut network = grown(2, 300);
    (network.loss, network.doubled) = (0.1, 0.1);
    let score = scored(&mut network, 50);
    assert!(score.best >= 49 && score.of_twenty >= 50 * 20 * 97 / 100, "{score:?}");
    assert!(network.carried.lost > 0);
}

#[test]
fn a_small_network_is_one_too() {
    for nodes in 2..12 {
        let mut network = grown(nodes as u64, nodes);
        let looked = lookup(&mut network, nodes - 1, [3; 32]);
        let mut expected = closest(&network, &[3; 32], nodes);
        let own = network.address(nodes - 1);
        expected.retain(|node| *node != own);
        assert_eq!(looked.summary.outcome.closest, expected);
        assert!(looked.time < Duration::from_secs(2), "{nodes}: {:?}", looked.time);
    }
}

#[test]
fn they_go_on_while_half_of_the_nodes_leave_and_others_come_every_hour() {
    let mut network = grown(3, 200);
    network.loss = 0.01;
    let outcome = churned(&mut network, 20);
    assert!(outcome.lookups >= 100, "{outcome:?}");
    assert!(outcome.found * 100 >= outcome.lookups * 99, "{outcome:?}");
}

/// Of lookups during churn.
#[derive(Debug, Default)]
pub struct Outcome {
    pub lookups: usize,
    /// The peer that had announced itself was found.
    pub found: usize,
    pub asked: usize,
    pub time: Duration,
}

/// For so many minutes, in each of which one in 120 nodes dies and another comes. Peers
/// announce themselves every ten minutes, as a swarm does, and are looked up meanwhile.
pub fn churned(network: &mut Network<Dht>, minutes: u64) -> Outcome {
    let size = network.alive().len();
    let peers: Vec<_> = (0..10u8).map(|seed| (KeyPair::from_seed(&[seed; 32]), [seed; 32])).collect();
    let mut outcome = Outcome::default();
    // The announcers, and whoever is asked first, stay.
    let stay = 11;
    let mut owed = 0.0;
    for minute in 0..minutes {
        for (at, (pair, topic)) in peers.iter().enumerate() {
            if minute % 10 == at as u64 % 10 || minute == 0 {
                announce(network, 1 + at, *topic, pair);
            }
        }
        for _ in 0..6 {
            network.run(Duration::from_secs(10));
            owed += size as f64 / 720.0;
            while owed >= 1.0 {
                owed -= 1.0;
                let mut alive = network.alive();
                alive.retain(|host| *host >= stay);
                let victim = alive[network.random.below(alive.len() as u64) as usize];
                network.kill(victim);
                join(network, 0);
            }
            let alive = network.alive();
            let host = alive[network.random.below(alive.len() as u64) as usize];
            let (pair, topic) = &peers[network.random.below(peers.len() as u64) as usize];
            let looked = lookup(network, host, *topic);
            outcome.lookups += 1;
            outcome.found += usize::from(looked.found.contains(&pair.public_key()));
            outcome.asked += looked.asked();
            outcome.time += looked.time;
        }
    }
    outcome
}
