//! One program that writes, reads, cuts, asks and reopens, while its file is committed
//! beside it all the time: it must see its own changes, all of them, and at once.

use super::Filesystem;
use super::types::{Caller, Change, FsOptions, ROOT};
use crate::errno::Errno;
use hyperdrive::{DriveOptions, Drives};
use hyperspace_api::memory::MemoryStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ME: Caller = Caller { uid: 7, gid: 8 };
const ROUNDS: u64 = 4_000;

/// A small seeded generator (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

type Fs = Filesystem<MemoryStore>;

/// Commits `ino` in every way there is, until told to stop.
async fn commit_beside(fs: Arc<Fs>, ino: u64, way: u64, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        match way {
            0 => fs.commit_file(ino).await.unwrap(),
            1 => fs.commit_and_flush(ino).await.unwrap(),
            _ => {
                fs.commit_file(ino).await.unwrap();
                fs.settle(ino);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// One round of a program's life, and what the file must be after it.
async fn step(fs: &Fs, ino: u64, random: &mut Random, model: &mut Vec<u8>, most: u64) -> Result<(), Errno> {
    match random.below(12) {
        0..=5 => {
            let offset = random.below(most);
            let length = match random.below(8) {
                0 => random.below(most / 2),
                _ => 1 + random.below(4096),
            };
            let byte = random.below(255) as u8 + 1;
            let end = (offset + length) as usize;
            fs.write(ino, offset, &vec![byte; length as usize])?;
            model.resize(model.len().max(end), 0);
            model[offset as usize..end].fill(byte);
        }
        6 => {
            let byte = random.below(255) as u8 + 1;
            fs.write(ino, model.len() as u64, &[byte; 4096])?;
            model.resize(model.len() + 4096, byte);
        }
        7 => {
            let size = random.below(model.len() as u64 + 5000);
            fs.setattr(ME, ino, Change { size: Some(size), ..Change::default() }).await?;
            model.resize(size as usize, 0);
        }
        8 => fs.fsync(ino).await?,
        // A second descriptor comes and goes.
        9 => {
            let opened = fs.open(ino, libc::O_RDWR).await?;
            fs.flush(ino, opened.handle).await?;
            fs.release(ino, opened.handle).await?;
        }
        10 => {
            let opened = fs.open(ino, libc::O_RDONLY).await?;
            fs.release(ino, opened.handle).await?;
        }
        _ => {
            let found = fs.lookup(ROOT, "file".as_ref()).await?;
            fs.forget(found.attr.ino, 1);
            assert_eq!(found.attr.size, model.len() as u64, "lookup");
        }
    }
    Ok(())
}

async fn a_program_sees_its_own_changes(seed: u64, most: u64) {
    let drives = Drives::new(MemoryStore::new(), DriveOptions::default());
    let root = drives.create().await.unwrap();
    let fs = Filesystem::new(drives, root, FsOptions::default());
    let (entry, handle) = fs.create(ME, ROOT, "file".as_ref(), 0o644, 0).await.unwrap();
    let ino = entry.attr.ino;
    let stop = Arc::new(AtomicBool::new(false));
    let beside: Vec<_> =
        (0..3).map(|way| tokio::spawn(commit_beside(fs.clone(), ino, way, stop.clone()))).collect();

    let (mut random, mut model) = (Random(seed), Vec::new());
    for round in 0..ROUNDS {
        step(&fs, ino, &mut random, &mut model, most).await.unwrap();
        let attr = fs.getattr(ino).await.unwrap();
        assert_eq!(attr.size, model.len() as u64, "size in round {round} of seed {seed}");
        let offset = random.below(most);
        let got = fs.read(ino, offset, 20_000).await.unwrap();
        let end = model.len().min(offset as usize + 20_000);
        let want = model.get(offset as usize..end).unwrap_or_default();
        assert!(got == want, "content at {offset} in round {round} of seed {seed}");
    }
    let whole = fs.read(ino, 0, model.len() + 1).await.unwrap();
    assert!(whole == model, "the whole file after seed {seed}");

    stop.store(true, Ordering::Relaxed);
    for task in beside {
        task.await.unwrap();
    }
    fs.release(ino, handle).await.unwrap();
    let committed = fs.root().read_file("/file").await.unwrap();
    assert!(committed == model, "what was committed in the end, seed {seed}");
}

/// A file that is committed as bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_a_small_file_is_committed() {
    for seed in 0..4 {
        a_program_sees_its_own_changes(seed, 100_000).await;
    }
}

/// A file that is grown and streamed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_a_large_file_is_committed() {
    for seed in 10..12 {
        a_program_sees_its_own_changes(seed, 2_500_000).await;
    }
}
