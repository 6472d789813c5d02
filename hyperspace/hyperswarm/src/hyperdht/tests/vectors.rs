//! What npm sends is read, and what we send is what it sends.

use super::super::signing::{ForNode, target_of};
use super::super::wire::{command, constant};
use super::super::*;
use crate::KeyPair;
use crate::dht::tests::{address, array, bytes, maybe, vectors};
use crate::noise::{Handshake as Noise, Pattern};
use proptest::prelude::*;
use serde_json::Value;

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn peer(value: &Value) -> Peer {
    let relays = list(&value["relayAddresses"]).iter().map(address).collect();
    Peer { public_key: array(&value["publicKey"]), relays }
}

#[test]
fn constants_and_keys() {
    let vectors = vectors();
    let names = &vectors["namespaces"];
    for (command, name) in [
        (command::ANNOUNCE, "ANNOUNCE"),
        (command::UNANNOUNCE, "UNANNOUNCE"),
        (command::MUTABLE_PUT, "MUTABLE_PUT"),
        (command::PEER_HANDSHAKE, "PEER_HANDSHAKE"),
        (command::PEER_HOLEPUNCH, "PEER_HOLEPUNCH"),
        (command::PLUGIN, "PLUGIN"),
    ] {
        assert_eq!(constant(command), array(&names[name]), "{name}");
    }
    for case in list(&vectors["keypairs"]) {
        let pair = KeyPair::from_seed(&array(&case["seed"]));
        assert_eq!(pair.public_key(), array(&case["publicKey"]));
        assert_eq!(target_of(&pair.public_key()), array(&case["hash_of_publicKey"]));
    }
}

#[test]
fn announces() {
    let vectors = vectors();
    let pair = KeyPair::from_seed(&[1; 32]);
    let cases = list(&vectors["announce"]);
    assert_eq!(cases.len(), 5);
    for case in cases {
        let decoded = &case["decoded"];
        let expected = Announce {
            peer: maybe(&decoded["peer"], peer),
            refresh: maybe(&decoded["refresh"], array),
            signature: maybe(&decoded["signature"], array),
            bump: Some(number(&decoded["bump"])).filter(|bump| *bump != 0),
        };
        let value = bytes(&case["value"]);
        assert_eq!(Announce::decode(&value), Ok(expected.clone()), "{}", case["name"]);
        assert_eq!(expected.encode(), value, "{}", case["name"]);
        let is_unannounce = case["name"] == "unannounce";
        let command = if is_unannounce { command::UNANNOUNCE } else { command::ANNOUNCE };
        let (target, node, token) = (array(&case["target"]), array(&case["node_id"]), array(&case["token"]));
        let for_node = ForNode { command, target: &target, node: &node, token: &token };
        assert!(for_node.verify(&expected), "{}", case["name"]);
        if let (Some(peer), None) = (&expected.peer, &expected.refresh) {
            assert_eq!(for_node.announce(&pair, peer, expected.bump), expected, "{}", case["name"]);
        }
        // Neither for another node, nor with another token, nor for another command.
        assert!(!ForNode { node: &target, ..for_node }.verify(&expected));
        assert!(!ForNode { token: &target, ..for_node }.verify(&expected));
        assert!(!ForNode { command: 6, ..for_node }.verify(&expected));
        let unsigned = Announce { signature: None, ..expected };
        assert!(!for_node.verify(&unsigned));
    }
}

#[test]
fn records() {
    let vectors = vectors();
    let case = &vectors["mutable"];
    let pair = KeyPair::from_seed(&array(&case["seed"]));
    let record = MutableRecord::sign(&pair, number(&case["seq"]), bytes(&case["value"]));
    assert_eq!(record.signature, array(&case["signature"]));
    assert!(record.is_by(&pair.public_key()));
    assert!(!record.is_by(&KeyPair::from_seed(&[9; 32]).public_key()));
    assert!(!MutableRecord { seq: 8, ..record.clone() }.is_by(&pair.public_key()));
    assert_eq!(record.encode(), bytes(&case["get_response"]));
    assert_eq!(MutableRecord::decode(&bytes(&case["get_response"])), Ok(record.clone()));
    let put = MutablePut { public_key: pair.public_key(), record };
    assert_eq!(put.encode(), bytes(&case["put_value"]));
    assert_eq!(MutablePut::decode(&bytes(&case["put_value"])), Ok(put));
    assert_eq!(target_of(&pair.public_key()), array(&case["target"]));
    let case = &vectors["immutable"];
    assert_eq!(crate::hash::hash(&[&bytes(&case["value"])]), array(&case["target"]));
    for case in list(&vectors["lookup_values"]) {
        let expected = Peers {
            peers: list(&case["peers"]["peers"]).iter().map(peer).collect(),
            bump: number(&case["peers"]["bump"]),
        };
        assert_eq!(Peers::decode(&bytes(&case["hex"])), Ok(expected.clone()));
        assert_eq!(expected.encode(), bytes(&case["hex"]));
    }
}

#[test]
fn envelopes() {
    let vectors = vectors();
    let modes = [Mode::FromClient, Mode::FromServer, Mode::FromRelay, Mode::FromSecondRelay, Mode::Reply];
    for case in list(&vectors["peer_handshake"]) {
        let fields = &case["fields"];
        let expected = Handshake {
            mode: modes[number(&fields["mode"]) as usize],
            noise: bytes(&fields["noise"]),
            peer: maybe(&fields["peerAddress"], address),
            relay: maybe(&fields["relayAddress"], address),
        };
        assert_eq!(Handshake::decode(&bytes(&case["hex"])), Ok(expected.clone()));
        assert_eq!(expected.encode(), bytes(&case["hex"]));
    }
    for case in list(&vectors["peer_holepunch"]) {
        let fields = &case["fields"];
        let expected = Holepunch {
            mode: modes[number(&fields["mode"]) as usize],
            id: number(&fields["id"]),
            payload: bytes(&fields["payload"]),
            peer: maybe(&fields["peerAddress"], address),
        };
        assert_eq!(Holepunch::decode(&bytes(&case["hex"])), Ok(expected.clone()));
        assert_eq!(expected.encode(), bytes(&case["hex"]));
    }
    assert!(Handshake::decode(&[0, 5, 0]).is_err());
}

fn noise_payload(decoded: &Value) -> NoisePayload {
    NoisePayload {
        version: number(&decoded["version"]),
        error: number(&decoded["error"]),
        firewall: Firewall::from_number(number(&decoded["firewall"])),
        holepunch: maybe(&decoded["holepunch"], |holepunch| HolepunchInfo {
            id: number(&holepunch["id"]),
            relays: list(&holepunch["relays"])
                .iter()
                .map(|relay| Relay {
                    relay: address(&relay["relayAddress"]),
                    peer: address(&relay["peerAddress"]),
                })
                .collect(),
        }),
        addresses4: list(&decoded["addresses4"]).iter().map(address).collect(),
        addresses6: list(&decoded["addresses6"])
            .iter()
            .map(|address| {
                let host = address["host"].as_str().expect("a host").parse().expect("a host");
                std::net::SocketAddrV6::new(host, number(&address["port"]) as u16, 0, 0)
            })
            .collect(),
        udx: maybe(&decoded["udx"], |udx| UdxInfo {
            version: number(&udx["version"]),
            reusable_socket: udx["reusableSocket"].as_bool().expect("a bool"),
            id: number(&udx["id"]),
            seq: number(&udx["seq"]),
        }),
        secret_stream: maybe(&decoded["secretStream"], |stream| number(&stream["version"])),
        relay_through: maybe(&decoded["relayThrough"], |relay| RelayThrough {
            public_key: array(&relay["publicKey"]),
            token: array(&relay["token"]),
        }),
        relay_addresses: maybe(&decoded["relayAddresses"], |all| list(all).iter().map(address).collect()),
    }
}

#[test]
fn payloads_of_handshakes() {
    let vectors = vectors();
    let cases = list(&vectors["noise_payload"]);
    assert_eq!(cases.len(), 6);
    for case in cases {
        let (expected, encoded) = (noise_payload(&case["decoded"]), bytes(&case["hex"]));
        assert_eq!(NoisePayload::decode(&encoded), Ok(expected.clone()), "{}", case["name"]);
        assert_eq!(expected.encode(), encoded, "{}", case["name"]);
    }
    // Of another version, nothing but that is known.
    let other = NoisePayload::decode(&[2, 0xff, 0xff]).expect("it is read");
    assert_eq!(other, NoisePayload { version: 2, ..NoisePayload::default() });
}

#[test]
fn payloads_of_holepunches() {
    let vectors = vectors();
    let case = &vectors["noise_ik"];
    let local = array(&vectors["holepunch_token"]["local_secret"]);
    let secret = HolepunchSecret::new(&array(&case["handshake_hash"]), local);
    let host = vectors["holepunch_token"]["host"].as_str().expect("a host").parse().expect("a host");
    assert_eq!(secret.token(host), array(&vectors["holepunch_token"]["token"]));
    let cases = list(&vectors["holepunch_payload"]);
    assert_eq!(cases.len(), 6);
    for case in cases {
        let decoded = &case["decoded"];
        let expected = HolepunchPayload {
            error: number(&decoded["error"]),
            firewall: Firewall::from_number(number(&decoded["firewall"])),
            round: number(&decoded["round"]),
            connected: decoded["connected"].as_bool().expect("a bool"),
            punching: decoded["punching"].as_bool().expect("a bool"),
            addresses: maybe(&decoded["addresses"], |all| list(all).iter().map(address).collect()),
            remote_address: maybe(&decoded["remoteAddress"], address),
            token: maybe(&decoded["token"], array),
            remote_token: maybe(&decoded["remoteToken"], array),
        };
        let (plain, mut sealed) = (bytes(&case["plain"]), bytes(&case["sealed"]));
        assert_eq!(HolepunchPayload::decode(&plain), Ok(expected.clone()), "{}", case["name"]);
        assert_eq!(expected.encode(), plain, "{}", case["name"]);
        assert_eq!(secret.seal(&expected, array(&case["nonce"])), sealed, "{}", case["name"]);
        assert_eq!(secret.open(&sealed), Some(expected), "{}", case["name"]);
        for at in 0..sealed.len() {
            sealed[at] ^= 1;
            assert_eq!(secret.open(&sealed), None);
            sealed[at] ^= 1;
            assert_eq!(secret.open(&sealed[..at]), None);
        }
    }
}

#[test]
fn the_whole_handshake() {
    let vectors = vectors();
    let case = &vectors["noise_ik"];
    let pair = |name: &str| KeyPair::from_seed(&array(&case[name]));
    let (client, server) = (pair("client_static_seed"), pair("server_static_seed"));
    let prologue = constant(command::PEER_HANDSHAKE);
    assert_eq!(prologue, array(&case["prologue"]));
    let mut ours = Noise::with_ephemeral(
        Pattern::Ik(server.public_key()),
        true,
        &client,
        &prologue,
        &array(&case["client_ephemeral_seed"]),
    )
    .expect("it starts");
    let mut theirs = Noise::with_ephemeral(
        Pattern::Ik([0; 32]),
        false,
        &server,
        &prologue,
        &array(&case["server_ephemeral_seed"]),
    )
    .expect("it starts");
    let first = ours.write(&bytes(&case["payload1"])).expect("written");
    // The vector's ephemeral keys are not in its messages; what is after them is.
    let payload = theirs.read(&first).expect("it is read");
    assert_eq!(payload, bytes(&case["payload1"]));
    assert!(NoisePayload::decode(&payload).is_ok());
    let second = theirs.write(&bytes(&case["payload2"])).expect("written");
    assert_eq!(ours.read(&second), Ok(bytes(&case["payload2"])));
    let keys = ours.finish().expect("it is finished");
    assert_eq!(theirs.finish().expect("it is finished").handshake_hash, keys.handshake_hash);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(value) = Announce::decode(&bytes) {
            prop_assert_eq!(Announce::decode(&value.encode()), Ok(value));
        }
        if let Ok(value) = Peers::decode(&bytes) {
            prop_assert_eq!(Peers::decode(&value.encode()), Ok(value));
        }
        if let Ok(value) = Peer::decode(&bytes) {
            prop_assert_eq!(Peer::decode(&value.encode()), Ok(value));
        }
        if let Ok(value) = MutablePut::decode(&bytes) {
            prop_assert_eq!(MutablePut::decode(&value.encode()), Ok(value));
        }
        if let Ok(value) = Handshake::decode(&bytes) {
            prop_assert_eq!(Handshake::decode(&value.encode()), Ok(value));
        }
        if let Ok(value) = Holepunch::decode(&bytes) {
            prop_assert_eq!(Holepunch::decode(&value.encode()), Ok(value));
        }
        if let Ok(value) = HolepunchPayload::decode(&bytes) {
            prop_assert_eq!(HolepunchPayload::decode(&value.encode()), Ok(value));
        }
        if let Ok(value) = NoisePayload::decode(&bytes)
            && value.version == 1
        {
            prop_assert_eq!(NoisePayload::decode(&value.encode()), Ok(value));
        }
    }
}
