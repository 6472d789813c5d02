//! Strangers send what they like to a peer that serves others: it neither falls nor grows,
//! and those that it serves notice nothing.

use crate::network::{Connected, Machine, Network, Random};
use crate::peer::{News, PATIENCE, Peer, grown, join, listen, reach};
use hyperswarm::KeyPair;
use hyperswarm::dht::Socket;
use hyperswarm::dht::message::{Message, Request};
use hyperswarm::hyperdht::connect::{MAX_HANDSHAKES, MAX_PUNCHERS};
use hyperswarm::hyperdht::{Handshake, Holepunch, Mode, NoisePayload, UdxInfo, command, target_of};
use hyperswarm::noise::{self, Pattern};
use serde_json::Value;
use std::net::SocketAddrV4;
use std::time::Duration;

/// Datagrams; in a build with checks, fewer.
const MANY: u32 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex")
}

/// H("hyperswarm/dht" as a namespace, command 0): what the handshake of the DHT begins with.
fn prologue() -> Vec<u8> {
    unhex("14d6d4b49214ab1033ed204976caa258bae9e1e8543b9ad1fd996a910b0c4e3a")
}

fn stranger(random: &mut Random) -> SocketAddrV4 {
    let [a, b, c, d, e, f, ..] = random.bytes();
    SocketAddrV4::new([a, b, c, d].into(), u16::from_le_bytes([e, f]))
}

/// A request for the server with that key.
fn request(key: &[u8; 32], tid: u16, command: u64, value: &[u8]) -> Vec<u8> {
    let to = SocketAddrV4::new([1, 2, 3, 4].into(), 5);
    let target = Some(target_of(key));
    Request { tid, to, id: None, token: None, internal: false, command, target, value: Some(value) }.encode()
}

/// The first message of a handshake with the server of that key.
fn first_message(key: &[u8; 32], ours: &KeyPair) -> Vec<u8> {
    let mut noise = noise::Handshake::initiator(Pattern::Ik(*key), ours, &prologue()).expect("it begins");
    let udx = Some(UdxInfo { version: 1, reusable_socket: false, id: 7, seq: 0 });
    let payload = NoisePayload { udx, secret_stream: Some(1), ..NoisePayload::default() };
    noise.write(&payload.encode()).expect("it is written")
}

/// One over a node in between.
fn relayed(key: &[u8; 32], noise: Vec<u8>, peer: SocketAddrV4, tid: u16) -> Vec<u8> {
    let envelope = Handshake { mode: Mode::FromRelay, noise, peer: Some(peer), relay: None };
    request(key, tid, command::PEER_HANDSHAKE, &envelope.encode())
}

/// Datagrams of every kind that the server might get.
fn templates(key: &[u8; 32], random: &mut Random) -> Vec<Vec<u8>> {
    let all: Value = serde_json::from_str(include_str!("../data/dht-vectors.json")).expect("JSON");
    let hex = |case: &Value| unhex(case["hex"].as_str().expect("a string"));
    let captured = ["capture_fast_open", "capture_full_punch"]
        .into_iter()
        .flat_map(|name| all[name]["datagrams"].as_array().expect("a list").iter());
    let made = ["requests", "replies"].into_iter().flat_map(|name| all[name].as_array().expect("a list"));
    let mut templates: Vec<_> = made.chain(captured).map(hex).collect();
    for mode in [Mode::FromClient, Mode::FromServer, Mode::FromRelay, Mode::FromSecondRelay, Mode::Reply] {
        for peer in [None, Some(stranger(random))] {
            let noise = first_message(key, &pair(200));
            let handshake = Handshake { mode, noise, peer, relay: peer };
            templates.push(request(key, 1, command::PEER_HANDSHAKE, &handshake.encode()));
            let holepunch = Holepunch { mode, id: 0, payload: vec![7; 100], peer };
            templates.push(request(key, 1, command::PEER_HOLEPUNCH, &holepunch.encode()));
        }
    }
    templates.push(vec![0]);
    // The header of a packet of a stream, and what is not even that.
    templates.push([&[0xff, 1, 1, 0][..], &[0; 16], b"hello"].concat());
    templates
}

/// Does the connection of that stream still work? The server's end says something.
fn talks(network: &mut Network<Peer>, client: usize, server: usize, stream: u32, number: u64) -> bool {
    let remote = network.machine(client).established.iter().find(|one| one.stream == stream);
    let theirs = remote.expect("it is established").remote_stream;
    let message = format!("still here {number}").into_bytes();
    network.with(server, |peer, now| peer.say(now, theirs, &message));
    let heard = network.wait(client, PATIENCE, |news| match news {
        News::Said { stream: of, bytes } if of == stream && bytes.ends_with(&message) => Some(()),
        _ => None,
    });
    heard.is_some()
}

#[test]
fn nonsense_at_a_server_that_serves() {
    let mut network = grown(6, 20);
    let (client, server) =
        (join(&mut network, Connected::BehindNat), join(&mut network, Connected::BehindNat));
    let key = pair(2).public_key();
    listen(&mut network, server, &pair(2));
    let stream =
        reach(&mut network, client, server, &pair(1), key).expect("it is reached").established.stream;
    let mut random = Random::new(6);
    let templates = templates(&key, &mut random);
    let known: Vec<_> = (0..20).map(|host| network.address(host)).collect();
    let mut most = 0;
    for number in 0..MANY {
        let mut datagram = templates[random.below(templates.len() as u64) as usize].clone();
        for _ in 0..random.below(4) {
            let at = random.below(datagram.len() as u64) as usize;
            datagram[at] = random.number() as u8;
        }
        if random.below(8) == 0 {
            datagram.truncate(random.below(datagram.len() as u64 + 1) as usize);
        }
        let from = if number % 2 == 0 { stranger(&mut random) } else { known[random.below(20) as usize] };
        let sockets = network.machine(server).sockets();
        let socket = sockets[random.below(sockets.len() as u64) as usize];
        network.with(server, |peer, now| peer.handle_datagram(now, socket, from, &datagram));
        let (sockets, streams, (_, accepting)) = network.machine(server).size();
        assert!(accepting <= MAX_HANDSHAKES && streams <= MAX_HANDSHAKES + 10, "{streams} {accepting}");
        most = most.max(sockets);
        assert!(sockets <= 2 + 10 + MAX_PUNCHERS, "{sockets}");
        network.events(server);
        // A thousand datagrams a second.
        network.run(Duration::from_millis(1));
        if number % (MANY / 5) == 0 {
            assert!(talks(&mut network, client, server, stream, number.into()), "after {number}");
        }
    }
    network.run(Duration::from_secs(60));
    let (sockets, streams, connecting) = network.machine(server).size();
    assert_eq!(connecting, (0, 0));
    assert!(sockets < 10 && streams < 10, "{sockets} sockets, {streams} streams; there were {most}");
    assert!(talks(&mut network, client, server, stream, MANY.into()));
    reach(&mut network, client, server, &pair(3), key).expect("it is reached");
}

#[test]
fn a_flood_of_handshakes() {
    let mut network = grown(7, 10);
    let (client, server) =
        (join(&mut network, Connected::BehindNat), join(&mut network, Connected::BehindNat));
    let key = pair(2).public_key();
    listen(&mut network, server, &pair(2));
    let stream =
        reach(&mut network, client, server, &pair(1), key).expect("it is reached").established.stream;
    let mut random = Random::new(7);
    let relay = network.address(0);
    // Good ones, each of another peer: not one too many is remembered.
    for number in 0..(2 * MAX_HANDSHAKES as u16) {
        let datagram = relayed(&key, first_message(&key, &pair(100)), stranger(&mut random), number);
        network.with(server, |peer, now| peer.handle_datagram(now, Socket::Client, relay, &datagram));
        network.run(Duration::from_millis(1));
        network.events(server);
        let (sockets, _, (_, accepting)) = network.machine(server).size();
        assert!(accepting <= MAX_HANDSHAKES && sockets <= 2 + 10 + MAX_PUNCHERS);
    }
    let (.., (_, accepting)) = network.machine(server).size();
    assert_eq!(accepting, MAX_HANDSHAKES);
    assert!(talks(&mut network, client, server, stream, 1));
    // That passes.
    network.run(Duration::from_secs(30));
    let (sockets, streams, connecting) = network.machine(server).size();
    assert_eq!(connecting, (0, 0));
    assert!(sockets < 10 && streams < 10, "{sockets} sockets, {streams} streams");
    reach(&mut network, client, server, &pair(3), key).expect("it is reached");
}

#[test]
fn no_more_handshakes_are_looked_at_than_are_promised() {
    let mut network = grown(8, 5);
    let server = join(&mut network, Connected::Openly);
    let key = pair(2).public_key();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&asked);
    let firewall: hyperswarm::hyperdht::connect::FirewallCheck = std::sync::Arc::new(move |_, _| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        true
    });
    let options = hyperswarm::hyperdht::ListenOptions { firewall: Some(firewall), ..Default::default() };
    network.with(server, |peer, now| peer.act(now, |dht, now| dht.listen(now, &pair(2), options)));
    let from = SocketAddrV4::new([9, 9, 9, 9].into(), 9);
    // All within one moment.
    for number in 0..3000 {
        let noise = first_message(&key, &pair(100));
        let envelope = Handshake { mode: Mode::FromClient, noise, peer: None, relay: None };
        let datagram = request(&key, number, command::PEER_HANDSHAKE, &envelope.encode());
        network.with(server, |peer, now| peer.handle_datagram(now, Socket::Server, from, &datagram));
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1000);
}

#[test]
fn what_is_passed_on_is_no_more_than_what_came() {
    let mut network = grown(9, 10);
    let server = join(&mut network, Connected::BehindNat);
    let key = pair(2).public_key();
    listen(&mut network, server, &pair(2));
    let relays = network.machine(server).dht.server_relays(&target_of(&key));
    let relay = (0..10).find(|host| network.address(*host) == relays[0].relay).expect("it is one of them");
    let mut random = Random::new(9);
    let public = SocketAddrV4::new([9, 9, 9, 9].into(), 9);
    let private = SocketAddrV4::new([192, 168, 1, 1].into(), 53);
    for mode in [Mode::FromClient, Mode::FromServer, Mode::FromRelay, Mode::FromSecondRelay, Mode::Reply] {
        for peer in [None, Some(stranger(&mut random)), Some(private), Some(public)] {
            let noise = vec![1; 200];
            let handshake = Handshake { mode, noise: noise.clone(), peer, relay: peer };
            let holepunch = Holepunch { mode, id: 3, payload: noise, peer };
            let datagrams = [
                request(&key, 1, command::PEER_HANDSHAKE, &handshake.encode()),
                request(&key, 2, command::PEER_HOLEPUNCH, &holepunch.encode()),
            ];
            for datagram in datagrams {
                let now = network.now;
                let sent: Vec<_> = network.peek(relay, |peer| {
                    peer.handle_datagram(now, Socket::Server, public, &datagram);
                    std::iter::from_fn(|| peer.poll_transmit()).collect()
                });
                assert!(sent.len() <= 1, "{mode:?} {peer:?}: {sent:?}");
                for sent in sent {
                    // Six for an address, and the id of a node in the head.
                    assert!(sent.bytes.len() <= datagram.len() + 12 + 32, "{mode:?} {peer:?}");
                    assert_ne!(sent.to, private, "nobody from outside is passed on into a private network");
                    assert!(Message::decode(&sent.bytes).is_ok());
                }
            }
        }
    }
}
