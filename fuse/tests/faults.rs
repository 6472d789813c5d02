//! Peers that are silent and servers that are away.

mod common;
#[path = "common/flaky.rs"]
mod flaky;

use common::blocking;
use flaky::FlakyStore;
use hyperdrive::{Attrs, Drive, DriveOptions, Drives};
use hyperdrive_fuse::fs::{Filesystem, types::FsOptions};
use hyperdrive_fuse::{MountOptions, Mounted, mount};
use hyperspace_api::Core;
use hyperspace_api::memory::MemoryStore;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(1500);

struct Setup {
    store: FlakyStore,
    drive: Drive<FlakyStore>,
    mounted: Mounted,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

async fn setup(memory: &MemoryStore) -> Setup {
    let store = FlakyStore::new(memory.clone());
    let drives = Drives::new(store.clone(), DriveOptions { timeout: TIMEOUT, ..DriveOptions::default() });
    let drive = drives.create_named("root").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mnt");
    let filesystem =
        Filesystem::new(drives, drive.clone(), FsOptions { timeout: TIMEOUT, ..FsOptions::default() });
    let mounted = mount(filesystem, &path, MountOptions::default()).await.unwrap();
    Setup { store, drive, mounted, path, _dir: dir }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.path, nix::mount::MntFlags::MNT_DETACH);
    }
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_a_timeout_and_holds_up_nobody_else() {
    let memory = MemoryStore::new();
    // Somebody else's drives: of one the content is missing, of the other everything.
    let theirs = Drives::new(memory.clone(), DriveOptions::default());
    let (one, two) = (theirs.create().await.unwrap(), theirs.create().await.unwrap());
    for drive in [&one, &two] {
        drive.put_file("/f", vec![7; 100_000], Attrs::file()).await.unwrap();
        drive.commit().await.unwrap();
    }
    let this = setup(&memory).await;
    this.store.silence(one.content_core().await.unwrap().key());
    this.store.silence(two.key());
    this.drive.mount("/one", one.key(), None).await.unwrap();
    this.drive.mount("/two", two.key(), None).await.unwrap();
    let at = this.path.clone();

    let stuck: Vec<_> = (0..12)
        .map(|n| {
            let at = at.clone();
            std::thread::spawn(move || {
                timed(|| match n {
                    0..4 => errno(fs::read(at.join("one/f"))),
                    4..8 => errno(fs::metadata(at.join(format!("two/f{n}")))),
                    8..11 => errno(fs::read_dir(at.join("two"))),
                    _ => errno(fs::write(at.join(format!("two/new{n}")), "x")),
                })
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let root = at.clone();
    let ((), took) = blocking(move || {
        timed(|| {
            for i in 0..20 {
                let path = root.join(format!("f{i}"));
                fs::write(&path, "text").unwrap();
                fs::rename(&path, root.join("renamed")).unwrap();
                assert_eq!(fs::read(root.join("renamed")).unwrap(), b"text");
            }
            fs::read_dir(&root).unwrap().for_each(|entry| drop(entry.unwrap().metadata()));
        })
    })
    .await;
    assert!(took < TIMEOUT / 2, "others waited {took:?}");
    for thread in stuck {
        let (errno, took) = blocking(move || thread.join().unwrap()).await;
        assert_eq!(errno, libc::ETIMEDOUT);
        // One that makes a name has a directory to itself, so some must wait for it.
        assert!(took < TIMEOUT * 6, "it took {took:?}");
    }
    // What is known is known: the file's attributes came with the index.
    let f = at.join("one/f");
    assert_eq!(blocking(move || fs::metadata(f).unwrap().len()).await, 100_000);
    this.mounted.unmount().await.unwrap();
}

fn write_and_sync(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsync_tells_and_nothing_is_lost() {
    let memory = MemoryStore::new();
    let this = setup(&memory).await;
    let at = this.path.clone();
    blocking(move || write_and_sync(&at.join("before"), "one").unwrap()).await;
    this.store.set_away(true);
    let at = this.path.clone();
    let failed = blocking(move || {
        let big = vec![b'x'; 3 << 20];
        // A file that is streamed fails when it is closed, at the latest when it is synced.
        let mut file = fs::File::create(at.join("big")).unwrap();
        let _ = file.write_all(&big);
        let synced = file.sync_all();
        (errno(write_and_sync(&at.join("after"), "two")), errno(synced))
    })
    .await;
    assert_eq!(failed, (libc::EIO, libc::EIO));
    this.store.set_away(false);
    let at = this.path.clone();
    blocking(move || {
        assert_eq!(fs::read(at.join("after")).unwrap(), b"two");
        assert_eq!(fs::read(at.join("big")).unwrap(), vec![b'x'; 3 << 20]);
        fs::File::open(at.join("after")).unwrap().sync_all().unwrap();
    })
    .await;
    this.mounted.unmount().await.unwrap();

    let again = setup(&memory).await;
    let at = again.path.clone();
    blocking(move || {
        assert_eq!(fs::read(at.join("before")).unwrap(), b"one");
        assert_eq!(fs::read(at.join("after")).unwrap(), b"two");
        assert_eq!(fs::read(at.join("big")).unwrap(), vec![b'x'; 3 << 20]);
    })
    .await;
    again.mounted.unmount().await.unwrap();
}
