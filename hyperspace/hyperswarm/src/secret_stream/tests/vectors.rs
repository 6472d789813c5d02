//! What npm sends is read, and what we send is what it sends.

use super::*;
use cipher::Sequence;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/transport-vectors.json")).expect("JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().expect("a string").as_bytes()).expect("hex")
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("its length")
}

fn keys(vectors: &Value, initiator: bool) -> Keys {
    let case = &vectors["noise"]["XX_empty_prologue"];
    let (a, b) = (array(&case["initiatorStatic"]["publicKey"]), array(&case["responderStatic"]["publicKey"]));
    let (tx, rx) = (array(&case["initiatorTx"]), array(&case["initiatorRx"]));
    let handshake_hash = array(&case["handshakeHash"]);
    let is_initiator = initiator;
    if initiator {
        Keys { is_initiator, public_key: a, remote_public_key: b, handshake_hash, tx, rx }
    } else {
        Keys { is_initiator, public_key: b, remote_public_key: a, handshake_hash, tx: rx, rx: tx }
    }
}

#[test]
fn ids_and_keys() {
    let vectors = vectors();
    let names = &vectors["secret_stream"]["namespaces"];
    let name = names["name"].as_str().expect("a string");
    for (number, role) in [(0, "INITIATOR"), (1, "RESPONDER"), (2, "SEND")] {
        assert_eq!(crate::hash::namespace(name, number), array(&names[role]));
    }
    let ids = &vectors["secret_stream"]["ids"];
    let hash = array(&ids["handshakeHash"]);
    for (initiator, id, key) in
        [(true, "id_initiator", "send_key_initiator"), (false, "id_responder", "send_key_responder")]
    {
        assert_eq!(header::id(&hash, initiator), array(&ids[id]));
        assert_eq!(header::datagram_key(&hash, initiator), array(&ids[key]));
    }
}

#[test]
fn datagrams() {
    let vectors = vectors();
    let case = &vectors["secret_stream"]["ids"]["unordered_example"];
    let (text, datagram) = (bytes(&case["plain"]), bytes(&case["datagram"]));
    let mut ours = Datagrams::starting_at(&keys(&vectors, true), 0);
    assert_eq!(ours.seal(&text).as_ref(), Some(&datagram));
    let theirs = Datagrams::new(&keys(&vectors, false)).expect("random numbers");
    assert_eq!(theirs.open(&datagram), Some(text));
    // Ours are not for ourselves, and no byte of one can be changed or left out.
    assert_eq!(ours.open(&datagram), None);
    for at in 0..datagram.len() {
        let mut forged = datagram.clone();
        forged[at] ^= 1;
        assert_eq!(theirs.open(&forged), None);
        assert_eq!(theirs.open(&datagram[..at]), None);
    }
    let mut last = Datagrams::starting_at(&keys(&vectors, true), 5);
    last.set_counter(4);
    assert_eq!(last.seal(b"one too many"), None);
}

#[test]
fn streams_of_npm_are_read() {
    let vectors = vectors();
    let case = &vectors["secret_stream"]["stream"];
    let now = Instant::now();
    let list =
        |name: &str| -> Vec<Vec<u8>> { case[name].as_array().expect("a list").iter().map(bytes).collect() };
    let seen: Vec<Bytes> = list("plaintexts_seen_by_responder")
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(Bytes::from)
        .collect();
    for (initiator, writes, expected) in [
        (false, list("initiator_to_responder"), seen),
        (true, list("responder_to_initiator"), vec![Bytes::from("from responder")]),
    ] {
        let mut stream =
            SecretStream::new(keys(&vectors, initiator), Config::default(), now).expect("it starts");
        stream.read_buffer().extend_from_slice(&writes.concat());
        assert_eq!(stream.poll(), Ok(Some(Event::Connected)));
        for message in expected {
            assert_eq!(stream.poll(), Ok(Some(Event::Message(message))));
        }
        assert_eq!(stream.poll(), Ok(None));
    }
}

#[test]
fn streams_of_npm_are_written() {
    let vectors = vectors();
    let case = &vectors["secret_stream"]["stream"];
    let texts: Vec<Vec<u8>> =
        case["plaintexts_seen_by_responder"].as_array().expect("a list").iter().map(bytes).collect();
    let writes: Vec<Vec<u8>> =
        case["initiator_to_responder"].as_array().expect("a list").iter().map(bytes).collect();
    let start = writes[0][3 + 32..].try_into().expect("24 bytes");
    let (header, mut sequence) = header::write(&keys(&vectors, true), &start);
    assert_eq!(header, writes[0][3..]);
    for (text, write) in texts.iter().zip(&writes[1..]) {
        let mut outgoing = BytesMut::new();
        outgoing.extend_from_slice(&[0; 4]);
        outgoing.extend_from_slice(text);
        seal(&mut sequence, &mut outgoing, 0, text.len());
        assert_eq!(outgoing, write);
    }
    // And the other direction, from the captured text alone.
    let writes: Vec<Vec<u8>> =
        case["responder_to_initiator"].as_array().expect("a list").iter().map(bytes).collect();
    let start = writes[0][3 + 32..].try_into().expect("24 bytes");
    let (header, mut sequence) = header::write(&keys(&vectors, false), &start);
    assert_eq!(header, writes[0][3..]);
    let mut frame = [&[0][..], b"from responder", &[0; 16]].concat();
    sequence.seal(&mut frame);
    assert_eq!(frame, writes[1][3..]);
}

#[test]
fn the_handshake_on_the_wire() {
    let vectors = vectors();
    let case = &vectors["noise"]["XX_empty_prologue"];
    let start = |initiator, name: &str, ephemeral: &str| {
        let pair = KeyPair::from_seed(&array(&case[name]["seed"]));
        let ephemeral = array(&case[ephemeral]["seed"]);
        let handshake =
            Handshake::with_ephemeral(Pattern::Xx, initiator, &pair, b"", &ephemeral).expect("it starts");
        SecretStream::new(handshake, Config::default(), Instant::now()).expect("it starts")
    };
    let mut ours = start(true, "initiatorStatic", "initiatorEphemeral");
    let mut theirs = start(false, "responderStatic", "responderEphemeral");
    let wire: Vec<Vec<u8>> = vectors["secret_stream"]["xx_wire"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|step| bytes(&step["bytes"]))
        .collect();

    let first = ours.outgoing().split();
    assert_eq!(first, wire[0]);
    theirs.read_buffer().extend_from_slice(&first);
    assert_eq!(theirs.poll(), Ok(None));
    let second = theirs.outgoing().split();
    assert_eq!(second, wire[1]);
    ours.read_buffer().extend_from_slice(&second);
    assert_eq!(ours.poll(), Ok(Some(Event::Connected)));
    // The header follows at once.
    let third = ours.outgoing().split();
    assert_eq!(third[..67], wire[2]);
    assert_eq!(third.len(), 67 + 59);
    theirs.read_buffer().extend_from_slice(&third);
    assert_eq!(theirs.poll(), Ok(Some(Event::Connected)));
    assert_eq!(theirs.keys().map(|keys| keys.handshake_hash), Some(array(&case["handshakeHash"])));
}

#[test]
fn a_key_is_changed_when_the_counter_is_used_up() {
    // libsodium's own rule, which no capture shows: both sides change, and go on.
    let (key, start) = ([1; 32], [2; HEADER_BYTES]);
    let (mut ours, mut theirs) = (Sequence::new(&key, &start), Sequence::new(&key, &start));
    ours.set_counter(u32::MAX);
    theirs.set_counter(u32::MAX);
    let before = ours.key();
    for text in [b"before", b"after!"] {
        let mut frame = [&[0][..], text, &[0; 16]].concat();
        ours.seal(&mut frame);
        assert_eq!(theirs.open(&mut frame), Ok(()));
        assert_eq!(frame[1..7], text[..]);
    }
    assert_ne!(ours.key(), before);
    assert_eq!(ours.key(), theirs.key());
}
