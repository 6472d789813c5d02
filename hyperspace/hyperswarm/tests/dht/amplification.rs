//! What a node answers to whom it does not know, who may have forged where he is: no more than
//! was asked with, but where the protocol wants it. `doc/PROTOCOL.md` says where that is, and is
//! held to it.

use crate::network::{Network, Random};
use crate::swarm::{closest, finished, grown};
use hyperswarm::KeyPair;
use hyperswarm::dht::Socket;
use hyperswarm::dht::message::{Request, internal};
use hyperswarm::hyperdht::{Announcement, Dht, MAX_VALUE, command, target_of};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

const DOC: &str = include_str!("../../../../doc/PROTOCOL.md");

/// Where the table begins.
const HEAD: &str = "| what is asked | bytes | the longest answer |";

/// What the document says: of what the answer is longer, how long the shortest request and the
/// longest answer are.
fn documented() -> BTreeMap<&'static str, (usize, usize)> {
    let table = DOC.split_once(HEAD).expect("the table is there").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = |cell: &str| cell.replace(',', "").parse().expect("a number");
        (cells[1], (number(cells[2]), number(cells[3])))
    };
    rows.map(row).collect()
}

/// A node that could not answer with more: its table is full, and so is what it keeps.
struct Full {
    network: Network<Dht>,
    host: usize,
    topic: [u8; 32],
    record: [u8; 32],
    value: [u8; 32],
}

fn full() -> Full {
    let mut network = grown(31, 60);
    // Whoever is closest to one of these keeps it; one node is close enough to all.
    let pair = KeyPair::from_seed(&[200; 32]);
    let topic = target_of(&pair.public_key());
    // The last is the holder of the key.
    for seed in 176..=200 {
        let relays = (0..3).map(|host| network.address(host)).collect();
        let announcement = Announcement::new(topic, &KeyPair::from_seed(&[seed; 32]), relays);
        let id = network.with(2, |dht, now| dht.announce(now, announcement));
        finished(&mut network, 2, id).expect("it ends");
    }
    let put = hyperswarm::hyperdht::MutablePut {
        public_key: pair.public_key(),
        record: hyperswarm::hyperdht::MutableRecord::sign(&pair, 0, vec![1; MAX_VALUE]),
    };
    let id = network.with(2, |dht, now| dht.mutable_put(now, put));
    finished(&mut network, 2, id).expect("it ends");
    // Three keep who holds a key.
    let near = closest(&network, &topic, 3);
    // A value whose place is there, too.
    let mut random = Random::new(1);
    loop {
        let value: Vec<u8> = random.bytes().into_iter().cycle().take(MAX_VALUE).collect();
        let hash = blake2b_simd::Params::new().hash_length(32).hash(&value);
        let target = hash.as_bytes().try_into().expect("32 bytes");
        let both = closest(&network, &target, 20)
            .into_iter()
            .find(|node| near.contains(node) && *node != network.address(2));
        let Some(node) = both else { continue };
        let id = network.with(2, |dht, now| dht.immutable_put(now, value));
        finished(&mut network, 2, id).expect("it ends");
        let host = (0..60).find(|host| network.address(*host) == node).expect("it is one of them");
        return Full { network, host, topic, record: topic, value: target };
    }
}

/// How long the request is, and all that is sent because of it.
fn answer(full: &mut Full, request: &Request<'_>) -> (usize, usize) {
    let from = SocketAddrV4::new([250, 1, 1, 1].into(), 9);
    let bytes = request.encode();
    let length = bytes.len();
    let sent = full.network.with(full.host, |dht, now| {
        while dht.poll_transmit().is_some() {}
        dht.handle_datagram(now, Socket::Server, from, &bytes);
        // What was put off comes as well.
        dht.handle_timeout(now + Duration::from_millis(1));
        let sent: Vec<_> = std::iter::from_fn(|| dht.poll_transmit()).collect();
        while dht.poll_event().is_some() {}
        sent
    });
    let to_stranger = sent.iter().filter(|sent| sent.to.ip() == from.ip());
    assert!(to_stranger.clone().count() <= 1 && sent.iter().all(|sent| sent.to.ip() == from.ip()));
    (length, to_stranger.map(|sent| sent.bytes.len()).sum())
}

#[test]
fn no_answer_is_longer_than_its_request_but_those_that_are_documented() {
    let mut full = full();
    let to = SocketAddrV4::new([1, 1, 1, 1].into(), 1);
    let plain =
        Request { tid: 1, to, id: None, token: None, internal: true, command: 0, target: None, value: None };
    let (topic, record, value) = (Some(full.topic), Some(full.record), Some(full.value));
    let within = |command| Request { command, ..plain };
    let of_topic = |command| Request { internal: false, command, target: topic, ..plain };
    let wrong = Request { token: Some([0; 32]), ..of_topic(command::LOOKUP) };
    // From a client, and no more than is looked at.
    let nobody =
        Request { target: Some([3; 32]), value: Some(&[0, 0, 1, 7]), ..of_topic(command::PEER_HANDSHAKE) };
    let longest = [0; 100];
    let put = |command| Request { value: Some(&longest), ..of_topic(command) };
    // The shortest form of each that is answered, and what can be answered at most.
    let asked = [
        ("`PING`", within(internal::PING)),
        ("`PING_NAT`", Request { value: Some(&[1, 1]), ..within(internal::PING_NAT) }),
        ("`FIND_NODE`", Request { target: topic, ..within(internal::FIND_NODE) }),
        ("`DOWN_HINT`", Request { value: Some(&[5; 6]), ..within(internal::DOWN_HINT) }),
        ("`DELAYED_PING`", Request { value: Some(&[0; 4]), ..within(internal::DELAYED_PING) }),
        ("an unknown command of the DHT", Request { target: topic, ..within(99) }),
        ("an unknown command", of_topic(99)),
        ("`PLUGIN`", of_topic(command::PLUGIN)),
        ("anything with a token that does not hold", wrong),
        ("`PEER_HANDSHAKE` with nobody", nobody.clone()),
        ("`PEER_HOLEPUNCH` with nobody", Request { command: command::PEER_HOLEPUNCH, ..nobody }),
        ("`FIND_PEER`", of_topic(command::FIND_PEER)),
        ("`LOOKUP`", of_topic(command::LOOKUP)),
        ("`MUTABLE_GET`", Request { value: Some(&[0]), target: record, ..of_topic(command::MUTABLE_GET) }),
        ("`IMMUTABLE_GET`", Request { target: value, ..of_topic(command::IMMUTABLE_GET) }),
        ("`ANNOUNCE` without a token", put(command::ANNOUNCE)),
        ("`UNANNOUNCE` without a token", put(command::UNANNOUNCE)),
        ("`MUTABLE_PUT` without a token", put(command::MUTABLE_PUT)),
        ("`IMMUTABLE_PUT` without a token", put(command::IMMUTABLE_PUT)),
    ];
    let mut longer = BTreeMap::new();
    for (name, request) in asked {
        let (length, answered) = answer(&mut full, &request);
        if answered > length {
            longer.insert(name, (length, answered));
        }
        // With an id, from whom it came by right or not, it is no longer.
        let again = Request { id: Some([7; 32]), ..request };
        assert!(answer(&mut full, &again).1 <= answered, "{name}");
    }
    assert_eq!(longer, documented());
}
