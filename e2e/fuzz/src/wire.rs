//! The messages of a Hypercore channel: what can be read is written back, and reads the same.

use super::unhex;
use bytes::Bytes;
use compact_encoding::Reader;
use hypercore::replication::wire::{Handshake, Message};

pub fn run(input: &[u8]) {
    let Some((kind, body)) = input.split_first() else { return };
    let _ = Handshake::decode(&mut Reader::new(body));
    let body = Bytes::copy_from_slice(body);
    if let Ok(Some(message)) = Message::decode(u64::from(kind % 12), &body) {
        let again = Message::decode(message.kind(), &message.to_bytes());
        assert_eq!(again, Ok(Some(message)));
    }
}

/// Messages of every kind.
pub fn samples() -> Vec<Vec<u8>> {
    let hex = [
        // Sync, requests of all there is, Cancel, NoData, Want, Unwant, a Bitfield, Ranges, an
        // Extension; and an answer with a block, an upgrade and a signature.
        "000e010f0f",
        "0109010105020f01",
        "01180101000f",
        "013f010105020a0264080f0102",
        "0207",
        "04050102",
        "0500fe00002000",
        "0600fe00002000",
        "07000184000000",
        "08020a",
        "08010302",
        "090178026162",
    ];
    let data = [
        &[3, 9, 1, 1, 2, 3, 0x61, 0x62, 0x63, 1, 6, 3][..],
        &[7; 32],
        &[2, 1, 1, 8, 3],
        &[9; 32],
        &[0, 64],
        &[5; 64],
    ];
    hex.iter().map(|text| unhex(text)).chain([data.concat()]).collect()
}
