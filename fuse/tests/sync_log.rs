//! What `fsync` promises of files that change a little at a time, when the mount dies.

use hyperdrive::{DriveOptions, Drives};
use hyperdrive_fuse::fs::Filesystem;
use hyperdrive_fuse::fs::types::{Caller, FsOptions, Handle, ROOT, RenameMode};
use hyperspace_api::memory::MemoryStore;
use hyperspace_api::{Core, Key};
use std::sync::Arc;

type Fs = Arc<Filesystem<MemoryStore>>;
const ME: Caller = Caller { uid: 0, gid: 0 };

/// A mount on `store`, that of a process of its own.
async fn process(store: &MemoryStore, root: Option<Key>) -> Fs {
    let drives = Drives::new(store.clone(), DriveOptions::default());
    let root = match root {
        Some(key) => drives.open(key, None).await.unwrap(),
        None => {
            let root = drives.create_named("root").await.unwrap();
            root.flush().await.unwrap();
            root
        }
    };
    Filesystem::new(drives, root, FsOptions::default())
}

async fn create(fs: &Fs, name: &str) -> (u64, Handle) {
    let (entry, handle) = fs.create(ME, ROOT, name.as_ref(), 0o644, 0).await.unwrap();
    (entry.attr.ino, handle)
}

async fn content(fs: &Fs, name: &str) -> Vec<u8> {
    let entry = fs.lookup(ROOT, name.as_ref()).await.unwrap();
    let opened = fs.open(entry.attr.ino, libc::O_RDONLY).await.unwrap();
    let bytes = fs.read(entry.attr.ino, 0, 1 << 24).await.unwrap();
    fs.release(entry.attr.ino, opened.handle).await.unwrap();
    bytes.to_vec()
}

/// A database of `size` bytes that was synced once, and `n` synced changes of it.
async fn database(fs: &Fs, name: &str, size: usize, n: usize) -> (u64, Vec<u8>) {
    let (ino, _) = create(fs, name).await;
    let mut model: Vec<u8> = (0..size).map(|i| (i / 251) as u8).collect();
    fs.write(ino, 0, &model).unwrap();
    fs.fsync(ino).await.unwrap();
    for i in 0..n {
        let at = (i * 7919) % (size - 100);
        let page = [i as u8; 100];
        model[at..at + 100].copy_from_slice(&page);
        fs.write(ino, at as u64, &page).unwrap();
        fs.fsync(ino).await.unwrap();
    }
    (ino, model)
}

#[tokio::test]
async fn what_was_synced_is_there_after_a_death() {
    let store = MemoryStore::new();
    let fs = process(&store, None).await;
    let (ino, mut model) = database(&fs, "db", 300_000, 200).await;
    // Cut, grown by zeros, and written beyond; all synced.
    let mut cut = fs.root().content_core().await.unwrap().byte_length();
    for (size, at) in [(250_000usize, 0usize), (400_000, 390_000)] {
        model.resize(size, 0);
        fs.setattr(
            ME,
            ino,
            hyperdrive_fuse::fs::types::Change { size: Some(size as u64), ..Default::default() },
        )
        .await
        .unwrap();
        model[at..at + 3].copy_from_slice(b"end");
        fs.write(ino, at as u64, b"end").unwrap();
        fs.fsync(ino).await.unwrap();
    }
    cut = fs.root().content_core().await.unwrap().byte_length() - cut;
    assert!(cut < 300_000, "a synced change wrote the file anew");
    // This one was not promised.
    fs.write(ino, 5, b"lost").unwrap();
    let root = fs.root().key();

    let after = process(&store, Some(root)).await;
    assert_eq!(after.recover().await.unwrap(), 1);
    assert!(content(&after, "db").await == model);
    assert_eq!(after.recover().await.unwrap(), 0);
    drop(fs);
}

#[tokio::test]
async fn syncing_costs_what_changed() {
    let store = MemoryStore::new();
    let fs = process(&store, None).await;
    let (_, _) = database(&fs, "db", 1_000_000, 100).await;
    assert!(fs.root().content_core().await.unwrap().byte_length() < 1_100_000);
}

#[tokio::test]
async fn what_became_of_the_file_since_counts() {
    let store = MemoryStore::new();
    let fs = process(&store, None).await;
    let (committed, model) = database(&fs, "committed", 100_000, 3).await;
    fs.write(committed, 0, b"newer").unwrap();
    fs.sync_all().await.unwrap();
    database(&fs, "deleted", 100_000, 3).await;
    fs.unlink(ROOT, "deleted".as_ref()).await.unwrap();
    let (_, renamed) = database(&fs, "old", 100_000, 3).await;
    fs.rename((ROOT, "old".as_ref()), (ROOT, "new".as_ref()), RenameMode::Replace).await.unwrap();
    database(&fs, "replaced", 100_000, 3).await;
    let (other, _) = create(&fs, "other").await;
    fs.write(other, 0, &[1; 200_000]).unwrap();
    fs.fsync(other).await.unwrap();
    fs.rename((ROOT, "other".as_ref()), (ROOT, "replaced".as_ref()), RenameMode::Replace).await.unwrap();
    fs.root().flush().await.unwrap();

    let after = process(&store, Some(fs.root().key())).await;
    after.recover().await.unwrap();
    let mut newer = model;
    newer[..5].copy_from_slice(b"newer");
    assert!(content(&after, "committed").await == newer);
    assert!(content(&after, "new").await == renamed);
    assert!(content(&after, "replaced").await == [1; 200_000]);
    for gone in ["deleted", "old", "other"] {
        assert!(after.lookup(ROOT, gone.as_ref()).await.is_err(), "{gone}");
    }
}

#[tokio::test]
async fn two_mounts_do_not_spoil_each_others_promises() {
    let store = MemoryStore::new();
    let one = process(&store, None).await;
    let two = process(&store, Some(one.root().key())).await;
    let (_, first) = database(&one, "one", 100_000, 3).await;
    let (_, second) = database(&two, "two", 100_000, 3).await;
    let (_, third) = database(&one, "three", 100_000, 3).await;

    let after = process(&store, Some(one.root().key())).await;
    after.recover().await.unwrap();
    for (name, model) in [("one", first), ("two", second), ("three", third)] {
        assert!(content(&after, name).await == model, "{name}");
    }
}
