//! Versions that somebody else made, and that have not come yet.

mod common;

use common::{immediate, run};
use hyperdrive::trie::{Trie, TrieOptions, Writer, flags};
use hyperdrive::{Attrs, Drive, Drives};
use hyperspace_api::Core;
use hyperspace_api::memory::{MemoryStore, ReadOnlyStore};

const ETIMEDOUT: i32 = 110;

/// A drive with the file `/old`, as its writer and as a reader have it.
async fn drive() -> (Drive<MemoryStore>, Drives<ReadOnlyStore>) {
    let store = MemoryStore::new();
    let drive = Drives::new(store.clone(), immediate()).create().await.unwrap();
    drive.put_file("/old", "old", Attrs::file()).await.unwrap();
    (drive, Drives::new(store.read_only(), immediate()))
}

/// Appends copies of the record of `/old` under these names, of which nothing comes.
async fn announce(drive: &Drive<MemoryStore>, names: &[&str]) {
    let core = drive.metadata_core();
    let length = core.length();
    let trie = Trie::new(core.clone(), TrieOptions::default());
    let value = trie.at(length).get("old", false).await.unwrap().unwrap().value.clone();
    let mut writer = Writer::new(trie, length);
    for name in names {
        writer.put(name, value.clone(), flags(0, false)).await.unwrap();
    }
    // Nothing here waits: the reader sees both at once.
    core.append(writer.blocks().to_vec(), None).await.unwrap();
    core.clear(length, core.length()).await.unwrap();
}

async fn names(drive: &Drive<ReadOnlyStore>) -> Vec<String> {
    drive.readdir("/").await.unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn what_was_read_is_readable_while_the_newest_is_elsewhere() {
    run(async {
        let (writer, readers) = drive().await;
        let reader = readers.open(writer.key(), None).await.unwrap();
        assert_eq!(names(&reader).await, ["old"]);
        announce(&writer, &["new", "newer"]).await;
        let later = writer.metadata_core().length();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(reader.version() < later);
        assert_eq!(names(&reader).await, ["old"]);
        assert_eq!(reader.read_file("/old").await.unwrap(), "old");
    });
}

#[test]
fn a_drive_is_opened_at_the_newest_version_that_is_here() {
    run(async {
        let (writer, readers) = drive().await;
        let here = writer.version();
        announce(&writer, &["new", "newer"]).await;
        let reader = readers.open(writer.key(), None).await.unwrap();
        assert_eq!(names(&reader).await, ["old"]);
        assert_eq!(reader.version(), here);
        // Of a drive of which nothing is here, nothing is known: not that it is empty.
        let (writer, readers) = drive().await;
        let core = writer.metadata_core();
        core.clear(1, core.length()).await.unwrap();
        let reader = readers.open(writer.key(), None).await.unwrap();
        for error in [reader.readdir("/").await.unwrap_err(), reader.stat("/old").await.unwrap_err()] {
            assert_eq!(error.errno(), ETIMEDOUT);
        }
    });
}
