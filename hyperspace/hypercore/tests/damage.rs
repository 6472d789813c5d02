//! Damaged files: whatever a store still gives out is what was stored.

use bytes::Bytes;
use hypercore::hyperspace_api::{Core, CoreError, GetOptions};
use hypercore::{Corestore, StoreOptions, verify};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn block(index: u64) -> Bytes {
    let size = if index.is_multiple_of(8) { 18_000 } else { 40 + index as usize };
    Bytes::from(vec![index as u8 | 1; size])
}

fn open(dir: &Path) -> Result<Corestore, hypercore::StoreError> {
    Corestore::open(dir, StoreOptions { primary_key: Some([3; 32]), ..Default::default() })
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}

const FOLDED: u64 = 60;
const JOURNALED: u64 = 20;

/// The files of a store that was killed: some blocks in the database, some in the journal,
/// and nothing that only memory knows.
fn killed() -> tempfile::TempDir {
    let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    runtime().block_on(async {
        let store = open(dir.path()).unwrap();
        for name in ["a", "b"] {
            let core = store.open_name(name).unwrap();
            core.append((0..FOLDED).map(block).collect(), None).await.unwrap();
        }
        store.settle().await.unwrap();
        let core = store.open_name("a").unwrap();
        for index in FOLDED..FOLDED + JOURNALED {
            core.append(vec![block(index)], None).await.unwrap();
        }
        copy(dir.path(), left.path());
    });
    left
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opens a damaged store, and reads all that can be read. Returns how many blocks of core
/// `a` that was.
async fn look(dir: &Path) -> Option<u64> {
    let store = open(dir).ok()?;
    let mut good = 0;
    for name in ["a", "b"] {
        let Ok(core) = store.open_name(name) else { continue };
        for index in 0..core.length() {
            match core.get(index, GetOptions::LOCAL).await {
                Ok(got) => {
                    assert_eq!(got, block(index), "core {name}, block {index}: wrong data");
                    good += u64::from(name == "a");
                }
                Err(CoreError::NotDownloaded | CoreError::Corrupt(_) | CoreError::Io { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
    // It may find something or not; it must come to an end.
    let _ = verify::verify(&store).await;
    Some(good)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 0, ..Default::default() })]

    #[test]
    fn flipped_bits_never_give_wrong_data(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        static KILLED: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
        let killed = KILLED.get_or_init(killed);
        let dir = tempfile::tempdir().unwrap();
        copy(killed.path(), dir.path());
        let all = files(dir.path());
        let data: Vec<_> = all.iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            !matches!(name, "LOCK" | "primary-key" | "hyperspace.db-shm") && path.metadata().unwrap().len() > 0
        }).collect();
        let file = which.get(&data);
        let mut bytes = std::fs::read(file).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(file, bytes).unwrap();
        runtime().block_on(look(dir.path()));
    }
}

#[test]
fn a_journal_torn_anywhere_leaves_a_prefix() {
    let killed = killed();
    let journal = |dir: &Path| {
        let journals = files(dir).into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "log"));
        journals.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
    };
    let bytes = std::fs::read(journal(killed.path())).unwrap();
    let mut last = u64::MAX;
    // Every byte takes a minute; every offset of the journal's own format is tried in its
    // unit tests.
    for length in (0..=bytes.len()).rev().step_by(bytes.len() / 40) {
        let dir = tempfile::tempdir().unwrap();
        copy(killed.path(), dir.path());
        std::fs::write(journal(dir.path()), &bytes[..length]).unwrap();
        runtime().block_on(async {
            let store = open(dir.path()).unwrap();
            let core = store.open_name("a").unwrap();
            assert!((FOLDED..=FOLDED + JOURNALED).contains(&core.length()) && core.length() <= last);
            last = core.length();
            for index in 0..core.length() {
                assert_eq!(core.get(index, GetOptions::LOCAL).await.unwrap(), block(index));
            }
            assert_eq!(verify::verify(&store).await.unwrap().problems, []);
            // And it goes on from there.
            core.append(vec![block(core.length())], None).await.unwrap();
        });
    }
    assert_eq!(last, FOLDED);
}

/// After a loss of power the journal may be there, and the blocks it refers to not.
#[test]
fn blocks_that_never_reached_the_disk_end_the_journal() {
    let killed = killed();
    let segment = files(killed.path())
        .into_iter()
        .find(|path| path.extension().is_some_and(|ext| ext == "seg"))
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let length = bytes.len();
    bytes[length - 10_000..].fill(0);
    std::fs::write(&segment, bytes).unwrap();
    runtime().block_on(async {
        let store = open(killed.path()).unwrap();
        let core = store.open_name("a").unwrap();
        // The last large block is number 72; what came before it is whole.
        assert_eq!(core.length(), 72);
        for index in 0..core.length() {
            assert_eq!(core.get(index, GetOptions::LOCAL).await.unwrap(), block(index));
        }
        assert_eq!(verify::verify(&store).await.unwrap().problems, []);
    });
}

/// What a power cut leaves at worst: all that was flushed, and of everything later just what
/// the files were called and how large they were.
fn cut(from: &Path, flushed: &[(PathBuf, u64)], to: &Path) {
    copy(from, to);
    for file in files(to) {
        let name = file.strip_prefix(to).unwrap().to_path_buf();
        if matches!(file.extension().and_then(|ext| ext.to_str()), Some("log" | "seg")) {
            let kept = flushed.iter().find(|(path, _)| *path == name).map_or(0, |(_, size)| *size);
            let mut bytes = std::fs::read(&file).unwrap();
            let kept = (kept as usize).min(bytes.len());
            bytes[kept..].fill(0);
            std::fs::write(&file, bytes).unwrap();
        }
    }
}

#[test]
fn a_power_cut_takes_nothing_that_a_peer_may_have_seen() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(dir.path()).unwrap();
        let core = store.open_name("a").unwrap();
        for step in 0..30u64 {
            for _ in 0..1 + step % 4 {
                core.append(vec![block(core.length())], None).await.unwrap();
            }
            if step == 11 {
                core.truncate(core.length() / 2, None).unwrap();
            }
            if step.is_multiple_of(3) {
                core.flush().await.unwrap();
            } else if step.is_multiple_of(7) {
                store.settle().await.unwrap();
            } else {
                continue;
            }
            // Peers may be told of this much, and no more.
            let shown = (core.fork(), core.flushed_length());
            assert_eq!(shown.1, core.length());
            let flushed: Vec<_> = files(dir.path())
                .into_iter()
                .map(|file| {
                    (file.strip_prefix(dir.path()).unwrap().to_path_buf(), file.metadata().unwrap().len())
                })
                .collect();
            let signature = core.signature();
            core.append(vec![block(core.length()), block(core.length() + 1)], None).await.unwrap();
            assert_eq!(core.flushed_length(), shown.1);
            let after = tempfile::tempdir().unwrap();
            cut(dir.path(), &flushed, after.path());
            let store = open(after.path()).unwrap();
            let core = store.open_name("a").unwrap();
            assert_eq!((core.fork(), core.length()), shown);
            assert_eq!(core.signature(), signature);
            assert_eq!(verify::verify(&store).await.unwrap().problems, []);
            for index in 0..core.length() {
                assert!(core.get(index, GetOptions::LOCAL).await.is_ok());
            }
        }
    });
}

#[test]
fn verify_names_what_is_wrong() {
    let killed = killed();
    let segment = files(killed.path())
        .into_iter()
        .find(|path| path.extension().is_some_and(|ext| ext == "seg"))
        .unwrap();
    runtime().block_on(async {
        let store = open(killed.path()).unwrap();
        let report = verify::verify(&store).await.unwrap();
        assert_eq!((report.cores, report.blocks), (2, 2 * FOLDED + JOURNALED));
        assert_eq!(report.problems, []);
        store.close().await.unwrap();
    });
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    runtime().block_on(async {
        let store = open(killed.path()).unwrap();
        let core = store.open_name("a").unwrap();
        let report = verify::verify(&store).await.unwrap();
        assert_eq!(report.problems.len(), 1);
        assert_eq!(report.problems[0].key, Some(core.key()));
        assert_eq!(report.problems[0].fault, verify::Fault::Block(0));
        assert_eq!(core.get(0, GetOptions::LOCAL).await, Err(CoreError::NotDownloaded));
        assert!(!core.has(0).await.unwrap(), "it can be downloaded again");
        assert_eq!(core.get(1, GetOptions::LOCAL).await.unwrap(), block(1));
    });
}
