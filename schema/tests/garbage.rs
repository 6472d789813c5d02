//! Whatever bytes come, and however they are cut: a frame, a wait, or an error.

use bytes::{Bytes, BytesMut};
use hyperspace_schema::frame::{self, Decoder, Frame, FrameError, Kind};
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{Call, DecodeError, Event, MAX_FIELDS, hypercore};
use proptest::prelude::*;

fn frames(wire: &mut BytesMut, decoder: Decoder) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next(wire)? {
        frames.push(frame);
    }
    Ok(frames)
}

fn arbitrary_frame() -> impl Strategy<Value = (u8, u64, u64, u64, Vec<u8>)> {
    let number = prop_oneof![0..4u64, 0..1u64 << 20, 0..1u64 << 53];
    (0..4u8, number.clone(), number.clone(), number, prop::collection::vec(any::<u8>(), 0..300))
}

fn encoded(kind: u8, service: u64, method: u64, id: u64, payload: &[u8]) -> Vec<u8> {
    fn varint(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    let mut body = Vec::new();
    varint(&mut body, service << 2 | u64::from(kind));
    varint(&mut body, method);
    varint(&mut body, id);
    body.extend_from_slice(payload);
    let mut wire = Vec::new();
    varint(&mut wire, body.len() as u64);
    wire.extend(body);
    wire
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes(input: Vec<u8>) {
        let mut wire = BytesMut::from(&input[..]);
        let decoder = Decoder::new(1000);
        prop_assert!(decoder.missing(&wire) <= 1000 + 8);
        if let Ok(frames) = frames(&mut wire, decoder) {
            for frame in frames {
                let _ = Call::decode(frame.service, frame.method, frame.payload.clone());
                let _ = Event::decode(frame.service, frame.method, frame.payload);
            }
            prop_assert!(wire.len() < 1000 + 8);
        }
    }

    #[test]
    fn any_payload_of_any_method(service in 0..6u64, method in 0..34u64, payload: Vec<u8>) {
        let payload = Bytes::from(payload);
        let call = Call::decode(service, method, payload.clone());
        let event = Event::decode(service, method, payload);
        // No method goes both ways.
        let unknown = |error: Option<DecodeError>| matches!(error, Some(DecodeError::UnknownMethod { .. }));
        prop_assert!(unknown(call.err()) || unknown(event.err()));
    }

    #[test]
    fn cut_anywhere(list in prop::collection::vec(arbitrary_frame(), 1..4), keep_alives in 0..3usize) {
        let mut wire = Vec::new();
        for (kind, service, method, id, payload) in &list {
            wire.extend(vec![0; keep_alives]);
            wire.extend(encoded(*kind, *service, *method, *id, payload));
        }
        let whole = frames(&mut BytesMut::from(&wire[..]), Decoder::default()).unwrap();
        prop_assert_eq!(whole.len(), list.len());
        for (frame, (kind, service, method, id, payload)) in whole.iter().zip(&list) {
            let kinds = [Kind::Request, Kind::Response, Kind::Error, Kind::Unassigned];
            prop_assert_eq!(frame.kind, kinds[usize::from(*kind)]);
            prop_assert_eq!((frame.service, frame.method, frame.id), (*service, *method, *id));
            prop_assert_eq!(&frame.payload[..], &payload[..]);
        }
        for cut in 0..=wire.len() {
            let mut input = BytesMut::from(&wire[..cut]);
            let mut got = frames(&mut input, Decoder::default()).unwrap();
            let missing = Decoder::default().missing(&input);
            prop_assert!(missing <= wire.len() - cut, "{} of {}", missing, wire.len() - cut);
            input.extend_from_slice(&wire[cut..]);
            got.extend(frames(&mut input, Decoder::default()).unwrap());
            prop_assert_eq!(&got, &whole, "cut at {}", cut);
        }
    }

    #[test]
    fn byte_by_byte(list in prop::collection::vec(arbitrary_frame(), 1..3)) {
        let wire: Vec<u8> = list.iter().flat_map(|(k, s, m, i, p)| encoded(*k, *s, *m, *i, p)).collect();
        let whole = frames(&mut BytesMut::from(&wire[..]), Decoder::default()).unwrap();
        let (mut input, mut got) = (BytesMut::new(), Vec::new());
        for byte in wire {
            input.extend_from_slice(&[byte]);
            got.extend(frames(&mut input, Decoder::default()).unwrap());
        }
        prop_assert_eq!(got, whole);
    }

    #[test]
    fn what_is_written_reads_back(id in 0..1u64 << 56, blocks: Vec<Vec<u8>>, expected: Option<u64>) {
        let blocks = blocks.into_iter().map(Bytes::from).collect();
        let request = AppendRequest { id: 7, blocks, expected_length: expected };
        let mut wire = BytesMut::new();
        frame::request::<hypercore::Append>(&mut wire, id, &request);
        let frame = Decoder::default().next(&mut wire).unwrap().unwrap();
        prop_assert_eq!(frame.id, id);
        prop_assert_eq!(Call::decode(frame.service, frame.method, frame.payload).unwrap(), Call::Append(request));
    }
}

#[test]
fn varints_have_eight_bytes_at_most() {
    let decode = |bytes: &[u8]| Decoder::default().next(&mut BytesMut::from(bytes));
    assert_eq!(decode(&[0x80; 7]), Ok(None));
    assert_eq!(decode(&[0x80; 8]), Err(FrameError::Varint));
    assert_eq!(
        decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).unwrap_err().to_string(),
        format!("a frame of {} bytes; at most {} are taken", (1u64 << 56) - 1, frame::MAX_BODY)
    );
    // The largest id there is; one byte more is none.
    let mut body = vec![0x04, 0x01];
    body.extend([0xff; 7]);
    body.push(0x7f);
    let mut wire = vec![body.len() as u8];
    wire.extend(&body);
    assert_eq!(decode(&wire).unwrap().unwrap().id, (1 << 56) - 1);
    wire.truncate(wire.len() - 1);
    wire.extend([0xff, 0x01]);
    wire[0] += 1;
    assert_eq!(decode(&wire), Err(FrameError::Varint));
}

#[test]
fn a_body_that_ends_in_its_header() {
    for body in [&[0x04][..], &[0x04, 0x01], &[0x04, 0x01, 0x80], &[0x84], &[0x84, 0x80, 0x80]] {
        let mut wire = vec![body.len() as u8];
        wire.extend(body);
        assert_eq!(
            Decoder::default().next(&mut BytesMut::from(&wire[..])),
            Err(FrameError::Short),
            "{body:x?}"
        );
    }
}

#[test]
fn the_bound_is_exact_and_checked_before_the_bytes_come() {
    let frame = encoded(0, 1, 1, 1, &[0; 7]);
    assert!(Decoder::new(10).next(&mut BytesMut::from(&frame[..])).unwrap().is_some());
    assert_eq!(Decoder::new(9).next(&mut BytesMut::from(&frame[..1])), Err(FrameError::TooLarge(10, 9)));
}

/// Two bytes on the wire must not become a hundred in memory, a million times.
#[test]
fn a_message_of_very_many_parts_is_refused() {
    let empty_blocks = |count: usize| {
        let mut payload = vec![0x08, 0x00];
        payload.extend([0x12, 0x00].repeat(count));
        Call::decode(3, 2, payload.into())
    };
    assert!(matches!(empty_blocks(MAX_FIELDS - 1), Ok(Call::Append(r)) if r.blocks.len() == MAX_FIELDS - 1));
    let refused = empty_blocks(MAX_FIELDS).unwrap_err();
    assert!(matches!(refused, DecodeError::TooManyFields { method: "Hypercore.Append" }), "{refused}");
}

#[test]
fn a_message_that_lacks_a_required_field_is_refused() {
    for (service, method, payload, missing) in [
        (3, 1, &b"\x08\x00"[..], 2),
        (3, 1, b"\x10\x00\x18\x00", 1),
        (3, 1, b"", 1),
        (2, 1, b"\x1a\x01x", 1),
        (4, 2, b"\x10\x01", 1),
        (3, 13, b"\x08\x00\x10\x00", 4),
    ] {
        match Call::decode(service, method, Bytes::copy_from_slice(payload)) {
            Err(DecodeError::Missing { field, .. }) => assert_eq!(field, missing, "{service}.{method}"),
            other => panic!("{service}.{method}: {other:?}"),
        }
    }
    assert!(matches!(Call::decode(1, 1, Bytes::new()), Ok(Call::Status(_))));
}
