//! HRPC: frames, calls and events; and what drives keep in their index.

use super::unhex;
use bytes::{Bytes, BytesMut};
use hyperspace_schema::frame::Decoder;
use hyperspace_schema::methods::{Call, Event};

pub fn run(input: &[u8]) {
    let _ = hyperdrive::Stat::decode(Bytes::copy_from_slice(input));
    let decoder = Decoder::new(1 << 16);
    let mut bytes = BytesMut::from(input);
    while let Ok(Some(frame)) = decoder.next(&mut bytes) {
        let _ = Call::decode(frame.service, frame.method, frame.payload.clone());
        let _ = Event::decode(frame.service, frame.method, frame.payload);
    }
    if let Some((head, payload)) = input.split_first_chunk::<2>() {
        let payload = Bytes::copy_from_slice(payload);
        let _ = Call::decode(u64::from(head[0] % 6), u64::from(head[1] % 32), payload);
    }
}

/// Frames, calls, and what a drive keeps.
pub fn samples() -> Vec<Vec<u8>> {
    let hex = [
        // Get, append, a status, an event; a call without its frame; a file.
        "0904010508011005",
        "0b060108011203616263",
        "03000100",
        "06040908011005",
        "010508011005",
        "08a4830210e80718e80720053801",
        "0a0a08a48302",
    ];
    hex.iter().map(|text| unhex(text)).collect()
}
