use super::*;
use curve25519_dalek::edwards::CompressedEdwardsY as CompressedPoint;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/data/transport-vectors.json")).expect("JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().expect("a string").as_bytes()).expect("hex")
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("its length")
}

fn pair(value: &Value) -> KeyPair {
    let pair = KeyPair::from_seed(&array(&value["seed"]));
    assert_eq!(pair.public_key(), array(&value["publicKey"]));
    pair
}

#[test]
fn shared_secrets_of_npm() {
    for case in vectors()["noise"]["dh"].as_array().expect("a list") {
        let (a, b) = (pair(&case["a"]), pair(&case["b"]));
        assert_eq!(primitives::diffie_hellman(&a, &b.public_key()), Some(array(&case["dh"])));
        assert_eq!(primitives::diffie_hellman(&b, &a.public_key()), Some(array(&case["dh_reverse"])));
    }
}

#[test]
fn bad_points_give_no_secret() {
    let pair = KeyPair::from_seed(&[1; 32]);
    let mut identity = [0; 32];
    identity[0] = 1;
    // The identity with its sign bit set, and y = p + 1: other forms of the same point.
    let mut signed = identity;
    signed[31] = 0x80;
    let mut larger = [0xff; 32];
    (larger[0], larger[31]) = (0xee, 0x7f);
    // A point of the prime group plus one of order two: (x, y) to (-x, -y).
    let mut mixed = pair.public_key();
    let modulus = {
        let mut p = [0xff_u8; 32];
        (p[0], p[31]) = (0xed, 0x7f);
        p
    };
    let sign = mixed[31] & 0x80;
    mixed[31] &= 0x7f;
    let mut borrow = 0i16;
    for (byte, of) in mixed.iter_mut().zip(modulus) {
        let difference = i16::from(of) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = difference.rem_euclid(256) as u8;
    }
    mixed[31] |= sign ^ 0x80;
    assert!(CompressedPoint(mixed).decompress().is_some(), "it is on the curve");

    for key in [identity, signed, larger, [0; 32], [2; 32], [0xff; 32], mixed] {
        assert_eq!(primitives::diffie_hellman(&pair, &key), None, "{key:02x?}");
    }
}

#[test]
fn transcripts_of_npm() {
    for name in ["XX_empty_prologue", "IK_empty_prologue", "IK_hyperdht_prologue"] {
        let case = &vectors()["noise"][name];
        let (ours, theirs) = (pair(&case["initiatorStatic"]), pair(&case["responderStatic"]));
        let pattern = match case["pattern"].as_str() {
            Some("XX") => Pattern::Xx,
            _ => Pattern::Ik(theirs.public_key()),
        };
        let prologue = bytes(&case["prologue"]);
        let start = |initiator, pair, ephemeral: &Value| {
            Handshake::with_ephemeral(pattern, initiator, pair, &prologue, &array(&ephemeral["seed"]))
                .expect("it starts")
        };
        let mut sides = [
            start(true, &ours, &case["initiatorEphemeral"]),
            start(false, &theirs, &case["responderEphemeral"]),
        ];
        for (number, step) in case["messages"].as_array().expect("a list").iter().enumerate() {
            let [first, second] = &mut sides;
            let (from, to) = if number % 2 == 0 { (first, second) } else { (second, first) };
            assert!(from.is_our_turn() && !to.is_our_turn());
            let message = from.write(&bytes(&step["payload"])).expect("it writes");
            assert_eq!(message, bytes(&step["message"]), "{name}, message {number}");
            assert_eq!(to.read(&message).expect("it reads"), bytes(&step["payload"]));
        }
        let [ours, theirs] = sides.map(|side| side.finish().expect("it is finished"));
        for (keys, tx, rx) in [(&ours, "initiatorTx", "initiatorRx"), (&theirs, "initiatorRx", "initiatorTx")]
        {
            assert_eq!(keys.handshake_hash, array(&case["handshakeHash"]));
            assert_eq!(keys.tx, array(&case[tx]));
            assert_eq!(keys.rx, array(&case[rx]));
        }
        assert_eq!(ours.remote_public_key, theirs.public_key);
        assert_eq!(theirs.remote_public_key, ours.public_key);
    }
}

#[test]
fn the_hash_and_the_cipher_of_npm() {
    use snow::params::{CipherChoice, HashChoice};
    use snow::resolvers::CryptoResolver;
    let vectors = &vectors()["noise"];
    let mut hash = Primitives.resolve_hash(&HashChoice::Blake2b).expect("a hash");
    let case = &vectors["hmac_blake2b"];
    let mut out = [0; 64];
    hash.hmac(&bytes(&case["key"]), &bytes(&case["data"]), &mut out);
    assert_eq!(out, array(&case["out"]));
    let case = &vectors["hkdf"];
    let (mut first, mut second) = ([0; 64], [0; 64]);
    hash.hkdf(&bytes(&case["salt"]), &bytes(&case["ikm"]), 2, &mut first, &mut second, &mut []);
    assert_eq!((first, second), (array(&case["out1"]), array(&case["out2"])));

    let mut cipher = Primitives.resolve_cipher(&CipherChoice::ChaChaPoly).expect("a cipher");
    let case = &vectors["cipher"];
    cipher.set(&array(&case["key"]));
    let (ad, plain) = (bytes(&case["ad"]), bytes(&case["plain"]));
    for (number, name) in [(0, "nonce0"), (1, "nonce1")] {
        let mut sealed = [0; 64];
        let length = cipher.encrypt(number, &ad, &plain, &mut sealed);
        assert_eq!(sealed[..length], bytes(&case[name]));
        let mut opened = [0; 64];
        assert_eq!(cipher.decrypt(number, &ad, &sealed[..length], &mut opened), Ok(plain.len()));
        assert_eq!(opened[..plain.len()], plain);
    }
}

#[test]
fn an_impostor_is_refused() {
    let [alice, bob, eve] = [1, 2, 3].map(|seed| KeyPair::from_seed(&[seed; 32]));
    let mut ours = Handshake::initiator(Pattern::Ik(bob.public_key()), &alice, b"").expect("it starts");
    let mut theirs = Handshake::responder(Pattern::Ik(()), &eve, b"").expect("it starts");
    let message = ours.write(b"").expect("it writes");
    assert_eq!(theirs.read(&message), Err(HandshakeError::Refused));
    // Another prologue is another protocol.
    let mut theirs = Handshake::responder(Pattern::Ik(()), &bob, b"other").expect("it starts");
    assert_eq!(theirs.read(&message), Err(HandshakeError::Refused));
}

#[test]
fn turns_and_lengths_are_kept() {
    let pair = KeyPair::from_seed(&[1; 32]);
    let mut ours = Handshake::initiator(Pattern::Xx, &pair, b"").expect("it starts");
    assert_eq!(ours.read(&[0; 32]), Err(HandshakeError::NotOurTurn));
    let most = MAX_MESSAGE - OVERHEAD;
    assert_eq!(ours.write(&vec![0; most + 1]), Err(HandshakeError::TooLong(most + 1)));
    assert_eq!(ours.write(&vec![0; most]).map(|message| message.len()), Ok(most + 32));
    assert_eq!(ours.write(b""), Err(HandshakeError::NotOurTurn));
    assert!(matches!(ours.finish(), Err(HandshakeError::NotOurTurn)));
}

proptest::proptest! {
    #[test]
    fn garbage_is_refused(
        messages in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..200), 1..4),
        initiator: bool,
        ik: bool,
    ) {
        let pair = KeyPair::from_seed(&[1; 32]);
        let pattern = if ik { Pattern::Ik(pair.public_key()) } else { Pattern::Xx };
        let mut side = Handshake::start(pattern, initiator, &pair, b"", None).expect("it starts");
        for message in messages {
            // What anybody may send, no point perhaps, shows only in our next message.
            if (side.is_our_turn() && side.write(b"").is_err()) || side.read(&message).is_err() {
                break;
            }
        }
        proptest::prop_assert!(!side.is_finished());
    }
}
