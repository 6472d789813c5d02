//! Lookups find the nodes that are closest, with few messages, whatever is lost on the way.

use crate::network::Network;
use crate::swarm::{Looked, announce, closest, grown, join, lookup};
use hyperswarm::KeyPair;
use hyperswarm::hyperdht::Dht;
use std::time::Duration;

/// What lookups cost.
#[derive(Debug, Default)]
pub struct Cost {
    /// How many nodes each has asked.
    asked: Vec<usize>,
    messages: u64,
    time: Duration,
}

impl Cost {
    fn count(&mut self, looked: &Looked) {
        self.asked.push(looked.asked());
        self.messages += looked.messages;
        self.time += looked.time;
    }

    pub fn lookups(&self) -> usize {
        self.asked.len()
    }

    /// How many nodes a lookup asks, at the median and at most.
    pub fn asked(&self) -> (usize, usize) {
        let mut asked = self.asked.clone();
        asked.sort_unstable();
        (asked[asked.len() / 2], asked[asked.len() - 1])
    }

    /// Datagrams a lookup, both ways together.
    pub fn messages(&self) -> f64 {
        self.messages as f64 / self.lookups() as f64
    }

    /// How long a lookup takes.
    pub fn time(&self) -> Duration {
        self.time / self.lookups() as u32
    }
}

/// How lookups went.
#[derive(Debug, Default)]
pub struct Score {
    pub cost: Cost,
    /// In which the very closest node was found.
    pub best: usize,
    /// How many of the twenty closest were found, in all.
    pub of_twenty: usize,
}

impl Score {
    fn count(&mut self, network: &Network<Dht>, host: usize, topic: [u8; 32], looked: &Looked) {
        // Nobody asks itself.
        let mut expected = closest(network, &topic, 21);
        expected.retain(|node| *node != network.address(host));
        expected.truncate(20);
        let found = &looked.summary.outcome.closest;
        self.cost.count(looked);
        self.best += usize::from(found.first() == expected.first());
        self.of_twenty += expected.iter().filter(|node| found.contains(node)).count();
    }
}

pub fn scored(network: &mut Network<Dht>, lookups: usize) -> Score {
    let mut score = Score::default();
    for _ in 0..lookups {
        let alive = network.alive();
        let host = alive[network.random.below(alive.len() as u64) as usize];
        let topic = network.random.bytes();
        let looked = lookup(network, host, topic);
        score.count(network, host, topic, &looked);
    }
    score
}

#[test]
fn they_find_the_closest_with_few_messages() {
    let mut costs = Vec::new();
    for nodes in [100, 1000] {
        let mut network = grown(1, nodes);
        let score = scored(&mut network, 50);
        assert_eq!(score.best, 50, "{nodes} nodes: {score:?}");
        assert!(score.of_twenty >= 50 * 20 * 98 / 100, "{nodes} nodes: {score:?}");
        assert!(score.cost.time() < Duration::from_secs(1), "{nodes} nodes: {score:?}");
        costs.push(score.cost);
    }
    // Ten times as many nodes: a few messages more.
    let asked = [costs[0].asked().0, costs[1].asked().0];
    assert!(asked[1] < asked[0] + 20 && asked[1] < 60, "{asked:?}");
    let messages = [costs[0].messages(), costs[1].messages()];
    assert!(messages[1] < messages[0] + 40.0 && messages[1] < 120.0, "{messages:?}");
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
fn who_is_gone_is_forgotten_by_those_who_only_keep_things_for_others() {
    let mut network = grown(5, 20);
    network.run(Duration::from_secs(60));
    let gone: Vec<_> = (5..10).map(|host| network.address(host)).collect();
    (5..10).for_each(|host| network.kill(host));
    // One notices, and tells whoever names them. Nobody else asks anybody anything: until all
    // have heard it, each of its lookups waits for the dead.
    let knows = |network: &Network<Dht>, host: usize| {
        let known = network.machine(host).node().nodes(100);
        known.iter().any(|node| gone.contains(node))
    };
    let mut lookups = 0;
    while network.alive().into_iter().any(|host| knows(&network, host)) {
        lookups += 1;
        assert!(lookups <= 6, "not forgotten");
        lookup(&mut network, 19, [lookups; 32]);
        network.run(Duration::from_secs(4));
    }
}

#[test]
fn they_go_on_while_half_of_the_nodes_leave_and_others_come_every_hour() {
    let mut network = grown(3, 200);
    network.loss = 0.01;
    let outcome = churned(&mut network, 60);
    assert_eq!(outcome.replaced, 100);
    assert_eq!(outcome.cost.lookups(), 360);
    assert!(outcome.found * 100 > outcome.cost.lookups() * 99, "{outcome:?}");
}

/// Of lookups during churn.
#[derive(Debug, Default)]
pub struct Outcome {
    pub cost: Cost,
    /// The peer that had announced itself was found.
    pub found: usize,
    /// How many nodes have died, and as many have come.
    pub replaced: usize,
}

/// For so many minutes, in each of which one in 120 nodes dies and another comes. Peers
/// announce themselves every ten minutes, as a swarm does, and are looked up meanwhile.
pub fn churned(network: &mut Network<Dht>, minutes: u64) -> Outcome {
    let size = network.alive().len();
    let peers: Vec<_> = (0..10u8).map(|seed| (KeyPair::from_seed(&[seed; 32]), [seed; 32])).collect();
    let mut outcome = Outcome::default();
    // The announcers, and whoever is asked first, stay.
    let stay = 11;
    // In 720ths.
    let mut owed = 0;
    for minute in 0..minutes {
        for (at, (pair, topic)) in peers.iter().enumerate() {
            if minute % 10 == at as u64 % 10 || minute == 0 {
                announce(network, 1 + at, *topic, pair);
            }
        }
        for _ in 0..6 {
            network.run(Duration::from_secs(10));
            owed += size;
            while owed >= 720 {
                owed -= 720;
                let mut alive = network.alive();
                alive.retain(|host| *host >= stay);
                let victim = alive[network.random.below(alive.len() as u64) as usize];
                network.kill(victim);
                join(network, 0);
                outcome.replaced += 1;
            }
            let alive = network.alive();
            let host = alive[network.random.below(alive.len() as u64) as usize];
            let (pair, topic) = &peers[network.random.below(peers.len() as u64) as usize];
            let looked = lookup(network, host, *topic);
            outcome.cost.count(&looked);
            outcome.found += usize::from(looked.found.contains(&pair.public_key()));
        }
    }
    outcome
}
