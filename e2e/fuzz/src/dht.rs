//! The DHT: datagrams of strangers to a node, and what peers keep in it or send through it.

use super::unhex;
use hyperswarm::dht::message::Message;
use hyperswarm::dht::{Config, Node, Socket};
use hyperswarm::hyperdht::{
    Announce, Handshake, Holepunch, HolepunchPayload, HolepunchSecret, MutablePut, MutableRecord,
    NoisePayload, Peer, Peers, VERSION,
};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

/// What can be read is written back, and reads the same.
macro_rules! reads_back {
    ($input:expr, $($kind:ty),+) => {
        $(if let Ok(value) = <$kind>::decode($input) {
            let again = <$kind>::decode(&value.encode()).expect("what was written is read");
            assert_eq!(again, value);
        })+
    };
}

pub fn run(input: &[u8]) {
    let Some((&kind, body)) = input.split_first() else { return };
    if kind % 2 == 0 {
        reads_back!(body, Peer, Peers, Announce, MutableRecord, MutablePut, HolepunchPayload);
        reads_back!(body, Handshake, Holepunch);
        // Of a version that is not known, nothing else is.
        if NoisePayload::decode(body).is_ok_and(|payload| payload.version == VERSION) {
            reads_back!(body, NoisePayload);
        }
        // Nobody can seal by chance.
        assert!(HolepunchSecret::new(&[7; 64], [8; 32]).open(body).is_none());
        return;
    }
    match Message::decode(body) {
        Ok(Message::Request(request)) => {
            assert_eq!(Message::decode(&request.encode()), Ok(Message::Request(request)));
        }
        Ok(Message::Reply(reply)) => {
            assert_eq!(Message::decode(&reply.encode()), Ok(Message::Reply(reply)));
        }
        Err(_) => {}
    }
    let now = Instant::now();
    let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(88, 1, 1, last), port);
    let config = Config {
        public_address: Some(at(1, 49737)),
        application: true,
        nodes: vec![at(2, 1)],
        ..Config::default()
    };
    let mut node = Node::new(config, [7; 32], now);
    for (socket, from) in [(Socket::Server, at(2, 1)), (Socket::Client, at(3, 3)), (Socket::Server, at(0, 0))]
    {
        node.handle_datagram(now, socket, from, body);
        while node.poll_transmit().is_some() {}
        while node.poll_event().is_some() {}
    }
}

/// Questions and answers of the DHT, and records.
pub fn samples() -> Vec<Vec<u8>> {
    let numbers = |tag: u8, parts: &[&[u8]]| [&[tag][..], &parts.concat()].concat();
    let (at, id) = ([88, 1, 1, 2, 1, 0], [9; 32]);
    let mut samples = vec![
        // A ping, a question with everything, an answer with two nodes and a value.
        numbers(1, &[&[0x03, 0x04, 7, 0], &at, &[0]]),
        numbers(1, &[&[0x03, 0x1f, 7, 0], &at, &id, &id, &[2], &id, &[3, 1, 2, 3]]),
        numbers(1, &[&[0x13, 0x01, 7, 0], &at, &id]),
        numbers(1, &[&[0x13, 0x17, 7, 0], &at, &id, &id, &[2], &at, &at, &[3, 1, 2, 3]]),
        // A peer with a relay; several; an announcement; a record.
        numbers(0, &[&id, &[1], &at]),
        numbers(0, &[&[1], &id, &[1], &at, &[0]]),
        numbers(0, &[&[7], &id, &[1], &at, &id, &[5; 64]]),
        numbers(0, &[&[3, 3, 1, 2, 3], &[5; 64]]),
        numbers(0, &[&id, &[3, 3, 1, 2, 3], &[5; 64]]),
    ];
    // A handshake's payload, and a holepunch's.
    samples.push(numbers(0, &[&unhex("010100020104"), &at, &unhex("0101000500")]));
    samples.push(numbers(0, &[&unhex("3f0000020001"), &at, &at, &id]));
    samples
}
