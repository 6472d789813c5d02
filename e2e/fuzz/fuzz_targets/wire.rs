//! The messages of a Hypercore channel: what can be read is written back, and reads the same.
#![no_main]

use bytes::Bytes;
use compact_encoding::Reader;
use hypercore::replication::wire::{Handshake, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    let _ = Handshake::decode(&mut Reader::new(body));
    let body = Bytes::copy_from_slice(body);
    if let Ok(Some(message)) = Message::decode(u64::from(kind % 12), &body) {
        let again = Message::decode(message.kind(), &message.to_bytes());
        assert_eq!(again, Ok(Some(message)));
    }
});
