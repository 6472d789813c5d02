//! What single system calls promise, in a real mount.

mod common;

use common::{blocking, mount_store, mount_with};
use hyperdrive_fuse::MountOptions;
use hyperdrive_fuse::fs::types::FsOptions;
use hyperspace_api::memory::MemoryStore;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::sync::Arc;

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn rw(path: &std::path::Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unlinked_and_replaced_files_stay_open() {
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    let at = mount.path.clone();
    blocking(move || {
        let mut file = rw(&at.join("a"));
        file.write_all(b"first").unwrap();
        fs::remove_file(at.join("a")).unwrap();
        assert_eq!(errno(fs::metadata(at.join("a"))), libc::ENOENT);
        file.write_all(b" second").unwrap();
        file.sync_all().unwrap();
        assert_eq!((file.metadata().unwrap().nlink(), file.metadata().unwrap().len()), (0, 12));
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "first second");
        file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        file.set_len(3).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3);

        fs::write(at.join("old"), "old").unwrap();
        let old = File::open(at.join("old")).unwrap();
        fs::write(at.join("new"), "newer").unwrap();
        fs::rename(at.join("new"), at.join("old")).unwrap();
        let mut bytes = [0; 3];
        old.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"old");
        assert_eq!(fs::read(at.join("old")).unwrap(), b"newer");

        // Written through a handle while its name moves: it is found under the new one.
        let moving = rw(&at.join("x"));
        moving.write_all_at(b"data", 0).unwrap();
        fs::create_dir(at.join("d")).unwrap();
        fs::rename(at.join("x"), at.join("d/y")).unwrap();
        fs::rename(at.join("d"), at.join("e")).unwrap();
        moving.write_all_at(b"more", 4).unwrap();
        drop(moving);
        assert_eq!(fs::read(at.join("e/y")).unwrap(), b"datamore");
    })
    .await;
    mount.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appenders_do_not_overwrite_each_other() {
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    let at = mount.path.clone();
    blocking(move || {
        let path = Arc::new(at.join("log"));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let mut log = OpenOptions::new().append(true).create(true).open(&*path).unwrap();
                    for i in 0..200 {
                        log.write_all(format!("{n} {i:>10}\n").as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let text = fs::read_to_string(&*path).unwrap();
        let mut next = [0; 4];
        for line in text.lines() {
            let (n, i) = line.split_once(' ').unwrap();
            let n: usize = n.parse().unwrap();
            assert_eq!(i.trim().parse::<i32>().unwrap(), next[n]);
            next[n] += 1;
        }
        assert_eq!(next, [200; 4]);
    })
    .await;
    mount.unmount().await;
}

/// A small random number generator, the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_writes_to_a_big_file() {
    const SIZE: u64 = 64 << 20;
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    let at = mount.path.clone();
    let sums = blocking(move || {
        let (ours, theirs) = (rw(&at.join("big")), tempfile::tempfile().unwrap());
        let mut random = Random(1);
        ours.set_len(SIZE).unwrap();
        theirs.set_len(SIZE).unwrap();
        for round in 0..400 {
            let length = random.next(300_000) as usize + 1;
            let offset = random.next(SIZE - length as u64);
            let data = vec![random.next(255) as u8 + 1; length];
            ours.write_all_at(&data, offset).unwrap();
            theirs.write_all_at(&data, offset).unwrap();
            if round == 200 {
                ours.sync_all().unwrap();
            }
        }
        drop(ours);
        let mut want = vec![0; SIZE as usize];
        theirs.read_exact_at(&mut want, 0).unwrap();
        assert!(fs::read(at.join("big")).unwrap() == want);
        want
    })
    .await;
    mount.unmount().await;
    let again = mount_store(&store).await;
    let at = again.path.clone();
    blocking(move || assert!(fs::read(at.join("big")).unwrap() == sums)).await;
    again.unmount().await;
}

/// What fsx does: every kind of access to one file, checked against memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsx() {
    const MOST: u64 = 400_000;
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    let at = mount.path.clone();
    blocking(move || {
        for seed in 0..3 {
            let path = at.join(format!("fsx{seed}"));
            let mut file = rw(&path);
            let mut model: Vec<u8> = Vec::new();
            let mut random = Random(seed);
            for step in 0..1500 {
                let offset = random.next(MOST);
                let length = random.next(70_000).min(MOST - offset) as usize;
                match random.next(12) {
                    0..4 => {
                        let data = vec![random.next(256) as u8; length];
                        file.write_all_at(&data, offset).unwrap();
                        let end = offset as usize + length;
                        if length > 0 {
                            model.resize(model.len().max(end), 0);
                            model[offset as usize..end].copy_from_slice(&data);
                        }
                    }
                    4..8 => {
                        let mut data = vec![0; length];
                        let got = file.read_at(&mut data, offset).unwrap();
                        let from = (offset as usize).min(model.len());
                        let want = &model[from..(from + length).min(model.len())];
                        assert!(data[..got] == *want, "seed {seed} step {step}: {got} and {}", want.len());
                    }
                    8 => {
                        file.set_len(offset).unwrap();
                        model.resize(offset as usize, 0);
                    }
                    9 => file.sync_data().unwrap(),
                    10 => file = rw(&path),
                    _ => {
                        file.seek(SeekFrom::End(0)).unwrap();
                        file.write_all(b"tail").unwrap();
                        model.extend_from_slice(b"tail");
                    }
                }
                assert_eq!(file.metadata().unwrap().len(), model.len() as u64, "seed {seed} step {step}");
            }
            drop(file);
            assert!(fs::read(&path).unwrap() == model, "seed {seed}");
        }
    })
    .await;
    mount.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_numbers() {
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    let at = mount.path.clone();
    blocking(move || {
        fs::create_dir(at.join("d")).unwrap();
        fs::write(at.join("d/f"), "x").unwrap();
        assert_eq!(errno(fs::create_dir(at.join("d"))), libc::EEXIST);
        assert_eq!(errno(fs::remove_dir(at.join("d"))), libc::ENOTEMPTY);
        assert_eq!(errno(fs::remove_file(at.join("d"))), libc::EISDIR);
        assert_eq!(errno(fs::remove_dir(at.join("d/f"))), libc::ENOTDIR);
        assert_eq!(errno(fs::read(at.join("d/f/g"))), libc::ENOTDIR);
        assert_eq!(errno(fs::read(at.join("none"))), libc::ENOENT);
        assert_eq!(errno(fs::hard_link(at.join("d/f"), at.join("hard"))), libc::EPERM);
        assert_eq!(errno(fs::rename(at.join("d"), at.join("d/sub"))), libc::EINVAL);
        assert_eq!(errno(File::create(at.join("n".repeat(256)))), libc::ENAMETOOLONG);
        File::create(at.join("n".repeat(255))).unwrap();
        let exclusive = OpenOptions::new().write(true).create_new(true).open(at.join("d/f"));
        assert_eq!(errno(exclusive), libc::EEXIST);
        let bad = std::ffi::OsStr::from_encoded_bytes_checked(b"\xff\xfe");
        assert_eq!(errno(File::create(at.join(bad))), libc::EINVAL);
        let nothing = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(at.join("link"));
        assert_eq!(errno(nothing), libc::ENOENT);
        assert_eq!(errno(rw(&at.join("huge")).set_len(1 << 60)), libc::ENOSPC);
    })
    .await;
    mount.unmount().await;
}

trait Checked {
    fn from_encoded_bytes_checked(bytes: &[u8]) -> &Self;
}

impl Checked for std::ffi::OsStr {
    fn from_encoded_bytes_checked(bytes: &[u8]) -> &Self {
        std::os::unix::ffi::OsStrExt::from_bytes(bytes)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extended_attributes() {
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    let key = mount.drive.key();
    mount
        .sh(&format!(
            r#"
            mkdir d; echo x > d/f
            setfattr -n user.a -v one d/f; setfattr -n user.b -v two d/f
            [ "$(getfattr --only-values -n user.a d/f)" = one ]
            setfattr -x user.a d/f; ! getfattr -n user.a d/f 2>/dev/null
            [ "$(getfattr d/f | grep -c user)" = 1 ]
            setfattr -n user.root -v r .; [ "$(getfattr --only-values -n user.root .)" = r ]
            value() {{ getfattr --only-values -n user.hyperdrive.$1 $2; }}
            [ "$(value key d/f)" = {key} ]; [ "$(value path d/f)" = /d/f ]; [ "$(value writable .)" = true ]
            [ "$(value discovery-key .)" = {} ]; [ "$(value version .)" -gt 1 ]
            ! setfattr -n user.hyperdrive.key -v x d/f 2>/dev/null
            echo more >> d/f; [ "$(getfattr --only-values -n user.b d/f)" = two ]
            cp -a d e; [ "$(getfattr --only-values -n user.b e/f)" = two ]
            "#,
            mount.drive.discovery_key()
        ))
        .await;
    mount.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn network() {
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    let other = mount.drives.create().await.unwrap();
    other.mkdir("/d", hyperdrive::Attrs::dir()).await.unwrap();
    other.put_file("/d/hello", "hello", hyperdrive::Attrs::file()).await.unwrap();
    other.commit().await.unwrap();
    let version = other.version();
    other.put_file("/d/later", "later", hyperdrive::Attrs::file()).await.unwrap();
    let (hex, z32) = (other.key().to_string(), other.key().to_z32());
    let script = format!(
        r#"
        [ -z "$(ls Network)" ]
        [ "$(cat Network/{hex}/d/hello)" = hello ]; [ "$(cat Network/{z32}/d/later)" = later ]
        [ "$(ls Network/{hex}+{version}/d)" = hello ]
        [ "$(ls Network | wc -l)" = 3 ]; ls -l Network > /dev/null
        [ "$(stat -c %u Network/{hex}/d/hello)" = "$(id -u)" ]; [ ! -e Network/{hex}/nothing ]
        [ ! -e Network/bad ]; [ ! -e Network/{hex}x ]
        ( ! echo x > Network/{hex}/f ) 2>&1 | grep -q Read-only
        ( ! rm Network/{hex}/d/hello ) 2>&1 | grep -q Read-only
        ( ! mkdir Network/x ) 2>&1 | grep -q Read-only
        [ "$(getfattr --absolute-names --only-values -n user.hyperdrive.key Network/{hex}/d)" = {hex} ]
        "#
    );
    mount.sh(&script).await;
    mount.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only() {
    let store = MemoryStore::new();
    let first = mount_store(&store).await;
    first.sh("echo x > f; mkdir d").await;
    first.unmount().await;
    // As its owner, asked for; and as somebody who cannot write it.
    let options = MountOptions { read_only: true, ..MountOptions::default() };
    let shown = FsOptions { read_only: true, ..FsOptions::default() };
    let mount = mount_with(&store, options, shown).await;
    mount
        .sh("[ $(cat f) = x ]; ( ! touch g ) 2>&1 | grep -q Read-only; ( ! rm f ) 2>&1 | grep -q Read-only")
        .await;
    mount.unmount().await;
}
