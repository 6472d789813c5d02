//! Strangers send what they like: a node neither falls nor grows, and nobody gets more out
//! of it than the protocol wants.

use crate::network::{Connected, Network, Random, SERVER_PORT};
use crate::swarm::{announce, dht, first, grown, join, lookup};
use hyperswarm::KeyPair;
use hyperswarm::dht::message::{Reply, Request, internal};
use hyperswarm::dht::{Config, Socket, node_id};
use hyperswarm::hyperdht::{
    Announce, Dht, Event, MAX_VALUE, MutablePut, MutableRecord, Peer, command, target_of,
};
use serde_json::Value;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

fn vectors() -> Vec<Vec<u8>> {
    let all: Value = serde_json::from_str(include_str!("../data/dht-vectors.json")).expect("JSON");
    let hex = |case: &Value| {
        data_encoding::HEXLOWER.decode(case["hex"].as_str().expect("a string").as_bytes()).expect("hex")
    };
    let captured = ["capture_fast_open", "capture_full_punch"]
        .into_iter()
        .flat_map(|name| all[name]["datagrams"].as_array().expect("a list").iter());
    let made = ["requests", "replies"].into_iter().flat_map(|name| all[name].as_array().expect("a list"));
    made.chain(captured).map(hex).collect()
}

/// A persistent node that knows nobody.
fn alone() -> (Dht, Instant, SocketAddrV4) {
    let now = Instant::now();
    let own = SocketAddrV4::new([1, 1, 1, 1].into(), SERVER_PORT);
    let config = Config { public_address: Some(own), server_port: SERVER_PORT, ..Config::default() };
    (dht(config, [7; 32], now), now, own)
}

/// Everything that it wants to send.
fn sent(dht: &mut Dht) -> Vec<(SocketAddrV4, Vec<u8>)> {
    std::iter::from_fn(|| dht.poll_transmit()).map(|transmit| (transmit.to, transmit.bytes)).collect()
}

fn stranger(random: &mut Random) -> SocketAddrV4 {
    let [a, b, c, d, e, f, ..] = random.bytes();
    SocketAddrV4::new([a, b, c, d].into(), u16::from_le_bytes([e, f]))
}

#[test]
fn a_million_datagrams_of_nonsense() {
    let (mut dht, mut now, _) = alone();
    let templates = vectors();
    let mut random = Random::new(1);
    let mut answers = 0;
    for number in 0..1_000_000u32 {
        let mut datagram = if number.is_multiple_of(4) {
            let length = random.below(200) as usize;
            let mut datagram: Vec<u8> = random.bytes().iter().cycle().take(length).copied().collect();
            if let Some(first) = datagram.first_mut().filter(|_| number.is_multiple_of(8)) {
                *first = if number.is_multiple_of(16) { 0x03 } else { 0x13 };
            }
            datagram
        } else {
            templates[random.below(templates.len() as u64) as usize].clone()
        };
        if !datagram.is_empty() {
            for _ in 0..random.below(4) {
                let at = random.below(datagram.len() as u64) as usize;
                datagram[at] = random.number() as u8;
            }
            if random.below(8) == 0 {
                datagram.truncate(random.below(datagram.len() as u64 + 1) as usize);
            }
        }
        let socket = [Socket::Server, Socket::Client, Socket::Other(1)][random.below(3) as usize];
        dht.handle_datagram(now, socket, stranger(&mut random), &datagram);
        answers += sent(&mut dht).len();
        while dht.poll_event().is_some() {}
        now += Duration::from_micros(100);
        while let Some(due) = dht.poll_timeout().filter(|due| *due <= now) {
            dht.handle_timeout(due);
        }
    }
    assert!(answers > 100_000, "the good ones among them are answered: {answers}");
    let stored = dht.stored();
    assert_eq!((stored.peers, stored.forwards, stored.records), (0, 0, 0), "nothing without a token");
    assert_eq!(dht.node().known(), 0, "nobody without an id that is that of the address");
    // And it works.
    let ping = request(1, internal::PING, true, None);
    dht.handle_datagram(now, Socket::Server, SocketAddrV4::new([2, 2, 2, 2].into(), 2), &ping.encode());
    assert_eq!(sent(&mut dht).len(), 1);
}

#[test]
fn what_made_others_fall() {
    let (_, now, own) = alone();
    let from = SocketAddrV4::new([2, 2, 2, 2].into(), 2);
    let config = Config { bootstrap: vec![from], public_address: Some(own), ..Config::default() };
    let mut dht = dht(config, [7; 32], now);
    sent(&mut dht);
    let id = dht.lookup(now, [1; 32]);
    let (to, asked) = sent(&mut dht).pop().expect("it asks");
    assert_eq!(to, from);
    let tid = u16::from_le_bytes([asked[2], asked[3]]);
    let is_finished = |dht: &mut Dht| {
        let mut events = std::iter::from_fn(|| dht.poll_event());
        events.any(|event| matches!(event, Event::Finished { operation, .. } if operation == id))
    };
    let reply =
        |tid| Reply { tid, to: own, id: None, token: None, closer: Vec::new(), error: 0, value: None };
    for datagram in [
        // Nothing; less than a header; the byte of a holepunch; headers without a body.
        Vec::new(),
        vec![0],
        vec![3],
        vec![0x13],
        vec![0x03, 0x1f],
        vec![0x13, 0x1f, 0, 0],
        // Of a stream, of another version, flags that nobody knows, of nine bytes.
        vec![0xff, 1, 0, 0],
        vec![0x04, 0, 0, 0],
        vec![0x03, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        // An answer to nothing; one that is too late, or comes twice.
        reply(tid.wrapping_add(1)).encode(),
        // A list that claims to be endless; a value that claims to be.
        [&reply(tid).encode()[..1], &[4], &reply(tid).encode()[2..], &[0xff; 9]].concat(),
        [&reply(tid).encode()[..1], &[16], &reply(tid).encode()[2..], &[0xfe, 0xff, 0xff, 0xff, 0xff]]
            .concat(),
    ] {
        dht.handle_datagram(now, Socket::Server, from, &datagram);
        assert_eq!(sent(&mut dht), [], "{datagram:02x?}");
    }
    // An answer from somebody who was not asked.
    dht.handle_datagram(now, Socket::Server, own, &reply(tid).encode());
    assert!(!is_finished(&mut dht));
    for _ in 0..3 {
        dht.handle_datagram(now, Socket::Server, from, &reply(tid).encode());
    }
    assert!(is_finished(&mut dht));
    // Every command there is, and those there are not, with and without what belongs to it.
    for number in (0..=20).chain([0xfc, 0xffff, (1 << 53) - 1]) {
        for is_internal in [true, false] {
            for target in [None, Some([1; 32])] {
                for value in [None, Some(&[][..]), Some(&[1]), Some(&[0; 6]), Some(&[0xff; 1200])] {
                    let request = Request { value, ..request(9, number, is_internal, target) };
                    dht.handle_datagram(now, Socket::Server, from, &request.encode());
                    let answers = sent(&mut dht);
                    assert!(answers.len() <= 1, "{request:?}");
                    let known = if is_internal { 5 } else { 10 };
                    assert!(number < known || answers.len() == 1, "the unknown is answered: {request:?}");
                }
            }
        }
    }
}

fn request(tid: u16, command: u64, internal: bool, target: Option<[u8; 32]>) -> Request<'static> {
    let to = SocketAddrV4::new([1, 1, 1, 1].into(), SERVER_PORT);
    Request { tid, to, id: None, token: None, internal, command, target, value: None }
}

#[test]
fn nobody_gets_much_for_little() {
    let mut network = grown(31, 60);
    let topic = target_of(&KeyPair::from_seed(&[200; 32]).public_key());
    for seed in 0..25 {
        announce(&mut network, 2, topic, &KeyPair::from_seed(&[seed; 32]));
    }
    // One that keeps them, and has a full table.
    let host = (0..60)
        .find(|host| network.address(*host) == lookup(&mut network, 59, topic).summary.outcome.closest[0])
        .expect("it is there");
    let from = SocketAddrV4::new([250, 1, 1, 1].into(), 9);
    let mut answer = |request: &Request<'_>| {
        network.with(host, |dht, now| {
            dht.handle_datagram(now, Socket::Server, from, &request.encode());
            dht.handle_timeout(now + Duration::from_secs(1));
            let answers = sent(dht);
            let to_stranger: Vec<_> = answers.iter().filter(|(to, _)| to.ip() == from.ip()).collect();
            assert!(to_stranger.len() <= 1 && answers.iter().all(|(to, _)| to.ip() == from.ip()));
            (request.encode().len(), to_stranger.first().map_or(0, |(_, bytes)| bytes.len()))
        })
    };
    // What has no target: our id more, and no byte else.
    for (number, value) in [
        (internal::PING, &[][..]),
        (internal::PING_NAT, &[1, 1]),
        (internal::DOWN_HINT, &[5; 6]),
        (internal::DELAYED_PING, &[0; 4]),
    ] {
        let value = Some(value).filter(|value| !value.is_empty());
        let (asked, answered) = answer(&Request { value, ..request(1, number, true, None) });
        assert!(answered > 0 && answered <= asked + 32, "{number}: {answered} for {asked}");
    }
    // With a target: our id, and twenty nodes.
    const NODES: usize = 1 + 20 * 6;
    let (asked, answered) = answer(&request(1, internal::FIND_NODE, true, Some(topic)));
    assert_eq!((asked, answered), (43, 10 + 32 + NODES));
    let (_, answered) = answer(&request(1, 99, true, Some(topic)));
    assert_eq!(answered, 10 + 32 + NODES + 1);
    let (_, answered) = answer(&request(1, 99, false, Some(topic)));
    assert_eq!(answered, 10 + 32 + NODES + 1);
    let wrong = Request { token: Some([0; 32]), ..request(1, command::LOOKUP, false, Some(topic)) };
    let (_, answered) = answer(&wrong);
    assert_eq!(answered, 10 + 32 + 32 + NODES + 1);
    // And twenty peers, of at most three relays: what fits a datagram that is not cut.
    let (_, answered) = answer(&request(1, command::LOOKUP, false, Some(topic)));
    assert!(answered > 500 && answered <= 10 + 32 + 32 + NODES + 3 + 1 + 20 * 51 + 1, "{answered}");
    for number in [command::FIND_PEER, command::PEER_HANDSHAKE, command::PEER_HOLEPUNCH] {
        let (_, answered) = answer(&request(1, number, false, Some([3; 32])));
        assert!(answered <= 10 + 32 + 32 + NODES, "{number}: {answered}");
    }
    // What is to be kept needs a token, and is not answered without.
    for number in [command::ANNOUNCE, command::UNANNOUNCE, command::MUTABLE_PUT, command::IMMUTABLE_PUT] {
        let value = Some(&[0; 100][..]);
        assert_eq!(answer(&Request { value, ..request(1, number, false, Some(topic)) }).1, 0);
    }
}

/// A stranger with a token of the node's, who may have things kept.
fn token(dht: &mut Dht, now: Instant, from: SocketAddrV4) -> [u8; 32] {
    let ask = request(1, command::LOOKUP, false, Some([1; 32]));
    dht.handle_datagram(now, Socket::Server, from, &ask.encode());
    let (_, answer) = sent(dht).pop().expect("an answer");
    // After our id.
    answer[10 + 32..10 + 64].try_into().expect("a token")
}

#[test]
fn what_strangers_have_kept_is_bounded() {
    let (mut dht, now, own) = alone();
    let from = SocketAddrV4::new([2, 2, 2, 2].into(), 2);
    let token = token(&mut dht, now, from);
    let mut keep = |command, target, value: &[u8]| {
        let request =
            Request { token: Some(token), value: Some(value), ..request(1, command, false, Some(target)) };
        dht.handle_datagram(now, Socket::Server, from, &request.encode());
        let answered = sent(&mut dht).len();
        while dht.poll_event().is_some() {}
        (answered, dht.stored())
    };
    let mut random = Random::new(5);
    for number in 0..40_000u32 {
        let value = number.to_le_bytes();
        let hash = blake2b_simd::Params::new().hash_length(32).hash(&value);
        let target = hash.as_bytes().try_into().expect("32 bytes");
        let (answered, stored) = keep(command::IMMUTABLE_PUT, target, &value);
        assert!(answered == 1 && stored.records <= 2 * 16384);
        assert_eq!(keep(command::IMMUTABLE_PUT, random.bytes(), &value).0, 0, "another hash");
    }
    // Signed for another node, or for nobody; of nobody; too long.
    let pair = KeyPair::from_seed(&[1; 32]);
    let peer = Some(Peer { public_key: pair.public_key(), relays: vec![own; 100] });
    let unsigned = Announce { peer: peer.clone(), ..Announce::default() };
    let forged = Announce { signature: Some([7; 64]), ..unsigned.clone() };
    let nobody = Announce { refresh: Some([7; 32]), ..Announce::default() };
    for announce in [unsigned, forged, nobody, Announce::default()] {
        for number in [command::ANNOUNCE, command::UNANNOUNCE] {
            let (answered, stored) = keep(number, [1; 32], &announce.encode());
            assert_eq!((answered, stored.peers, stored.forwards), (0, 0, 0));
        }
    }
    let target = target_of(&pair.public_key());
    for (length, expected) in [(0, 0), (1, 1), (MAX_VALUE, 1), (MAX_VALUE + 1, 0)] {
        let record = MutableRecord::sign(&pair, length as u64, vec![1; length]);
        let put = MutablePut { public_key: pair.public_key(), record };
        assert_eq!(keep(command::MUTABLE_PUT, target, &put.encode()).0, expected, "{length}");
        assert_eq!(keep(command::MUTABLE_PUT, [1; 32], &put.encode()).0, 0, "another target");
    }
}

#[test]
fn a_crowd_of_strangers_leaves_room_in_the_table() {
    let (mut dht, mut now, _) = alone();
    let mut random = Random::new(9);
    for _ in 0..100_000 {
        let from = stranger(&mut random);
        let ping = Request { id: Some(node_id(from)), ..request(1, internal::PING, true, None) };
        dht.handle_datagram(now, Socket::Server, from, &ping.encode());
        // Whoever is pinged in turn is as silent as those whose addresses were forged.
        sent(&mut dht);
        now += Duration::from_millis(1);
        while let Some(due) = dht.poll_timeout().filter(|due| *due <= now) {
            dht.handle_timeout(due);
            sent(&mut dht);
        }
        assert!(dht.node().known() <= 20 * 40);
    }
    // Delayed answers are put off only so long, and only so many.
    let (mut dht, now, _) = alone();
    for delay in [0, 10_000, 10_001, u32::MAX] {
        for _ in 0..2000 {
            let from = stranger(&mut random);
            let value = delay.to_le_bytes();
            let ask = Request { value: Some(&value), ..request(1, internal::DELAYED_PING, true, None) };
            dht.handle_datagram(now, Socket::Server, from, &ask.encode());
        }
    }
    assert_eq!(sent(&mut dht).len(), 0);
    dht.handle_timeout(now + Duration::from_secs(11));
    let answered = sent(&mut dht).len();
    assert!((1000..=1024).contains(&answered), "{answered}");
}

#[test]
fn nodes_that_lie_about_others_do_not_send_us_astray() {
    let mut network: Network<Dht> = Network::new(40);
    let honest = first(&mut network);
    for _ in 0..30 {
        join(&mut network, honest);
        network.run(Duration::from_millis(20));
    }
    network.run(Duration::from_secs(10));
    let bootstrap = vec![network.address(honest)];
    let host = network.add(Connected::Openly, |now, _| {
        dht(Config { bootstrap, server_port: SERVER_PORT, ..Config::default() }, [3; 32], now)
    });
    network.run(Duration::from_secs(10));
    // Every answer names twenty that are closer still, some of them in private networks.
    let (mut asked, mut random) = (0, Random::new(4));
    let id = network.with(host, |dht, now| {
        let id = dht.lookup(now, [0; 32]);
        let mut questions = sent(dht);
        while let Some((to, question)) = questions.pop() {
            assert!(!to.ip().is_loopback() && !to.ip().is_private(), "{to}");
            if question[0] != 0x03 || question.len() < 40 {
                continue;
            }
            asked += 1;
            let mut closer: Vec<_> = (0..18).map(|_| stranger(&mut random)).collect();
            closer.push(SocketAddrV4::new([127, 0, 0, 1].into(), 22));
            closer.push(SocketAddrV4::new([192, 168, 0, 1].into(), 80));
            closer.retain(|node| node.ip().is_loopback() || node.port() > 0);
            let tid = u16::from_le_bytes([question[2], question[3]]);
            let id = Some(node_id(to));
            let reply = Reply { tid, to, id, token: None, closer, error: 0, value: None };
            dht.handle_datagram(now, Socket::Server, to, &reply.encode());
            dht.handle_datagram(now, Socket::Client, to, &reply.encode());
            questions.extend(sent(dht));
        }
        id
    });
    assert!((20..=1000).contains(&asked), "{asked}");
    assert!(crate::swarm::finished(&mut network, host, id).is_some());
}
