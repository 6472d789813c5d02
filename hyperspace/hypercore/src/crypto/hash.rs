//! BLAKE2b-256: of anything, and of tree nodes, many at a time.

use crate::merkle::Node;
use blake2b_simd::many::{HashManyJob, hash_many, update_many};
use blake2b_simd::{Params, State};

/// 32 bytes of BLAKE2b.
pub type Hash = [u8; 32];

/// First byte of what is hashed for a leaf, a parent, a tree: so that none can pass for
/// another.
const LEAF: u8 = 0;
const PARENT: u8 = 1;
const TREE: u8 = 2;

/// Blocks up to this size are copied behind their header, so that they are hashed side
/// by side to the last byte; for larger ones the copy would cost more than that gains.
const COPIED: usize = 4096;

/// How many blocks are hashed in one go: a few times what the widest vectors take, and
/// small enough to stay in the cache.
const GROUP: usize = 32;

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(32);
    params
}

fn finish(hash: &blake2b_simd::Hash) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(hash.as_bytes());
    out
}

/// The hash of the pieces, one after the other.
pub fn hash(pieces: &[&[u8]]) -> Hash {
    let mut state = params().to_state();
    pieces.iter().for_each(|piece| {
        state.update(piece);
    });
    finish(&state.finalize())
}

/// The hash of the pieces, under a key.
pub fn keyed_hash(key: &[u8; 32], pieces: &[&[u8]]) -> Hash {
    keyed(key, pieces)
}

/// The same for keys of up to 64 bytes (a Noise handshake hash is one).
pub(crate) fn keyed(key: &[u8], pieces: &[&[u8]]) -> Hash {
    let mut state = params().key(key).to_state();
    pieces.iter().for_each(|piece| {
        state.update(piece);
    });
    finish(&state.finalize())
}

fn header(kind: u8, size: u64) -> [u8; 9] {
    let mut header = [kind; 9];
    header[1..].copy_from_slice(&size.to_le_bytes());
    header
}

/// The hash of a block's node. The block is as stored: encrypted, if the core is.
pub fn leaf_hash(block: &[u8]) -> Hash {
    hash(&[&header(LEAF, block.len() as u64), block])
}

/// The hash of the node above two nodes, in any order.
pub fn parent_hash(a: &Node, b: &Node) -> Hash {
    finish(&params().hash(&pair_message(a, b)))
}

fn pair_message(a: &Node, b: &Node) -> [u8; 73] {
    let (left, right) = if a.index < b.index { (a, b) } else { (b, a) };
    let mut message = [0; 73];
    message[..9].copy_from_slice(&header(PARENT, left.size.wrapping_add(right.size)));
    message[9..41].copy_from_slice(&left.hash);
    message[41..].copy_from_slice(&right.hash);
    message
}

/// The hash of a whole tree, by its roots from left to right: what is signed.
pub fn tree_hash<'a>(roots: impl IntoIterator<Item = &'a Node>) -> Hash {
    let mut state = params().to_state();
    state.update(&[TREE]);
    for root in roots {
        state.update(&root.hash).update(&root.index.to_le_bytes()).update(&root.size.to_le_bytes());
    }
    finish(&state.finalize())
}

/// [`leaf_hash`] of many blocks, several at a time.
pub fn hash_leaves<B: AsRef<[u8]>>(blocks: &[B], mut each: impl FnMut(Hash)) {
    let mut small = Small::default();
    for group in blocks.chunks(GROUP) {
        if group.iter().all(|block| block.as_ref().len() <= COPIED) {
            small.hash(group, &mut each);
        } else {
            hash_large(group, &mut each);
        }
    }
}

/// Where small blocks are put behind their headers.
#[derive(Default)]
struct Small {
    messages: Vec<u8>,
}

impl Small {
    fn hash<B: AsRef<[u8]>>(&mut self, blocks: &[B], each: &mut impl FnMut(Hash)) {
        self.messages.clear();
        for block in blocks {
            let block = block.as_ref();
            self.messages.extend_from_slice(&header(LEAF, block.len() as u64));
            self.messages.extend_from_slice(block);
        }
        let params = params();
        let mut rest = self.messages.as_slice();
        let mut jobs: Vec<HashManyJob> = Vec::with_capacity(blocks.len());
        for block in blocks {
            let (message, after) = rest.split_at(9 + block.as_ref().len());
            jobs.push(HashManyJob::new(&params, message));
            rest = after;
        }
        hash_many(jobs.iter_mut());
        jobs.iter().for_each(|job| each(finish(&job.to_hash())));
    }
}

fn hash_large<B: AsRef<[u8]>>(blocks: &[B], each: &mut impl FnMut(Hash)) {
    let params = params();
    let mut states: Vec<State> = blocks
        .iter()
        .map(|block| {
            let mut state = params.to_state();
            state.update(&header(LEAF, block.as_ref().len() as u64));
            state
        })
        .collect();
    update_many(states.iter_mut().zip(blocks));
    states.iter().for_each(|state| each(finish(&state.finalize())));
}

/// [`parent_hash`] of many pairs (left, right), several at a time.
pub fn hash_pairs(pairs: &[[Node; 2]], mut each: impl FnMut(Hash)) {
    let params = params();
    for group in pairs.chunks(GROUP) {
        let mut messages = [[0; 73]; GROUP];
        for (message, [left, right]) in messages.iter_mut().zip(group) {
            *message = pair_message(left, right);
        }
        let mut jobs: Vec<HashManyJob> =
            messages[..group.len()].iter().map(|message| HashManyJob::new(&params, message)).collect();
        hash_many(jobs.iter_mut());
        jobs.iter().for_each(|job| each(finish(&job.to_hash())));
    }
}
