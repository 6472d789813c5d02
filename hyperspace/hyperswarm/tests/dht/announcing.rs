//! Peers announce themselves and are found; records are kept and found.

use crate::network::Network;
use crate::swarm::{PATIENCE, announce, finished, grown, lookup};
use hyperswarm::KeyPair;
use hyperswarm::hyperdht::{
    Announcement, Dht, Event, MAX_VALUE, MutablePut, MutableRecord, OperationId, Peer, Summary, target_of,
};
use std::time::Duration;

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

/// What an operation gives, and how it ends.
fn all<T>(
    network: &mut Network<Dht>,
    host: usize,
    id: OperationId,
    mut wanted: impl FnMut(Event) -> Option<T>,
) -> (Vec<T>, Summary) {
    let mut given = Vec::new();
    let summary = network.wait(host, PATIENCE, |event| match event {
        Event::Finished { operation, summary } if operation == id => Some(summary),
        event => {
            given.extend(wanted(event));
            None
        }
    });
    (given, summary.expect("it ends"))
}

fn find_peer(network: &mut Network<Dht>, host: usize, key: &[u8; 32]) -> Vec<(std::net::SocketAddrV4, Peer)> {
    let id = network.with(host, |dht, now| dht.find_peer(now, key));
    let found = all(network, host, id, |event| match event {
        Event::Peer { from, peer, .. } => Some((from, peer)),
        _ => None,
    });
    found.0
}

#[test]
fn who_announces_is_found_until_it_takes_that_back() {
    let mut network = grown(10, 60);
    let topic = [7; 32];
    for (host, seed) in [(3, 1), (4, 2), (5, 3)] {
        let summary = announce(&mut network, host, topic, &pair(seed));
        assert_eq!(summary.outcome.committed, 20, "{summary:?}");
        assert_eq!(summary.kept_by.len(), 20);
        let own = network.address(host);
        assert!(summary.kept_by.iter().all(|(_, seen_at)| *seen_at == own));
    }
    let keys = |looked: crate::swarm::Looked| {
        let mut found = looked.found;
        found.sort();
        found.dedup();
        found
    };
    let mut expected = vec![pair(1).public_key(), pair(2).public_key(), pair(3).public_key()];
    expected.sort();
    assert_eq!(keys(lookup(&mut network, 30, topic)), expected);
    assert!(lookup(&mut network, 30, [8; 32]).found.is_empty());

    let id = network.with(3, |dht, now| dht.unannounce(now, topic, &pair(1)));
    let summary = finished(&mut network, 3, id).expect("it ends");
    assert_eq!(summary.unannounced, 20);
    expected.retain(|key| *key != pair(1).public_key());
    assert_eq!(keys(lookup(&mut network, 30, topic)), expected);
    // In a hurry: where it is known to be kept.
    let kept_by = lookup(&mut network, 4, topic).summary.outcome.closest;
    let id = network.with(4, |dht, now| dht.unannounce_at(now, topic, &pair(2), kept_by));
    let summary = finished(&mut network, 4, id).expect("it ends");
    assert_eq!(summary.unannounced, 20);
    assert_eq!(keys(lookup(&mut network, 30, topic)), [pair(3).public_key()]);
    // Announced anew, and cleared meanwhile.
    let announcement = Announcement { clear: true, ..Announcement::new(topic, &pair(3), Vec::new()) };
    let id = network.with(5, |dht, now| dht.announce(now, announcement));
    let summary = finished(&mut network, 5, id).expect("it ends");
    assert_eq!((summary.unannounced, summary.outcome.committed), (20, 20));
    assert_eq!(keys(lookup(&mut network, 30, topic)), [pair(3).public_key()]);
    // Nobody says so again: it is forgotten.
    network.run(Duration::from_secs(30 * 60));
    assert!(lookup(&mut network, 30, topic).found.is_empty());
}

#[test]
fn the_holder_of_a_key_is_found_through_three_nodes() {
    let mut network = grown(11, 60);
    let (pair, target) = (pair(1), target_of(&pair(1).public_key()));
    assert!(find_peer(&mut network, 9, &pair.public_key()).is_empty());
    let summary = announce(&mut network, 3, target, &pair);
    assert_eq!(summary.outcome.committed, 3);
    let found = find_peer(&mut network, 9, &pair.public_key());
    let mut nodes: Vec<_> = found.iter().map(|(node, _)| *node).collect();
    let mut expected: Vec<_> = summary.kept_by.iter().map(|(node, _)| *node).collect();
    nodes.sort();
    expected.sort();
    assert_eq!(nodes, expected);
    assert!(found.iter().all(|(_, peer)| peer.public_key == pair.public_key()));
    // It is among those who are interested in that topic, too.
    assert!(lookup(&mut network, 9, target).found.contains(&pair.public_key()));
    let id = network.with(3, |dht, now| dht.unannounce(now, target, &pair));
    assert_eq!(finished(&mut network, 3, id).expect("it ends").unannounced, 3);
    assert!(find_peer(&mut network, 9, &pair.public_key()).is_empty());
}

#[test]
fn records_are_kept() {
    let mut network = grown(12, 60);
    let value = b"what has a hash".to_vec();
    let id = network.with(3, |dht, now| dht.immutable_put(now, value.clone()));
    let summary = finished(&mut network, 3, id).expect("it ends");
    assert_eq!(summary.outcome.committed, 20);
    let target = blake2b_simd::Params::new().hash_length(32).hash(&value);
    let target: [u8; 32] = target.as_bytes().try_into().expect("32 bytes");
    for (target, expected) in [(target, vec![value]), ([1; 32], Vec::new())] {
        let id = network.with(9, |dht, now| dht.immutable_get(now, target));
        let (found, _) = all(&mut network, 9, id, |event| match event {
            Event::Immutable { value, .. } => Some(value),
            _ => None,
        });
        assert_eq!(found, expected);
    }
    // What is too long is not.
    let id = network.with(3, |dht, now| dht.immutable_put(now, vec![1; MAX_VALUE + 1]));
    assert_eq!(finished(&mut network, 3, id).expect("it ends").outcome.committed, 0);
}

#[test]
fn what_a_key_says_last_counts() {
    let mut network = grown(13, 60);
    let key = pair(1).public_key();
    let put = |network: &mut Network<Dht>, host, seq, value: &[u8]| {
        let record = MutableRecord::sign(&pair(1), seq, value.to_vec());
        let put = MutablePut { public_key: key, record };
        let id = network.with(host, |dht, now| dht.mutable_put(now, put));
        finished(network, host, id).expect("it ends").outcome
    };
    let get = |network: &mut Network<Dht>, host, seq, latest| {
        let id = network.with(host, |dht, now| dht.mutable_get(now, &key, seq, latest));
        let (found, _) = all(network, host, id, |event| match event {
            Event::Mutable { record, .. } => Some(record),
            _ => None,
        });
        found.last().map(|record| (record.seq, record.value.clone()))
    };
    assert_eq!(get(&mut network, 9, 0, true), None);
    assert_eq!(put(&mut network, 3, 4, b"four").committed, 20);
    assert_eq!(get(&mut network, 9, 0, true), Some((4, b"four".to_vec())));
    assert_eq!(get(&mut network, 9, 4, false), Some((4, b"four".to_vec())));
    assert_eq!(get(&mut network, 9, 5, true), None);
    // The same number again, with the same value or another; a lower one; a higher one.
    assert_eq!(put(&mut network, 5, 4, b"four").committed, 20);
    assert_eq!(put(&mut network, 5, 4, b"other").committed, 0);
    assert_eq!(put(&mut network, 5, 3, b"three").committed, 0);
    assert_eq!(put(&mut network, 5, 5, b"five").committed, 20);
    assert_eq!(get(&mut network, 9, 0, true), Some((5, b"five".to_vec())));
    // Signed by another.
    let record = MutableRecord::sign(&pair(2), 6, b"six".to_vec());
    let forged = MutablePut { public_key: key, record };
    let id = network.with(6, |dht, now| dht.mutable_put(now, forged));
    assert_eq!(finished(&mut network, 6, id).expect("it ends").outcome.committed, 0);
    assert_eq!(get(&mut network, 9, 0, true), Some((5, b"five".to_vec())));
}

#[test]
fn an_operation_can_be_ended_early() {
    let mut network = grown(14, 30);
    let id = network.with(3, |dht, now| dht.lookup(now, [1; 32]));
    network.with(3, |dht, now| dht.cancel(now, id));
    assert_eq!(finished(&mut network, 3, id), None);
    let announcement = Announcement::new([1; 32], &pair(1), Vec::new());
    let id = network.with(3, |dht, now| dht.announce(now, announcement));
    network.run(Duration::from_millis(150));
    network.with(3, |dht, now| dht.cancel(now, id));
    assert_eq!(finished(&mut network, 3, id), None);
}
