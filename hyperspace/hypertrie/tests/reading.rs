//! How the trie reads its core: many blocks at a time when they are far away, none
//! twice, and without waiting when they are at hand.

use bytes::Bytes;
use futures::FutureExt;
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{
    Appended, Core, CoreError, CoreEvent, CoreInfo, Corestore, GetOptions, Key, OpenTarget, Peer, Seek,
};
use hypertrie::{Header, ListOptions, Snapshot, Trie, TrieOptions, Writer};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::broadcast;

/// A core that is far away, and counts what is asked of it.
#[derive(Clone)]
struct FarCore {
    near: MemoryCore,
    asked: Arc<Asked>,
}

#[derive(Default)]
struct Asked {
    gets: AtomicUsize,
    flying: AtomicUsize,
    most: AtomicUsize,
    timeouts: AtomicUsize,
}

impl Core for FarCore {
    fn key(&self) -> Key {
        self.near.key()
    }
    fn writable(&self) -> bool {
        self.near.writable()
    }
    fn length(&self) -> u64 {
        self.near.length()
    }
    fn byte_length(&self) -> u64 {
        self.near.byte_length()
    }
    async fn append(&self, blocks: Vec<Bytes>, expected: Option<u64>) -> Result<Appended, CoreError> {
        self.near.append(blocks, expected).await
    }
    async fn get(&self, index: u64, options: GetOptions) -> Result<Bytes, CoreError> {
        let flying = self.asked.flying.fetch_add(1, SeqCst) + 1;
        self.asked.most.fetch_max(flying, SeqCst);
        self.asked.gets.fetch_add(1, SeqCst);
        self.asked.timeouts.fetch_add(usize::from(options.timeout.is_some()), SeqCst);
        // Long enough that everything which is asked for at once is on its way.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.asked.flying.fetch_sub(1, SeqCst);
        self.near.get(index, options).await
    }
    async fn has(&self, index: u64) -> Result<bool, CoreError> {
        self.near.has(index).await
    }
    async fn update(&self, min_length: Option<u64>) -> Result<bool, CoreError> {
        self.near.update(min_length).await
    }
    async fn seek(&self, byte_offset: u64, options: GetOptions) -> Result<Seek, CoreError> {
        self.near.seek(byte_offset, options).await
    }
    async fn download(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.near.download(start, end).await
    }
    async fn downloaded(&self, start: u64, end: u64) -> Result<u64, CoreError> {
        self.near.downloaded(start, end).await
    }
    async fn clear(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.near.clear(start, end).await
    }
    async fn flush(&self) -> Result<(), CoreError> {
        self.near.flush().await
    }
    async fn info(&self) -> Result<CoreInfo, CoreError> {
        self.near.info().await
    }
    fn peers(&self) -> Vec<Peer> {
        self.near.peers()
    }
    fn events(&self) -> broadcast::Receiver<CoreEvent> {
        self.near.events()
    }
}

const FILES: usize = 2000;

async fn far_away() -> (Trie<FarCore>, Arc<Asked>) {
    let near = MemoryStore::new().open(OpenTarget::New).await.unwrap();
    near.append(vec![Header::new(None, None).to_block()], Some(0)).await.unwrap();
    let mut writer = Writer::new(Trie::new(near.clone(), TrieOptions::default()), 1);
    for file in 0..FILES {
        writer.put(&format!("dir{}/file{file}", file % 40), None, 0).await.unwrap();
    }
    near.append(writer.blocks().to_vec(), Some(1)).await.unwrap();
    let asked = Arc::new(Asked::default());
    (Trie::new(FarCore { near, asked: asked.clone() }, TrieOptions::default()), asked)
}

#[tokio::test]
async fn a_listing_asks_for_many_blocks_at_once_and_for_none_twice() {
    let (trie, asked) = far_away().await;
    let live = trie.live();
    assert_eq!(live.list("", ListOptions::default()).await.unwrap().len(), FILES);
    assert_eq!(asked.gets.load(SeqCst), FILES);
    assert!((32..=64).contains(&asked.most.load(SeqCst)), "{}", asked.most.load(SeqCst));

    let list = live.list("dir7", ListOptions::default()).now_or_never();
    assert_eq!(list.expect("nothing to wait for").unwrap().len(), FILES / 40);
    let children = live.children("", false).now_or_never();
    assert_eq!(children.expect("nothing to wait for").unwrap().len(), 40);
    assert_eq!(asked.gets.load(SeqCst), FILES);
}

#[tokio::test]
async fn a_short_listing_asks_for_little() {
    let (trie, asked) = far_away().await;
    let one = ListOptions { limit: Some(1), ..ListOptions::default() };
    assert_eq!(trie.live().list("dir3", one).await.unwrap().len(), 1);
    assert!(asked.gets.load(SeqCst) < 20, "{}", asked.gets.load(SeqCst));
}

#[tokio::test]
async fn a_comparison_reads_only_what_differs() {
    let (trie, asked) = far_away().await;
    let diff = trie.live().diff(&trie.at(trie.core().length() - 3), "", false).await.unwrap();
    assert_eq!(diff.len(), 3);
    assert!(asked.gets.load(SeqCst) < 60, "{}", asked.gets.load(SeqCst));
    let (trie, asked) = far_away().await;
    assert_eq!(trie.live().diff(&trie.at(1), "", false).await.unwrap().len(), FILES);
    assert_eq!(asked.gets.load(SeqCst), FILES);
    assert!(asked.most.load(SeqCst) >= 32);
}

#[tokio::test]
async fn the_history_is_every_block_in_order() {
    let (trie, asked) = far_away().await;
    for reverse in [false, true] {
        let mut history = trie.live().history(5..1900, reverse);
        let mut seqs = Vec::new();
        while let Some(node) = history.next().await.unwrap() {
            seqs.push(node.seq);
        }
        if reverse {
            seqs.reverse();
        }
        assert!(seqs.into_iter().eq(5..1900));
    }
    assert_eq!(asked.gets.load(SeqCst), 1895);
    assert!(trie.at(5).history(5..7, false).next().await.unwrap().is_none());
    let reset = trie.at(1).history(0..u64::MAX, false).next().await.unwrap();
    assert!(reset.is_none());
}

#[tokio::test]
async fn blocks_that_cannot_be_had_are_errors_not_absent_keys() {
    let (trie, asked) = far_away().await;
    trie.core().clear(1, 1500).await.unwrap();
    let live = trie.live();
    let mut missing = 0;
    for file in 0..FILES {
        match live.get(&format!("dir{}/file{file}", file % 40), false).await {
            Ok(node) => assert_eq!(node.unwrap().seq, file as u64 + 1),
            Err(error) => {
                assert_eq!(error, CoreError::NotAvailable);
                missing += 1;
            }
        }
    }
    assert!(missing >= 1499);
    assert_eq!(live.list("", ListOptions::default()).await.unwrap_err(), CoreError::NotAvailable);
    assert_eq!(asked.timeouts.load(SeqCst), 0);
    let get = GetOptions { wait: false, timeout: Some(Duration::from_secs(1)), ..GetOptions::default() };
    let impatient = trie.with_get(get).live();
    assert_eq!(impatient.list("", ListOptions::default()).await.unwrap_err(), CoreError::NotDownloaded);
    assert!(asked.timeouts.load(SeqCst) > 0);
}

#[tokio::test]
async fn a_rewritten_history_is_read_anew() {
    let (trie, asked) = far_away().await;
    trie.live().get("dir1/file1", false).await.unwrap();
    let before = asked.gets.load(SeqCst);
    trie.live().get("dir1/file1", false).await.unwrap();
    assert_eq!(asked.gets.load(SeqCst), before);
    trie.truncated(1);
    trie.live().get("dir1/file1", false).await.unwrap();
    assert_eq!(asked.gets.load(SeqCst), before * 2);
}

#[test]
fn its_futures_may_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    fn all(snapshot: &Snapshot<MemoryCore>, writer: &mut Writer<MemoryCore>) {
        is_send(snapshot.get("a", false));
        is_send(snapshot.closest("a", false));
        is_send(snapshot.lookup("a", false));
        is_send(snapshot.children("a", false));
        is_send(snapshot.list("a", ListOptions::default()));
        is_send(snapshot.diff(snapshot, "a", false));
        is_send(async { snapshot.history(0..1, false).next().await });
        is_send(writer.put("a", None, 0));
        is_send(writer.del("a", false));
    }
    let _ = all;
}
