//! Bees: what peers ask about one, and the blocks of one that a stranger has written.

use super::unhex;
use bytes::Bytes;
use hyperbee::Block;
use hyperbee::hints::{Query, decode_answer, encode_answer};

pub fn run(input: &[u8]) {
    if let Some(query) = Query::decode(input) {
        assert_eq!(Query::decode(&query.encode()), Some(query));
    }
    if let Some(blocks) = decode_answer(input) {
        let again =
            encode_answer(&blocks).iter().flat_map(|part| decode_answer(part)).flatten().collect::<Vec<_>>();
        assert_eq!(again, blocks);
    }
    hyperbee::is_header(input);
    if let Ok(block) = Block::decode(Bytes::copy_from_slice(input), 7) {
        assert!(block.levels.iter().all(|level| level.keys.len() <= 8 && level.children.len() <= 9));
    }
}

/// A get, an iterator, an answer, a header and two blocks.
pub fn samples() -> Vec<Vec<u8>> {
    let hex = [
        "071205080512016b",
        "1b1a1108051201612a016330003800420301ac02",
        "0d0a0b080110ad021a040301ac02",
        "0a0868797065726265651200",
        "0a050a030a01011206666f6f2f61621a0476616c31",
        "0a0e0a0c0a0203021206020001000300120161",
    ];
    hex.iter().map(|text| unhex(text)).collect()
}
