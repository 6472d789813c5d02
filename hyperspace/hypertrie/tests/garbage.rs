//! Tries that a stranger made up: everything ends, in an answer or in an error.

use bytes::Bytes;
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{Core, CoreError, Corestore, OpenTarget};
use hypertrie::{Header, ListOptions, Node, Snapshot, Trie, TrieOptions, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The fields of a node's block, to write what no trie would.
#[derive(prost::Message)]
struct Block {
    #[prost(string, required, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    table: Option<Bytes>,
    #[prost(uint64, optional, tag = "5")]
    flags: Option<u64>,
}

/// (key, hidden, pointers: (position, slot, how far back))
type Made = (String, bool, Vec<(u8, u8, u8)>);

const KEYS: [&str; 10] = ["", "a", "b", "c", "a/b", "a/c", "b/a", "c/a/b", "a/b/c", "b//"];

/// So few digits that made-up pointers are often right.
fn weak(name: &[u8]) -> u64 {
    u64::from(name.first().copied().unwrap_or(0) & 1) << 62
}

fn made() -> impl Strategy<Value = Made> {
    let position = prop_oneof![Just(0u8), Just(1), Just(32), Just(33), Just(64), Just(65), 0u8..100];
    (
        prop::sample::select(&KEYS[..]).prop_map(str::to_owned),
        prop::bool::weighted(0.1),
        vec((position, 0u8..12, 1u8..8), 0..8),
    )
}

fn block(seq: u64, (key, hidden, pointers): &Made) -> Bytes {
    let mut rows = std::collections::BTreeMap::<u8, std::collections::BTreeMap<u8, u64>>::new();
    for (position, slot, back) in pointers {
        if let Some(to) = seq.checked_sub(u64::from(*back)).filter(|to| *to > 0) {
            rows.entry(*position).or_default().insert(*slot, to);
        }
    }
    // Small enough that each number but the slots is one byte.
    let mut table = vec![100];
    for (position, slots) in rows {
        let bits: u64 = slots.keys().map(|slot| 1 << slot).sum();
        table.extend([position, bits as u8 | 0x80, (bits >> 7) as u8]);
        table.extend(slots.values().map(|seq| *seq as u8));
    }
    let value = Some(Bytes::from_static(b"v"));
    let block = Block { key: key.clone(), value, table: Some(table.into()), flags: Some(u64::from(*hidden)) };
    prost::Message::encode_to_vec(&block).into()
}

async fn trie_of(blocks: Vec<Bytes>) -> Trie<MemoryCore> {
    let core = MemoryStore::new().open(OpenTarget::New).await.unwrap();
    core.append(vec![Header::new(None, None).to_block()], None).await.unwrap();
    core.append(blocks, None).await.unwrap();
    Trie::new(core, TrieOptions { hash: weak, ..TrieOptions::default() })
}

/// The answer, unless the trie was found out.
fn found_out<T>(result: Result<T, CoreError>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(CoreError::Corrupt(why)) => {
            assert!(!why.is_empty());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn is_under(node: &Node, prefix: &str) -> bool {
    let key: Vec<_> = node.key().split('/').collect();
    key.starts_with(&prefix.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>())
}

async fn try_everything(snapshot: &Snapshot<MemoryCore>, older: &Snapshot<MemoryCore>) {
    let mut answers = 0;
    for hidden in [false, true] {
        for key in KEYS {
            if let Some(Some(node)) = found_out(snapshot.get(key, hidden).await) {
                assert!(is_under(&node, key) && node.hidden() == hidden);
                answers += 1;
            }
            found_out(snapshot.closest(key, hidden).await);
            found_out(snapshot.lookup(key, hidden).await);
            found_out(snapshot.children(key, hidden).await);
            found_out(snapshot.diff(older, key, hidden).await);
            found_out(older.diff(snapshot, key, hidden).await);
            for (recursive, reverse, gt) in [(true, false, false), (true, true, true), (false, false, true)] {
                let options = ListOptions { recursive, reverse, gt, hidden, limit: None };
                let Some(list) = found_out(snapshot.list(key, options).await) else { continue };
                let seqs: BTreeSet<_> = list.iter().map(|node| node.seq).collect();
                assert_eq!(seqs.len(), list.len(), "a node was listed twice");
                assert!(list.iter().all(|node| is_under(node, key) && node.hidden() == hidden));
            }
        }
    }
    assert!(answers <= KEYS.len() * 2);
    let mut history = snapshot.history(0..u64::MAX, true);
    let mut read = 0;
    while let Some(Some(_)) = found_out(history.next().await) {
        read += 1;
    }
    assert!(read <= snapshot.version());
}

async fn write_upon(trie: &Trie<MemoryCore>) {
    let mut writer = Writer::new(trie.clone(), trie.core().length());
    for key in &KEYS[1..] {
        let len = writer.len();
        if let Some(node) = found_out(writer.put(key, None, 0).await) {
            assert_eq!((node.seq, writer.len()), (writer.version() - 1, len + 1));
        } else {
            assert_eq!(writer.len(), len, "a put that failed left something");
        }
        found_out(writer.del(key, false).await);
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn made_up_tries(made in vec(made(), 1..40)) {
        block_on(async {
            let blocks = made.iter().zip(1..).map(|(made, seq)| block(seq, made)).collect();
            let trie = trie_of(blocks).await;
            try_everything(&trie.live(), &trie.at(trie.core().length() / 2)).await;
            write_upon(&trie).await;
        });
    }

    #[test]
    fn random_blocks(blocks in vec(vec(any::<u8>(), 0..60), 1..4)) {
        block_on(async {
            let trie = trie_of(blocks.into_iter().map(Bytes::from).collect()).await;
            try_everything(&trie.live(), &trie.at(1)).await;
            write_upon(&trie).await;
        });
    }

    #[test]
    fn damaged_blocks(at in 0usize..60, byte: u8, cut in 0usize..60) {
        block_on(async {
            let good = trie_of(Vec::new()).await;
            let mut writer = Writer::new(good.clone(), 1);
            for key in ["a/b", "b", "a", "c/a", "a/c"] {
                writer.put(key, Some(Bytes::from_static(b"value")), 0).await.unwrap();
            }
            writer.del("b", false).await.unwrap();
            let mut blocks: Vec<_> = writer.blocks().iter().map(|block| block.to_vec()).collect();
            let last = blocks.last_mut().unwrap();
            let at = at % last.len();
            last[at] = byte;
            let cut = cut % last.len();
            blocks[2].truncate(cut.max(1));
            let trie = trie_of(blocks.into_iter().map(Bytes::from).collect()).await;
            try_everything(&trie.live(), &trie.at(3)).await;
            write_upon(&trie).await;
        });
    }
}

/// Tables of made-up tries that can be right are taken for right: or the tests above
/// would only ever see errors.
#[tokio::test]
async fn a_made_up_trie_that_is_right() {
    let (a, b): (Made, Made) = (("a".into(), false, vec![]), ("c".into(), false, vec![(32, 1, 1)]));
    let trie = trie_of(vec![block(1, &a), block(2, &b)]).await;
    let list = trie.live().list("", ListOptions::default()).await.unwrap();
    assert_eq!(list.iter().map(|node: &Arc<Node>| node.key()).collect::<Vec<_>>(), ["a", "c"]);
    // The same with a pointer to a digit that the key does not have.
    let b = ("c".into(), false, vec![(32, 2, 1)]);
    let trie = trie_of(vec![block(1, &a), block(2, &b)]).await;
    let error = trie.live().list("", ListOptions::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Stored data is damaged: block 2 points to block 1 at 32, where it does not belong"
    );
}

/// What batches of the original leave behind that empty the trie and then put: a
/// pointer to the node without key. It crashes the original's listings.
#[tokio::test]
async fn pointers_to_a_reset_lead_nowhere() {
    let reset: Made = (String::new(), false, vec![]);
    let a: Made = ("a".into(), false, vec![(1, 4, 1)]);
    let trie = trie_of(vec![block(1, &reset), block(2, &a)]).await;
    let keys = |list: Vec<Arc<Node>>| list.iter().map(|node| node.key().to_owned()).collect::<Vec<_>>();
    assert_eq!(keys(trie.live().list("", ListOptions::default()).await.unwrap()), ["a"]);
    assert!(trie.live().get("", false).await.unwrap().is_none());
    assert!(trie.at(2).list("", ListOptions::default()).await.unwrap().is_empty());
    assert!(trie.at(2).get("a", false).await.unwrap().is_none());
    assert_eq!(trie.live().diff(&trie.at(2), "", false).await.unwrap().len(), 1);

    let mut writer = Writer::new(trie.clone(), 3);
    assert!(writer.del("a", false).await.unwrap());
    assert!(writer.snapshot().list("", ListOptions::default()).await.unwrap().is_empty());
    writer.put("b", None, 0).await.unwrap();
    assert_eq!(keys(writer.snapshot().list("", ListOptions::default()).await.unwrap()), ["b"]);
    assert!(matches!(writer.put("/", None, 0).await, Err(CoreError::Invalid(_))));
}
