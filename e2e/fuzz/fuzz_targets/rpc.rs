//! HRPC: frames, calls and events; and what drives keep in their index.
#![no_main]

use bytes::{Bytes, BytesMut};
use hyperspace_schema::frame::Decoder;
use hyperspace_schema::methods::{Call, Event};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
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
});
