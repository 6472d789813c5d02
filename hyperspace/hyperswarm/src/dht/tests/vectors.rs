//! What npm sends is read, and what we send is what it sends.

use super::super::address::*;
use super::super::message::*;
use super::*;
use compact_encoding::{Reader, Writer};
use proptest::prelude::*;

#[test]
fn addresses_and_ids() {
    let vectors = vectors();
    for case in vectors["addresses"]["ipv4"].as_array().expect("a list") {
        let (expected, encoded) = (address(case), bytes(&case["hex"]));
        assert_eq!(read_v4(&mut Reader::new(&encoded)), Ok(expected));
        let mut writer = Writer::new();
        write_v4(&mut writer, expected);
        assert_eq!(writer.into_vec(), encoded);
        assert_eq!(node_id(expected), array(&case["id"]));
    }
    for case in vectors["addresses"]["ipv6"].as_array().expect("a list") {
        let host = case["host"].as_str().expect("a host").parse().expect("a host");
        let expected = std::net::SocketAddrV6::new(host, case["port"].as_u64().expect("a port") as u16, 0, 0);
        let encoded = bytes(&case["hex"]);
        assert_eq!(read_v6(&mut Reader::new(&encoded)), Ok(expected));
        let mut writer = Writer::new();
        write_v6(&mut writer, expected);
        assert_eq!(writer.into_vec(), encoded);
    }
    for case in vectors["addresses"]["node_id"].as_array().expect("a list") {
        assert_eq!(node_id(address(case)), array(&case["id"]));
    }
}

#[test]
fn requests() {
    let vectors = vectors();
    let cases = vectors["requests"].as_array().expect("a list");
    assert_eq!(cases.len(), 21);
    for case in cases {
        let (datagram, decoded) = (bytes(&case["hex"]), &case["decoded"]);
        let value = maybe(&decoded["value"], bytes);
        let expected = Request {
            tid: decoded["tid"].as_u64().expect("a tid") as u16,
            to: address(&decoded["to"]),
            id: maybe(&decoded["id"], array),
            token: maybe(&decoded["token"], array),
            internal: decoded["internal"].as_bool().expect("a bool"),
            command: decoded["command"].as_u64().expect("a command"),
            target: maybe(&decoded["target"], array),
            value: value.as_deref(),
        };
        assert_eq!(Message::decode(&datagram), Ok(Message::Request(expected.clone())), "{}", case["name"]);
        assert_eq!(expected.encode(), datagram, "{}", case["name"]);
    }
}

#[test]
fn replies() {
    let vectors = vectors();
    let cases = vectors["replies"].as_array().expect("a list");
    assert_eq!(cases.len(), 13);
    for case in cases {
        let (datagram, decoded) = (bytes(&case["hex"]), &case["decoded"]);
        let value = maybe(&decoded["value"], bytes);
        let closer = maybe(&decoded["closerNodes"], |nodes| {
            nodes.as_array().expect("a list").iter().map(address).collect()
        });
        let expected = Reply {
            tid: decoded["tid"].as_u64().expect("a tid") as u16,
            to: address(&decoded["to"]),
            id: maybe(&decoded["id"], array),
            token: maybe(&decoded["token"], array),
            closer: closer.unwrap_or_default(),
            error: decoded["error"].as_u64().expect("an error"),
            value: value.as_deref(),
        };
        assert_eq!(Message::decode(&datagram), Ok(Message::Reply(expected.clone())), "{}", case["name"]);
        assert_eq!(expected.encode(), datagram, "{}", case["name"]);
    }
}

#[test]
fn the_addresses_that_lead_nowhere() {
    let cases = ["10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.9.9", "172.31.0.1", "192.168.0.1"];
    for private in cases {
        let host = private.parse().expect("a host");
        assert!(is_private(host) && !is_reserved(host) && is_bogon(host), "{private}");
    }
    for reserved in
        ["0.0.0.0", "192.0.0.8", "192.0.2.1", "198.19.0.1", "198.51.100.1", "203.0.113.7", "224.0.0.1"]
    {
        let host = reserved.parse().expect("a host");
        assert!(!is_private(host) && is_reserved(host), "{reserved}");
    }
    for public in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "198.20.0.1", "223.255.255.255"] {
        assert!(!is_bogon(public.parse().expect("a host")), "{public}");
    }
    let at = |text: &str| text.parse::<SocketAddrV4>().expect("an address");
    assert!(is_plausible(at("127.0.0.1:1"), at("127.0.0.1:2")));
    assert!(!is_plausible(at("127.0.0.1:1"), at("1.1.1.1:2")));
    assert!(!is_plausible(at("2.2.2.2:0"), at("1.1.1.1:2")));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), reply: bool) {
        if let Some(first) = bytes.first_mut() {
            *first = if reply { 0x13 } else { 0x03 };
        }
        if let Ok(message) = Message::decode(&bytes) {
            // What was understood means the same when it is written anew.
            let again = match &message {
                Message::Request(request) => request.encode(),
                Message::Reply(reply) => {
                    prop_assert!(reply.closer.len() <= MAX_CLOSER);
                    reply.encode()
                }
            };
            prop_assert_eq!(Message::decode(&again), Ok(message));
        }
    }

    #[test]
    fn a_datagram_cut_short_is_no_other_one(at in 0..21usize, length in 0..400usize) {
        let datagram = bytes(&vectors()["requests"][at]["hex"]);
        if length < datagram.len() {
            prop_assert!(Message::decode(&datagram[..length]).is_err());
        }
    }

    #[test]
    fn distances_are_a_metric(a: [u8; 32], b: [u8; 32], bit in 0..256usize) {
        prop_assert_eq!(distance(&a, &a), [0; 32]);
        prop_assert_eq!(distance(&a, &b), distance(&b, &a));
        let mut near = a;
        near[bit / 8] ^= 0x80 >> (bit % 8);
        prop_assert_eq!(common_bits(&a, &near), bit);
        prop_assert_eq!(common_bits(&a, &a), 256);
    }
}
