//! The messages: as npm writes them, whatever they hold, and garbage.

use crate::frames::messages;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use hypercore::encoding::{MAX_UINT, Reader};
use hypercore::hyperspace_api::Key;
use hypercore::merkle::Node;
use hypercore::merkle::proof::{
    BlockProof, BlockRequest, HashRequest, Proof, Request, SeekRequest, UpgradeProof, UpgradeRequest,
};
use hypercore::replication::wire::{
    Bitfield, DataMessage, Handshake, Message, NoData, Range, Reason, RequestMessage, Sync, Want, capability,
};
use proptest::prelude::*;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/hypercore-11.json")).expect("the vectors are JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().expect("a string").as_bytes()).expect("hex")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}

/// What a vector says was written; requests and data are checked in `npm_vectors`, too.
fn described(name: &str, m: &Value) -> Option<Message> {
    Some(match name {
        "sync" => Message::Sync(Sync {
            can_upgrade: flag(&m["canUpgrade"]),
            uploading: flag(&m["uploading"]),
            downloading: flag(&m["downloading"]),
            has_manifest: flag(&m["hasManifest"]),
            allow_push: flag(&m["allowPush"]),
            fork: number(&m["fork"]),
            length: number(&m["length"]),
            remote_length: number(&m["remoteLength"]),
        }),
        "request" => {
            let pair = |part: &Value, a: &str, b: &str| {
                part.is_object().then(|| (number(&part[a]), number(&part[b])))
            };
            Message::Request(RequestMessage {
                id: number(&m["id"]),
                fork: number(&m["fork"]),
                request: Request {
                    block: pair(&m["block"], "index", "nodes")
                        .map(|(index, nodes)| BlockRequest { index, nodes }),
                    hash: pair(&m["hash"], "index", "nodes")
                        .map(|(index, nodes)| HashRequest { index, nodes }),
                    seek: pair(&m["seek"], "bytes", "padding")
                        .map(|(bytes, padding)| SeekRequest { bytes, padding }),
                    upgrade: pair(&m["upgrade"], "start", "length")
                        .map(|(start, length)| UpgradeRequest { start, length }),
                },
                manifest: flag(&m["manifest"]),
                priority: number(&m["priority"]),
            })
        }
        "cancel" => Message::Cancel { request: number(&m["request"]) },
        "noData" => Message::NoData(NoData {
            request: number(&m["request"]),
            reason: match number(&m["reason"]) {
                0 => Reason::Unknown,
                1 => Reason::NotAvailable,
                _ => Reason::InvalidRequest,
            },
        }),
        "want" | "unwant" => {
            let want =
                Want { start: number(&m["start"]), length: number(&m["length"]), any: flag(&m["any"]) };
            if name == "want" { Message::Want(want) } else { Message::Unwant(want) }
        }
        "range" => Message::Range(Range {
            drop: flag(&m["drop"]),
            start: number(&m["start"]),
            length: number(&m["length"]),
        }),
        "bitfield" => Message::Bitfield(Bitfield {
            start: number(&m["start"]),
            words: m["words"].as_array()?.iter().map(|word| number(word) as u32).collect(),
        }),
        "extension" => {
            Message::Extension { name: m["name"].as_str()?.to_owned(), payload: bytes(&m["message"]).into() }
        }
        _ => return None,
    })
}

#[test]
fn every_message_is_as_npm_writes_it() {
    let vectors = vectors();
    let wire = vectors["wire"].as_array().expect("a list");
    assert_eq!(wire.len(), 23);
    for vector in wire {
        let (kind, body) = (number(&vector[0]), Bytes::from(bytes(&vector[3])));
        let message = Message::decode(kind, &body).expect("npm wrote it").expect("it is known");
        assert_eq!(message.kind(), kind, "{vector}");
        assert_eq!(message.to_bytes(), body, "{vector}");
        match described(vector[1].as_str().expect("a name"), &vector[2]) {
            Some(described) => assert_eq!(message, described, "{vector}"),
            None => assert_eq!(kind, 3, "only Data is described elsewhere: {vector}"),
        }
    }
}

#[test]
fn both_recorded_sessions_are_read_to_the_last_message() {
    let vectors = vectors();
    for name in ["transcript", "transcriptSparse"] {
        let mut kinds = std::collections::BTreeSet::new();
        for frame in vectors[name].as_array().expect("a list").iter().filter(|frame| frame[1] != "note") {
            for (kind, body) in messages(&bytes(&frame[2])) {
                let body = Bytes::from(body);
                let message = Message::decode(kind, &body).expect("npm wrote it").expect("it is known");
                assert_eq!(message.to_bytes(), body, "{frame}");
                kinds.insert(kind);
            }
        }
        assert!(kinds.is_superset(&[0, 1, 3, 8].into()), "{name}: {kinds:?}");
    }
}

#[test]
fn capabilities_are_npms() {
    let vectors = vectors();
    let v = &vectors["capability"];
    let hash: [u8; 64] = bytes(&v["handshakeHash"]).try_into().expect("64 bytes");
    let key = Key::try_from(bytes(&v["key"]).as_slice()).expect("a key");
    assert_eq!(capability(&hash, &key, true).to_vec(), bytes(&v["initiator"]));
    assert_eq!(capability(&hash, &key, false).to_vec(), bytes(&v["responder"]));
    let recorded = bytes(&v["handshakeHex"]);
    let handshake = Handshake::decode(&mut Reader::new(&recorded)).expect("npm wrote it");
    assert_eq!(handshake.to_vec(), recorded);
    assert!(Handshake::decode(&mut Reader::new(&recorded[..32])).is_err());
}

fn uint() -> impl Strategy<Value = u64> {
    (0u32..54).prop_flat_map(|bits| 0..=(MAX_UINT >> (53 - bits)))
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let node = (uint(), uint(), any::<[u8; 32]>()).prop_map(|(index, size, hash)| Node { index, size, hash });
    prop::collection::vec(node, 0..5)
}

fn data() -> impl Strategy<Value = Message> {
    let value = prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    let block = prop::option::of((uint(), value, nodes()))
        .prop_map(|block| block.map(|(index, value, nodes)| BlockProof { index, value, nodes }));
    let signature = prop::option::of(prop::collection::vec(any::<u8>(), 1..70));
    let upgrade = prop::option::of((uint(), uint(), nodes(), nodes(), signature)).prop_map(|upgrade| {
        upgrade.map(|(start, length, nodes, additional_nodes, signature)| UpgradeProof {
            start,
            length,
            nodes,
            additional_nodes,
            signature,
        })
    });
    (uint(), uint(), block, upgrade).prop_map(|(request, fork, block, upgrade)| {
        let proof = Proof { fork, block, upgrade, ..Proof::default() };
        Message::Data(Box::new(DataMessage { request, proof, manifest: None }))
    })
}

fn message() -> impl Strategy<Value = Message> {
    let pair = || prop::option::of((uint(), uint()));
    let sync =
        (any::<[bool; 5]>(), uint(), uint(), uint()).prop_map(|(flags, fork, length, remote_length)| {
            let [can_upgrade, uploading, downloading, has_manifest, allow_push] = flags;
            let sync = Sync {
                can_upgrade,
                uploading,
                downloading,
                has_manifest,
                allow_push,
                fork,
                length,
                remote_length,
            };
            Message::Sync(sync)
        });
    let request = (uint(), uint(), pair(), pair(), pair(), pair(), any::<bool>(), 0u64..3).prop_map(
        |(id, fork, block, hash, seek, upgrade, manifest, priority)| {
            let request = Request {
                block: block.map(|(index, nodes)| BlockRequest { index, nodes }),
                hash: hash.map(|(index, nodes)| HashRequest { index, nodes }),
                seek: seek.map(|(bytes, padding)| SeekRequest { bytes, padding }),
                upgrade: upgrade.map(|(start, length)| UpgradeRequest { start, length }),
            };
            Message::Request(RequestMessage { id, fork, request, manifest, priority })
        },
    );
    let reason = prop_oneof![Just(Reason::Unknown), Just(Reason::NotAvailable), Just(Reason::InvalidRequest)];
    let want =
        || (uint(), uint(), any::<bool>()).prop_map(|(start, length, any)| Want { start, length, any });
    prop_oneof![
        sync,
        request,
        data(),
        uint().prop_map(|request| Message::Cancel { request }),
        (uint(), reason).prop_map(|(request, reason)| Message::NoData(NoData { request, reason })),
        want().prop_map(Message::Want),
        want().prop_map(Message::Unwant),
        (0u64..1 << 50, prop::collection::vec(any::<u32>(), 0..40))
            .prop_map(|(start, words)| Message::Bitfield(Bitfield { start, words })),
        (any::<bool>(), uint(), uint()).prop_map(|(drop, start, length)| Message::Range(Range {
            drop,
            start,
            length
        })),
        ("[a-z/é]{0,20}", prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(name, payload)| Message::Extension { name, payload: payload.into() }),
    ]
}

proptest! {
    #[test]
    fn every_message_reads_back(message in message()) {
        let body = message.to_bytes();
        prop_assert_eq!(Message::decode(message.kind(), &body), Ok(Some(message.clone())));
        // What newer versions add at the end is of no account. The payload of an extension,
        // and a flag that may be left out, are at the end themselves.
        if !matches!(message, Message::Extension { .. } | Message::Want(_) | Message::Unwant(_)) {
            let longer = [&body[..], &[7, 7]].concat().into();
            prop_assert_eq!(Message::decode(message.kind(), &longer), Ok(Some(message)));
        }
    }

    #[test]
    fn a_message_that_is_cut_short_is_no_other(message in message(), cut in 0usize..100) {
        let body = message.to_bytes();
        let short = body.slice(..cut.min(body.len().saturating_sub(1)));
        if let Ok(Some(read)) = Message::decode(message.kind(), &short) {
            let may_be_short = matches!(
                read,
                Message::Extension { .. } | Message::Want(_) | Message::Unwant(_) | Message::NoData(_)
            );
            prop_assert!(may_be_short);
        }
    }

    #[test]
    fn garbage_is_refused_without_a_panic(
        kind in 0u64..12,
        garbage in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff), Just(0xfe), 0u8..32], 0..200),
    ) {
        let garbage = Bytes::from(garbage);
        if let Ok(Some(message)) = Message::decode(kind, &garbage) {
            let again = message.to_bytes();
            prop_assert_eq!(Message::decode(kind, &again), Ok(Some(message)));
        }
        let _ = Handshake::decode(&mut Reader::new(&garbage));
    }
}
