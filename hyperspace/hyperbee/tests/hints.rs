//! Answers to what peers look up, held against those of npm hyperbee; see `vectors.json`.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyperbee::hints::{self, Of, Query, Range};
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{Core, Corestore, OpenTarget};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct Vectors {
    blocks: Vec<String>,
    queries: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    message: String,
    answers: Vec<String>,
}

fn unhex(text: &str) -> Bytes {
    HEXLOWER.decode(text.as_bytes()).expect("hex").into()
}

async fn core(blocks: Vec<Bytes>) -> MemoryCore {
    let core = MemoryStore::new().open(OpenTarget::New).await.expect("it opens");
    core.append(blocks, None).await.expect("it is ours");
    core
}

async fn npm() -> (MemoryCore, Vec<Asked>) {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors.json")).expect("vectors");
    (core(vectors.blocks.iter().map(|block| unhex(block)).collect()).await, vectors.queries)
}

#[tokio::test]
async fn answers_are_those_of_npm() {
    let (core, queries) = npm().await;
    let mut shortcuts = 0;
    for Asked { message, answers } in &queries {
        let query = Query::decode(&unhex(message)).expect("a query");
        assert_eq!(query.encode(), unhex(message), "{query:?}");
        let ours = hints::answer(&core, &query).await.expect("a bee");
        let answers: Vec<Bytes> = answers.iter().map(|answer| unhex(answer)).collect();
        let theirs: Vec<u64> =
            answers.iter().flat_map(|answer| hints::decode_answer(answer).expect("an answer")).collect();
        assert_eq!(hints::encode_answer(&theirs), answers, "{query:?}");
        match &query.of {
            // It looks no further once a node's own block has the key.
            Of::Key(_) if theirs != ours => {
                assert!(ours.starts_with(&theirs), "{query:?}: {ours:?} {theirs:?}");
                shortcuts += 1;
            }
            Of::Range { checkpoint, .. } if !checkpoint.is_empty() => {
                // It leaves out a few too many of the first.
                let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
                    (ours.into_iter().collect(), theirs.into_iter().collect());
                let untold = ours.difference(&theirs).count();
                assert!(untold <= checkpoint.len() * 3, "{query:?}: {ours:?} {theirs:?}");
                let more = theirs.difference(&ours).count();
                assert!(more <= checkpoint.len(), "{query:?}: {ours:?} {theirs:?}");
            }
            _ => assert_eq!(ours, theirs, "{query:?}"),
        }
    }
    assert!(shortcuts < 10, "{shortcuts}");
    assert!(queries.len() > 90);
}

#[tokio::test]
async fn what_is_not_held_is_not_told() {
    let (core, queries) = npm().await;
    let query = Query { version: core.length(), of: Of::Key(Bytes::from_static(b"key 919")) };
    let told = hints::answer(&core, &query).await.expect("a bee");
    assert!(told.len() > 3, "{told:?}");
    for (at, gone) in told.iter().enumerate().rev() {
        core.clear(*gone, gone + 1).await.expect("it is held");
        assert_eq!(hints::answer(&core, &query).await.expect("a bee"), told[..at]);
    }
    // Without its header it still is a bee.
    core.clear(0, core.length()).await.expect("it is held");
    for Asked { message, .. } in &queries {
        let query = Query::decode(&unhex(message)).expect("a query");
        assert_eq!(hints::answer(&core, &query).await.expect("nothing"), Vec::<u64>::new());
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag][..], &varint(bytes.len() as u64), bytes].concat()
}

fn packed(tag: u8, numbers: &[u64]) -> Vec<u8> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| varint(*number)).collect();
    if bytes.is_empty() { bytes } else { field(tag, &bytes) }
}

/// A block with nodes of these keys and children.
fn block(levels: &[(&[u64], &[u64])], key: &[u8]) -> Bytes {
    let level = |(keys, children): &(&[u64], &[u64])| {
        field(0x0a, &[packed(0x0a, keys), packed(0x12, children)].concat())
    };
    let index: Vec<u8> = levels.iter().flat_map(level).collect();
    [field(0x0a, &index), field(0x12, key)].concat().into()
}

const HEADER: Bytes = Bytes::from_static(b"\x0a\x08hyperbee");

#[tokio::test]
async fn a_walk_ends_whatever_the_blocks_say() {
    // A node that is its own children: as a lookup goes, and as a listing does.
    let own = core(vec![HEADER, block(&[(&[1], &[1, 0, 1, 0])], b"k")]).await;
    for key in [&b"a"[..], b"k", b"z"] {
        let query = Query { version: 2, of: Of::Key(Bytes::copy_from_slice(key)) };
        assert_eq!(hints::answer(&own, &query).await, Ok(vec![1]));
    }
    let all = |version| Query { version, of: Of::Range { range: Range::default(), checkpoint: vec![] } };
    assert_eq!(hints::answer(&own, &all(2)).await, Ok(vec![1]));
    // Each node has the one before it nine times: paths without end, of few blocks.
    let mut blocks = vec![HEADER, block(&[(&[1], &[])], b"k")];
    for seq in 2..60 {
        let children: Vec<u64> = (0..9).flat_map(|_| [seq - 1, 0]).collect();
        blocks.push(block(&[(&[seq; 8], &children)], b"k"));
    }
    let many = core(blocks).await;
    let told = hints::answer(&many, &all(60)).await.expect("a bee, as far as one can see");
    assert_eq!(told, (1..60).rev().collect::<Vec<u64>>());
    // What comes later, the header, and nodes that are not there.
    for (keys, children) in [
        (&[2][..], &[][..]),
        (&[0], &[]),
        (&[1], &[2, 0, 1, 0]),
        (&[1], &[0, 0, 0, 0]),
        (&[1], &[1, 7, 1, 7]),
    ] {
        let wrong = core(vec![HEADER, block(&[(keys, children)], b"k"), block(&[(&[1], &[])], b"k")]).await;
        assert!(hints::answer(&wrong, &all(2)).await.is_err(), "{keys:?} {children:?}");
    }
    let trie = core(vec![Bytes::from_static(b"\x0a\x09hypertrie"), block(&[(&[1], &[])], b"k")]).await;
    assert!(hints::answer(&trie, &all(2)).await.is_err());
}

/// Appends a full tree of that height, all nodes of which are in blocks of their own; gives
/// the root's block.
fn full(blocks: &mut Vec<Bytes>, height: u32, value: usize) -> u64 {
    let mut children = Vec::new();
    let mut keys = Vec::new();
    for at in 0..9 {
        if height > 0 {
            children.extend([full(blocks, height - 1, value), 0]);
        }
        if at < 8 {
            keys.push(blocks.len() as u64);
            let key = format!("key {:06}", blocks.len());
            blocks.push([block(&[], key.as_bytes()).to_vec(), field(0x1a, &vec![0; value])].concat().into());
        }
    }
    blocks.push(block(&[(&keys, &children)], b"node"));
    blocks.len() as u64 - 1
}

#[tokio::test]
async fn a_query_costs_so_much_and_no_more() {
    // Blocks of nothing to speak of, and such that few of them are enough.
    for (height, value, most) in [(3, 0, 2176), (2, 64 << 10, 160)] {
        let mut blocks = vec![HEADER];
        full(&mut blocks, height, value);
        let core = core(blocks).await;
        let length = core.length();
        for reverse in [false, true] {
            let range = Range { reverse, ..Range::default() };
            let all = Query { version: length, of: Of::Range { range, checkpoint: vec![] } };
            let told = hints::answer(&core, &all).await.expect("a bee");
            assert!(told.len() <= most && told.len() > most - 40, "{} of {most}", told.len());
            let messages = hints::encode_answer(&told);
            assert!(messages.len() <= 17 && messages.iter().all(|message| message.len() < 1400));
        }
    }
}
