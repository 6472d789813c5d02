//! Hints between peers: which blocks somebody is about to need.
//!
//! Whoever looks something up in a trie that is elsewhere learns of each block only
//! from the one before it, and waits a round trip for each. So it tells its peers what
//! it looks for; one that has the trie walks its own copy, and answers with the blocks
//! that the walk will touch, and some of those that are looked for next.
//!
//! The messages are those of the extension `hypertrie` of npm hypertrie 5. Answers are
//! hints only: every block is fetched and proved as any other. Whoever can be given blocks
//! says so in its query, in a field that the original ignores ([`Query::encode_for_blocks`]),
//! and gets the blocks themselves instead of their numbers, which spares a round trip. How
//! many of those that are looked for next should come along it says, too: over a long line
//! that was idle TCP takes a round trip for the first 15 KB, and whoever needs others than
//! these has to wait for all of them.

mod walk;
mod wire;

pub use walk::{answer, answer_by};
pub use wire::{asks_for_blocks, decode_answer, encode_answer};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The extension's name.
pub const EXTENSION: &str = "hypertrie";
/// Blocks told for one query.
pub const BLOCKS_MAX: usize = 2176;
/// Of these, those that were not asked for, but are looked for next, unless whoever asks
/// wants fewer.
pub const NEAR: usize = 512;
/// The head of the newest version that whoever answers has: for who knows none yet.
pub const NEWEST: u64 = u64::MAX;

/// What somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The block of the newest node of the version, or [`NEWEST`].
    pub head: u64,
    /// The key.
    pub key: String,
    /// Is it a hidden one?
    pub hidden: bool,
    /// What is below the key? Else the key itself.
    pub list: Option<Listing>,
}

/// What of all that is below a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// One entry for each name.
    Names,
    /// Everything.
    All,
}

/// Tells peers what is looked for, and fetches what they answer. Must return at once.
pub trait Hints: std::fmt::Debug + Send + Sync {
    /// A block has to be waited for.
    fn ask(&self, query: Query);
}

/// A query that is asked once, when the first block has to be waited for.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) hints: Arc<dyn Hints>,
    pub(crate) query: Query,
    pub(crate) asked: AtomicBool,
}

impl Asking {
    pub(crate) fn ask(&self) {
        if !self.asked.swap(true, Ordering::Relaxed) {
            self.hints.ask(self.query.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Header, ListOptions, Trie, TrieOptions, Writer, flags};
    use hyperspace_api::memory::{MemoryCore, MemoryStore};
    use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
    use proptest::prelude::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    /// A trie of `names` names in each of `names` folders of each of `names` folders.
    async fn trie(names: usize) -> MemoryCore {
        let core = MemoryStore::new().open(OpenTarget::New).await.unwrap();
        core.append(vec![Header::new(None, None).to_block()], None).await.unwrap();
        let mut writer = Writer::new(Trie::new(core.clone(), TrieOptions::default()), 1);
        for a in 0..names {
            for b in 0..names {
                for c in 0..names {
                    writer.put(&format!("{a}/{b}/{c}"), Some("x".into()), flags(0, false)).await.unwrap();
                }
            }
        }
        writer.put("mounts/x", Some("y".into()), flags(0, true)).await.unwrap();
        core.append(writer.blocks().to_vec(), None).await.unwrap();
        core
    }

    /// Is what `query` asks for to be had from the blocks that it is answered with?
    async fn suffices(core: &MemoryCore, query: &Query) -> bool {
        let told = answer(core, query).await.unwrap();
        let copy = MemoryStore::new().open(OpenTarget::New).await.unwrap();
        let mut blocks = Vec::new();
        for seq in 0..core.length() {
            blocks.push(core.get(seq, GetOptions::LOCAL).await.unwrap());
        }
        copy.append(blocks, None).await.unwrap();
        for seq in (1..core.length()).filter(|seq| !told.contains(seq)) {
            copy.clear(seq, seq + 1).await.unwrap();
        }
        let snapshot = Trie::new(copy, TrieOptions::default()).at(query.head + 1);
        let found = match query.list {
            None => snapshot.lookup(&query.key, query.hidden).await.map(drop),
            Some(Listing::Names) => snapshot.children(&query.key, query.hidden).await.map(drop),
            Some(Listing::All) => {
                let options = ListOptions { hidden: query.hidden, ..ListOptions::default() };
                snapshot.list(&query.key, options).await.map(drop)
            }
        };
        found.is_ok()
    }

    #[test]
    fn an_answer_has_all_that_is_needed() {
        run(async {
            let core = trie(9).await;
            let head = core.length() - 1;
            for key in ["", "3", "3/4", "3/4/5", "3/4/5/6", "nothing", "3/nothing"] {
                for list in [None, Some(Listing::Names), Some(Listing::All)] {
                    let query = Query { head, key: key.into(), hidden: false, list };
                    assert!(suffices(&core, &query).await, "{query:?}");
                }
            }
            let list = Some(Listing::All);
            assert!(suffices(&core, &Query { head, key: "mounts".into(), hidden: true, list }).await);
            // One lookup brings what is looked for next.
            let near =
                answer(&core, &Query { head, key: "3".into(), hidden: false, list: None }).await.unwrap();
            assert!(near.len() > 80 && near.len() <= NEAR, "{}", near.len());
            // By who knows nothing yet, and wants little.
            let newest = Query { head: NEWEST, key: "3".into(), hidden: false, list: None };
            let mut told = Vec::new();
            answer_by(&core, &newest, 20, |block| told.push(block)).await.unwrap();
            assert_eq!((told[0], told[1]), (0, head));
            assert!(told.len() > 15 && told.len() <= 30, "{told:?}");
            assert!(told.iter().skip(1).all(|block| near.contains(block)), "the same, but fewer");
            // What is to come, and what is not here.
            let query = Query { head: head + 1, key: "3".into(), hidden: false, list: None };
            assert_eq!(answer(&core, &query).await.unwrap(), []);
            core.clear(1, head).await.unwrap();
            let query = Query { head, ..query };
            assert_eq!(answer(&core, &query).await.unwrap(), [head]);
        });
    }

    #[test]
    fn the_bytes_are_those_of_the_original() {
        let get = Query { head: 5, key: "k".into(), hidden: false, list: None };
        assert_eq!(get.encode(), [0x1a, 5, 8, 5, 0x12, 1, b'k']);
        assert_eq!(Query::decode(&get.encode()), Some(get.clone()));
        assert_eq!(Query::decode(&get.encode_for_blocks(7)), Some(get.clone()));
        assert_eq!(get.encode_for_blocks(64), [0x1a, 5, 8, 5, 0x12, 1, b'k', 0x80, 1, 64]);
        assert_eq!(asks_for_blocks(&get.encode_for_blocks(64)), Some(64));
        assert_eq!(asks_for_blocks(&get.encode_for_blocks(usize::MAX)), Some(NEAR));
        assert_eq!(asks_for_blocks(&get.encode()), None);
        let list = Query { head: 5, key: "k".into(), hidden: true, list: Some(Listing::All) };
        assert_eq!(list.encode(), [0x12, 7, 8, 5, 0x12, 1, b'k', 0x18, 9]);
        assert_eq!(Query::decode(&list.encode()), Some(list));
        let answer = encode_answer(&[3, 1, 300]);
        assert_eq!(answer, [[0x0a, 11, 8, 1, 0x10, 0xad, 2, 0x1a, 4, 3, 1, 0xac, 2]]);
        assert_eq!(decode_answer(&answer[0]), Some(vec![3, 1, 300]));
        assert_eq!(encode_answer(&[]).len(), 0);
        assert_eq!(encode_answer(&[7; 300]).len(), 3);
    }

    proptest! {
        #[test]
        fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let answer = decode_answer(&bytes);
            prop_assert!(answer.is_none_or(|blocks| blocks.len() <= BLOCKS_MAX));
            if let Some(query) = Query::decode(&bytes) {
                let again = Query::decode(&query.encode()).unwrap();
                prop_assert_eq!((again.head, again.key), (query.head, query.key));
            }
        }
    }
}
