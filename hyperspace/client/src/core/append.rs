//! Appending: the blocks of a large batch go to the socket without being copied.

use super::CoreState;
use crate::mux::{BY_REFERENCE, Outbox};
use bytes::{BufMut, Bytes};
use hyperspace_api::{Appended, CoreError};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::{Method, hypercore::Append};
use std::sync::Arc;

/// Blocks larger than this are not kept in the cache when appended: the content of
/// files, which is seldom read back at once.
const KEEP_BLOCK: usize = 16 * 1024;

pub(super) async fn append(
    core: &Arc<CoreState>,
    blocks: Vec<Bytes>,
    expected_length: Option<u64>,
) -> Result<Appended, CoreError> {
    let (session, id) = core.bound().await?;
    let size: usize = blocks.iter().map(|block| block.len() + 10).sum();
    let max = core.client.options.max_frame;
    if size > max {
        return Err(CoreError::BlockTooLarge { size: size as u64, max: max as u64 });
    }
    let before = core.head();
    let generation = core.generation();
    let large = blocks.iter().any(|block| block.len() >= BY_REFERENCE);
    // A dropped append is carried through: the server has it.
    let appended = if large {
        let encode = |out: &mut Outbox, call| by_reference(out, call, id, &blocks, expected_length);
        session.mux.call_with::<Append>(None, false, encode).await
    } else {
        // The clones share the blocks' bytes.
        let request = m::AppendRequest { id, blocks: blocks.clone(), expected_length };
        session.mux.call::<Append>(&request, None, false).await
    };
    let appended = appended.map_err(|error| core.client.interrupted(error, &session))?;
    let m::AppendResponse { length, byte_length, seq: first } = appended;
    core.appended(&before, length, byte_length);
    if size <= core.client.cache.capacity() / 16 {
        for (index, block) in (first..).zip(&blocks) {
            if block.len() <= KEEP_BLOCK {
                // Copied, lest it hold a larger buffer of the caller's.
                core.keep(generation, index, &Bytes::copy_from_slice(block), false);
            }
        }
    }
    Ok(Appended { first, length, byte_length })
}

/// Writes the frame of an `AppendRequest`, as prost would, but with large blocks
/// by reference.
fn by_reference(out: &mut Outbox, call: u64, core: u32, blocks: &[Bytes], expected_length: Option<u64>) {
    const BLOCKS_TAG: u8 = 2 << 3 | 2; // field 2, length-delimited
    let head = m::AppendRequest { id: core, ..m::AppendRequest::default() };
    let tail = expected_length.map(|expected| {
        const EXPECTED_TAG: u8 = 3 << 3; // field 3, varint
        let mut tail = Vec::with_capacity(11);
        tail.put_u8(EXPECTED_TAG);
        prost::encoding::encode_varint(expected, &mut tail);
        tail
    });
    let tail = tail.unwrap_or_default();
    let varint = |n: u64| prost::encoding::encoded_len_varint(n);
    let header = Append::SERVICE << 2;
    let message: usize = prost::Message::encoded_len(&head)
        + blocks.iter().map(|block| 1 + varint(block.len() as u64) + block.len()).sum::<usize>()
        + tail.len();
    let body = varint(header) + varint(Append::METHOD) + varint(call) + message;
    out.push(|to| {
        for n in [body as u64, header, Append::METHOD, call] {
            prost::encoding::encode_varint(n, to);
        }
        prost::Message::encode_raw(&head, to);
    });
    for block in blocks {
        out.push(|to| {
            to.put_u8(BLOCKS_TAG);
            prost::encoding::encode_varint(block.len() as u64, to);
        });
        out.push_block(block);
    }
    out.push(|to| to.extend_from_slice(&tail));
}
