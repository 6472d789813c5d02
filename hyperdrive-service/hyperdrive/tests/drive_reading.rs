//! Reading: at any offset, blocks of any size, what others wrote, links.

mod common;

use bytes::Bytes;
use common::{ENOENT, ENOTDIR, grouped, immediate, run};
use hyperdrive::trie::{Trie, TrieOptions, Writer, flags};
use hyperdrive::{Attrs, Drive, Drives, Extent, MountRef, S_IFREG, Stat};
use hyperspace_api::memory::MemoryStore;
use hyperspace_api::{Core, Corestore, OpenTarget};
use proptest::prelude::*;

const EIO: i32 = 5;
const EISDIR: i32 = 21;
const ELOOP: i32 = 40;
const ETIMEDOUT: i32 = 110;

/// Appends nodes to the drive as another program would.
async fn put(drive: &Drive<MemoryStore>, nodes: &[(&str, Bytes)]) {
    let trie = Trie::new(drive.metadata_core().clone(), TrieOptions::default());
    let mut writer = Writer::new(trie, drive.metadata_core().length());
    for (key, value) in nodes {
        writer.put(key, Some(value.clone()), flags(0, false)).await.unwrap();
    }
    drive.metadata_core().append(writer.blocks().to_vec(), None).await.unwrap();
    while drive.version() != drive.metadata_core().length() {
        tokio::task::yield_now().await;
    }
}

fn file(extent: Extent) -> Stat {
    let Extent { offset, blocks, byte_offset, size } = extent;
    Stat { mode: S_IFREG | 0o644, offset, blocks, byte_offset, size, ..Stat::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Blocks of any sizes, reads of any ranges in any order, also several at once.
    #[test]
    fn any_range_of_any_blocks(
        sizes in proptest::collection::vec(prop_oneof![
            Just(524_288usize), Just(65_536), Just(0), 1usize..100, 1usize..100_000
        ], 1..12),
        before in 0usize..3,
        reads in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..300_000), 1..16),
        at_once: bool,
    ) {
        run(async {
            let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
            let content = drive.content_core().await.unwrap();
            let mut blocks: Vec<Bytes> = vec![Bytes::from_static(b"something else"); before];
            let all: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|n| (n % 251) as u8).collect();
            let mut rest = Bytes::from(all.clone());
            blocks.extend(sizes.iter().map(|size| rest.split_to(*size)));
            blocks.push("after it".into());
            content.append(blocks, None).await.unwrap();
            let stat = file(Extent {
                offset: before as u64,
                blocks: sizes.len() as u64,
                byte_offset: 14 * before as u64,
                size: all.len() as u64,
            });
            let reader = drive.reader(&stat);
            let reads: Vec<_> = reads.into_iter().map(|(at, len)| (at.index(all.len() + 10), len)).collect();
            let check = async |(at, len): (usize, usize)| {
                let read = reader.read(at as u64, len).await.unwrap();
                let at = at.min(all.len());
                assert!(read == all[at..all.len().min(at + len)], "{len} bytes from {at}");
            };
            if at_once {
                futures::future::join_all(reads.into_iter().map(check)).await;
            } else {
                for read in reads {
                    check(read).await;
                }
            }
            assert!(reader.read_all().await.unwrap() == all);
        });
    }

    /// The same of what is not committed yet, and once it is.
    #[test]
    fn any_range_of_what_waits(
        size in 1usize..200_000,
        reads in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..100_000), 1..10),
    ) {
        run(async {
            let drive = Drives::new(MemoryStore::new(), grouped()).create().await.unwrap();
            let all: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            drive.put_file("/f", all.clone(), Attrs::file()).await.unwrap();
            let stat = drive.stat("/f").await.unwrap();
            let before = drive.reader(&stat);
            drive.commit().await.unwrap();
            for reader in [before, drive.reader(&stat), drive.reader(&drive.stat("/f").await.unwrap())] {
                for (at, len) in &reads {
                    let at = at.index(size + 10);
                    let read = reader.read(at as u64, *len).await.unwrap();
                    let at = at.min(size);
                    assert!(read == all[at..size.min(at + len)], "{len} bytes from {at}");
                }
            }
        });
    }

    /// Records that say anything: an error or some bytes, never more than they claim.
    #[test]
    fn records_that_lie(offset: u64, blocks in 0u64..50, byte_offset in 0u64..2000, size in 0u64..5000, near: bool) {
        run(async {
            let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
            drive.content_core().await.unwrap().append(vec![vec![7; 100].into(); 20], None).await.unwrap();
            let offset = if near { offset % 30 } else { offset };
            let reader = drive.reader(&file(Extent { offset, blocks, byte_offset, size }));
            for (at, len) in [(0, 10), (99, 2), (size / 2, 1000), (0, 5000)] {
                if let Ok(read) = reader.read(at, len).await {
                    assert!(read.len() as u64 <= size.saturating_sub(at));
                }
            }
        });
    }

    /// Whatever stands where a record should: that one is damaged, all else is there.
    #[test]
    fn values_that_are_no_records(garbage: Vec<u8>) {
        run(async {
            let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
            drive.put_file("/good", "good", Attrs::file()).await.unwrap();
            put(&drive, &[("bad", garbage.clone().into()), ("dir/bad", garbage.into())]).await;
            let names: Vec<_> = drive.readdir("/").await.unwrap().into_iter().map(|entry| entry.name).collect();
            prop_assert!(names.contains(&"good".to_owned()) && names.contains(&"dir".to_owned()));
            let is_listed = names.contains(&"bad".to_owned());
            match drive.stat("/bad").await {
                Ok(_) => prop_assert!(is_listed),
                Err(error) => prop_assert!(error.errno() == EIO && !is_listed),
            }
            drive.walk("/", Default::default()).await.unwrap();
            let _ = drive.read_file("/bad").await;
            prop_assert_eq!(drive.read_file("/good").await.unwrap(), "good");
            Ok(())
        })?;
    }
}

#[test]
fn names_that_no_directory_may_hold_are_not_seen() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
        let value = file(Extent::default()).encode();
        let long = "x".repeat(300);
        let keys = ["..", ".", "a//b", "nul\0", "d/../e", long.as_str(), "fine"];
        put(&drive, &keys.map(|key| (key, value.clone()))).await;
        let paths: Vec<_> =
            drive.walk("/", Default::default()).await.unwrap().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["/", "/a", "/d", "/fine"]);
        for path in ["/..", "/nul\0", "/d/../e"] {
            assert_eq!(drive.stat(path).await.unwrap_err().errno(), 22, "{path}");
        }
    });
}

#[test]
fn directories_may_exist_by_what_they_hold() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
        let mut stat = file(Extent { size: 5, ..Extent::default() });
        (stat.uid, stat.gid, stat.mode) = (7, 8, S_IFREG | 0o600);
        put(&drive, &[("a/b/c", stat.encode())]).await;
        for path in ["/a", "/a/b"] {
            let stat = drive.stat(path).await.unwrap();
            assert_eq!((stat.mode, stat.size, stat.uid, stat.gid), (0o040755, 0, 7, 8), "{path}");
        }
        assert_eq!(drive.readdir("/a").await.unwrap()[0].stat, drive.stat("/a/b").await.unwrap());
        assert_eq!(drive.mkdir("/a", Attrs::dir()).await.unwrap_err().errno(), 17);
        assert_eq!(drive.unlink("/a").await.unwrap_err().errno(), EISDIR);
        assert_eq!(drive.rmdir("/a").await.unwrap_err().errno(), 39);
        drive.put_file("/a/new", "n", Attrs::file()).await.unwrap();
        // It moves, too.
        drive.rename("/a", "/z", Default::default()).await.unwrap();
        assert_eq!(drive.stat("/a").await.unwrap_err().errno(), ENOENT);
        assert_eq!(drive.stat("/z/b/c").await.unwrap().uid, 7);
        // Attributes make it a directory of its own; without, it goes with the last in it.
        drive.set_xattr("/z/b", "user.k", "v").await.unwrap();
        drive.unlink("/z/b/c").await.unwrap();
        drive.unlink("/z/new").await.unwrap();
        assert!(drive.stat("/z/b").await.unwrap().is_dir());
        drive.rmdir("/z/b").await.unwrap();
        assert_eq!(drive.stat("/z").await.unwrap_err().errno(), ENOENT);
    });
}

#[test]
fn a_file_over_a_directory_hides_it() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
        let value = file(Extent::default()).encode();
        put(&drive, &[("f/below", value.clone()), ("f", value)]).await;
        assert!(drive.stat("/f").await.unwrap().is_file());
        assert_eq!(drive.stat("/f/below").await.unwrap_err().errno(), ENOTDIR);
        assert_eq!(drive.readdir("/f").await.unwrap_err().errno(), ENOTDIR);
        assert_eq!(drive.put_file("/f/x", "x", Attrs::file()).await.unwrap_err().errno(), ENOTDIR);
    });
}

#[test]
fn a_core_can_be_read_as_a_file() {
    run(async {
        let store = MemoryStore::new();
        let drive = Drives::new(store.clone(), immediate()).create().await.unwrap();
        let core = store.open(OpenTarget::New).await.unwrap();
        core.append(vec!["one ".into(), "two".into()], None).await.unwrap();
        let mut stat = file(Extent { blocks: 2, size: 7, ..Extent::default() });
        stat.mount = Some(MountRef { key: core.key(), version: None, hash: None, hypercore: true });
        put(&drive, &[("core", stat.encode())]).await;
        assert_eq!(drive.read_file("/core").await.unwrap(), "one two");
        assert!(!drive.locate("/core").await.unwrap().is_mountpoint);
        assert_eq!(drive.stats("/").await.unwrap()[0].downloaded_blocks, 2);
        drive.unmount("/core").await.unwrap();
        assert_eq!(drive.stat("/core").await.unwrap_err().errno(), ENOENT);
    });
}

#[test]
fn links_lead_where_posix_says() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), grouped()).create().await.unwrap();
        drive.mkdir_all("/d/e", Attrs::dir()).await.unwrap();
        drive.put_file("/d/file", "deep", Attrs::file()).await.unwrap();
        drive.put_file("/file", "top", Attrs::file()).await.unwrap();
        for (path, target) in [
            ("/d/rel", "file"),
            ("/d/up", "../file"),
            ("/d/e/abs", "/d/file"),
            ("/d/far", "../../../../file"),
            ("/todir", "d//./e/.."),
            ("/chain", "todir/rel"),
            ("/loop", "loop2"),
            ("/loop2", "/loop"),
            ("/gone", "nowhere"),
            ("/through", "file/x"),
        ] {
            drive.symlink(path, target, Attrs::file()).await.unwrap();
            assert_eq!(drive.stat(path).await.unwrap().linkname.as_deref(), Some(target));
        }
        for (path, content) in [
            ("/d/rel", "deep"),
            ("/d/up", "top"),
            ("/d/e/abs", "deep"),
            ("/d/far", "top"),
            ("/todir/rel", "deep"),
            ("/chain", "deep"),
            ("/todir/e/abs", "deep"),
        ] {
            assert_eq!(drive.read_file(path).await.unwrap(), content, "{path}");
        }
        assert_eq!(drive.follow("/todir/e/abs").await.unwrap(), "/d/file");
        assert_eq!(drive.follow("/gone").await.unwrap(), "/nowhere");
        assert_eq!(drive.read_file("/gone").await.unwrap_err().errno(), ENOENT);
        assert_eq!(drive.read_file("/loop").await.unwrap_err().errno(), ELOOP);
        assert_eq!(drive.read_file("/through").await.unwrap_err().errno(), ENOTDIR);
        assert_eq!(drive.read_file("/d").await.unwrap_err().errno(), EISDIR);
        assert_eq!(drive.readdir("/todir").await.unwrap_err().errno(), ENOTDIR);
    });
}

#[test]
fn what_is_cleared_is_unavailable_and_never_missing() {
    run(async {
        let store = MemoryStore::new();
        let drives = Drives::new(store.clone(), immediate());
        let drive = drives.create().await.unwrap();
        drive.put_file("/f", "bytes", Attrs::file()).await.unwrap();
        assert_eq!(drive.clear("/f").await.unwrap_err().errno(), 1);
        let theirs = Drives::new(store.read_only(), immediate()).open(drive.key(), None).await.unwrap();
        assert!(!theirs.writable());
        assert_eq!(theirs.unlink("/f").await.unwrap_err().errno(), 30);
        theirs.download("/", |_| {}).await.unwrap();
        theirs.clear("/").await.unwrap();
        assert_eq!(theirs.stats("/").await.unwrap()[0].downloaded_blocks, 0);
        assert_eq!(theirs.read_file("/f").await.unwrap_err().errno(), ETIMEDOUT);
        assert_eq!(theirs.download("/f", |_| {}).await.unwrap_err().errno(), ETIMEDOUT);
        assert_eq!(theirs.stat("/f").await.unwrap().size, 5);
    });
}

#[test]
fn what_is_no_drive_is_an_error() {
    run(async {
        let store = MemoryStore::new();
        let core = store.open(OpenTarget::New).await.unwrap();
        core.append(vec!["hello".into()], None).await.unwrap();
        let drives = Drives::new(store, immediate());
        let no_drive = drives.open(core.key(), None).await.unwrap();
        assert_eq!(no_drive.readdir("/").await.unwrap_err().errno(), 95);
        let nobody = drives.open([1; 32].into(), None).await.unwrap();
        assert_eq!(nobody.readdir("/").await.unwrap_err().errno(), ETIMEDOUT);
    });
}
