//! Mounts: through them, below them, and what the original leaves behind.

mod common;

use common::{EEXIST, EINVAL, ENOENT, ENOTEMPTY, grouped, immediate, run};
use data_encoding::HEXLOWER;
use hyperdrive::trie::{Trie, TrieOptions, flags};
use hyperdrive::{AttrChange, Attrs, Drive, Drives, Op, RenameMode, Stat, WalkOptions};
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{Core, GetOptions, Key};

const EROFS: i32 = 30;
const EXDEV: i32 = 18;
const ETIMEDOUT: i32 = 110;

async fn new(drives: &Drives<MemoryStore>, files: &[&str]) -> Drive<MemoryStore> {
    let drive = drives.create().await.unwrap();
    for file in files {
        let (dir, _) = file.rsplit_once('/').unwrap();
        drive.mkdir_all(dir, Attrs::dir()).await.unwrap();
        drive.put_file(file, file.to_string(), Attrs::file()).await.unwrap();
    }
    drive
}

async fn names(drive: &Drive<MemoryStore>, path: &str) -> Vec<String> {
    drive.readdir(path).await.unwrap().into_iter().map(|entry| entry.name).collect()
}

async fn walk(drive: &Drive<MemoryStore>, path: &str) -> Vec<String> {
    let found = drive.walk(path, WalkOptions::default()).await.unwrap();
    found.into_iter().map(|(path, _)| path).collect()
}

/// The hidden records that are there.
async fn records(core: &MemoryCore) -> Vec<String> {
    let trie = Trie::new(core.clone(), TrieOptions::default());
    let options = hyperdrive::trie::ListOptions { hidden: true, ..Default::default() };
    trie.live().list("mounts", options).await.unwrap().iter().map(|node| node.key().to_owned()).collect()
}

#[test]
fn the_nodes_are_those_of_npm() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), immediate());
        let (drive, other) = (new(&drives, &[]).await, new(&drives, &[]).await);
        drive.mount("/mnt", other.key(), Some(2)).await.unwrap();
        let core = drive.metadata_core();
        assert_eq!(core.length(), 3);
        let hidden = HEXLOWER.encode(&core.get(1, GetOptions::LOCAL).await.unwrap());
        // key mounts/mnt, value { key, "mnt", 2 }, an empty table, seq 1, flags 257
        let key = other.key();
        assert_eq!(
            hidden,
            format!("0a0a6d6f756e74732f6d6e7412290a20{key}12036d6e7418021a010020012881 02").replace(' ', "")
        );
        let visible =
            Trie::new(core.clone(), TrieOptions::default()).live().get("mnt", false).await.unwrap().unwrap();
        assert_eq!(visible.flags, 256);
        let stat = Stat::decode(visible.value.clone().unwrap()).unwrap();
        assert!(stat.is_dir());
        assert_eq!(stat.mount.unwrap().version, Some(2));
    });
}

#[test]
fn through_a_mount_and_the_one_in_it() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), grouped());
        let a = new(&drives, &["/x/file"]).await;
        let b = new(&drives, &["/in-b"]).await;
        let c = new(&drives, &["/d/in-c"]).await;
        a.mount("/x/b", b.key(), None).await.unwrap();
        // Through the mount, into b.
        a.mount("/x/b/c", c.key(), None).await.unwrap();
        assert_eq!(b.mounts(false).await.unwrap()[0].path, "/c");
        assert_eq!(names(&a, "/x").await, ["b", "file"]);
        assert_eq!(names(&a, "/x/b").await, ["c", "in-b"]);
        assert_eq!(a.read_file("/x/b/c/d/in-c").await.unwrap(), "/d/in-c");
        let located = a.locate("/x/b/c/d/in-c").await.unwrap();
        assert_eq!((located.drive.key(), located.path.as_str()), (c.key(), "/d/in-c"));
        let located = a.locate("/x/b/c").await.unwrap();
        assert_eq!((located.drive.key(), located.path.as_str(), located.is_mountpoint), (c.key(), "/", true));
        assert_eq!(located.stat.mount.unwrap().key, c.key());

        // What is written through mounts is in the mounted drive, for all that mount it.
        a.put_file("/x/b/c/d/new", "new", Attrs::file()).await.unwrap();
        assert_eq!(c.read_file("/d/new").await.unwrap(), "new");
        assert_eq!(a.rename("/x/file", "/x/b/file", RenameMode::Replace).await.unwrap_err().errno(), EXDEV);
        let across = vec![Op::Unlink { path: "/x/file".into() }, Op::Unlink { path: "/x/b/in-b".into() }];
        assert_eq!(a.apply(across).await.unwrap_err().errno(), EXDEV);
        a.rename("/x/b/c/d/new", "/x/b/c/newer", RenameMode::Replace).await.unwrap();
        assert_eq!(names(&c, "/").await, ["d", "newer"]);

        let paths =
            |mounts: Vec<hyperdrive::MountEntry>| mounts.into_iter().map(|m| m.path).collect::<Vec<_>>();
        assert_eq!(paths(a.mounts(false).await.unwrap()), ["/x/b"]);
        assert_eq!(paths(a.mounts(true).await.unwrap()), ["/x/b", "/x/b/c"]);
        assert_eq!(
            walk(&a, "/x").await,
            ["/x", "/x/b", "/x/b/c", "/x/b/c/d", "/x/b/c/d/in-c", "/x/b/c/newer", "/x/b/in-b", "/x/file"]
        );
        let here = a.walk("/", WalkOptions { mounts: false }).await.unwrap();
        assert_eq!(here.last().unwrap().0, "/x/file");
        assert_eq!(here.len(), 4);

        // And all that when another process looks.
        drives.flush_all().await.unwrap();
        let fresh = Drives::new(drives.store().clone(), grouped());
        let a = fresh.open(a.key(), None).await.unwrap();
        assert_eq!(a.read_file("/x/b/c/d/in-c").await.unwrap(), "/d/in-c");
    });
}

#[test]
fn cycles_end() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), grouped());
        let (a, b) = (new(&drives, &["/in-a"]).await, new(&drives, &["/in-b"]).await);
        a.mount("/b", b.key(), None).await.unwrap();
        b.mount("/a", a.key(), None).await.unwrap();
        a.mount("/self", a.key(), None).await.unwrap();
        assert_eq!(walk(&a, "/").await, ["/", "/b", "/b/a", "/b/in-b", "/in-a", "/self"]);
        assert_eq!(a.mounts(true).await.unwrap().len(), 3);
        assert_eq!(a.read_file("/b/a/self/b/in-b").await.unwrap(), "/in-b");
        let deep = format!("{}/in-a", "/self".repeat(100));
        assert_eq!(a.stat(&deep).await.unwrap_err().errno(), 40);
        assert_eq!(a.stats("/").await.unwrap().len(), 2);
    });
}

#[test]
fn a_version_stays_as_it_was() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), immediate());
        let (a, b) = (new(&drives, &[]).await, new(&drives, &["/old"]).await);
        let version = b.version();
        a.mount("/then", b.key(), Some(version)).await.unwrap();
        a.mount("/now", b.key(), None).await.unwrap();
        b.put_file("/new", "new", Attrs::file()).await.unwrap();
        assert_eq!(names(&a, "/then").await, ["old"]);
        assert_eq!(names(&a, "/now").await, ["new", "old"]);
        for error in [
            a.unlink("/then/old").await.unwrap_err(),
            a.put_file("/then/x", "x", Attrs::file()).await.unwrap_err(),
            a.put_file("/then/x", vec![0; 2 << 20], Attrs::file()).await.unwrap_err(),
            a.set_attrs("/then", AttrChange { mode: Some(0), ..Default::default() }).await.unwrap_err(),
        ] {
            assert_eq!(error.errno(), EROFS, "{error}");
        }
        let located = a.locate("/then").await.unwrap();
        assert_eq!(located.drive.checked_out(), Some(version));
        assert!(!located.drive.writable());
    });
}

#[test]
fn unmounting_leaves_nothing_behind() {
    run(async {
        for by_rmdir in [false, true] {
            let drives = Drives::new(MemoryStore::new(), immediate());
            let (a, b) = (new(&drives, &["/f"]).await, new(&drives, &["/in-b"]).await);
            a.mount("/m", b.key(), None).await.unwrap();
            assert_eq!(records(a.metadata_core()).await, ["mounts/m"]);
            assert_eq!(a.mount("/m", b.key(), None).await.unwrap_err().errno(), EEXIST);
            assert_eq!(a.mount("/f", b.key(), None).await.unwrap_err().errno(), EEXIST);
            assert_eq!(a.unlink("/m").await.unwrap_err().errno(), 21);
            match by_rmdir {
                true => a.rmdir("/m").await.unwrap(),
                false => a.unmount("/m").await.unwrap(),
            }
            assert!(records(a.metadata_core()).await.is_empty());
            assert_eq!(names(&a, "/").await, ["f"]);
            assert_eq!(a.stat("/m/in-b").await.unwrap_err().errno(), ENOENT);
            assert_eq!(names(&b, "/").await, ["in-b"]);
            assert_eq!(a.unmount("/f").await.unwrap_err().errno(), EINVAL);
            // The place can be used again, for an ordinary directory too.
            a.mkdir("/m", Attrs::dir()).await.unwrap();
            a.put_file("/m/f", "f", Attrs::file()).await.unwrap();
            assert_eq!(a.mount("/m", b.key(), None).await.unwrap_err().errno(), ENOTEMPTY);
            a.unlink("/m/f").await.unwrap();
            a.mount("/m", b.key(), None).await.unwrap();
            assert_eq!(names(&a, "/m").await, ["in-b"]);
        }
    });
}

#[test]
fn a_directory_moves_with_its_mounts() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), immediate());
        let (a, b) = (new(&drives, &["/d/e/f"]).await, new(&drives, &["/in-b"]).await);
        a.mount("/d/e/m", b.key(), None).await.unwrap();
        a.rename("/d", "/moved", RenameMode::Replace).await.unwrap();
        assert_eq!(a.read_file("/moved/e/m/in-b").await.unwrap(), "/in-b");
        assert_eq!(records(a.metadata_core()).await, ["mounts/moved/e/m"]);
        // The mountpoint itself.
        a.rename("/moved/e/m", "/top", RenameMode::Replace).await.unwrap();
        assert_eq!(a.read_file("/top/in-b").await.unwrap(), "/in-b");
        assert_eq!(records(a.metadata_core()).await, ["mounts/top"]);
        assert_eq!(names(&a, "/moved/e").await, ["f"]);
        // It changes places with a directory.
        a.rename("/top", "/moved", RenameMode::Exchange).await.unwrap();
        assert_eq!(names(&a, "/top").await, ["e"]);
        assert_eq!(names(&a, "/moved").await, ["in-b"]);
        assert_eq!(a.rename("/top", "/moved", RenameMode::Replace).await.unwrap_err().errno(), ENOTEMPTY);
        assert_eq!(a.rename("/moved", "/moved/x", RenameMode::Replace).await.unwrap_err().errno(), EXDEV);
    });
}

#[test]
fn a_record_that_the_original_left_behind_counts_for_nothing() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), immediate());
        let (a, b) = (new(&drives, &[]).await, new(&drives, &["/in-b"]).await);
        a.mount("/m", b.key(), None).await.unwrap();
        // As npm hyperdrive's rmdir does: the visible node alone.
        let trie = Trie::new(a.metadata_core().clone(), TrieOptions::default());
        let mut writer = hyperdrive::trie::Writer::new(trie, a.version());
        writer.del("m", false).await.unwrap();
        a.metadata_core().append(writer.blocks().to_vec(), None).await.unwrap();
        while a.version() != a.metadata_core().length() {
            tokio::task::yield_now().await;
        }
        assert!(a.mounts(false).await.unwrap().is_empty());
        a.mkdir("/m", Attrs::dir()).await.unwrap();
        a.put_file("/m/ours", "ours", Attrs::file()).await.unwrap();
        assert_eq!(names(&a, "/m").await, ["ours"]);
        assert_eq!(a.read_file("/m/ours").await.unwrap(), "ours");
    });
}

#[test]
fn a_remote_path_is_the_root_that_is_shown() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), immediate());
        let (a, b) = (new(&drives, &[]).await, new(&drives, &["/sub/in-b", "/other"]).await);
        let mut record = vec![0x0a, 0x20];
        record.extend(b.key().as_bytes());
        record.extend(b"\x12\x01m\x22\x03sub");
        let trie = Trie::new(a.metadata_core().clone(), TrieOptions::default());
        let mut writer = hyperdrive::trie::Writer::new(trie, a.version());
        writer.put("mounts/m", Some(record.into()), flags(1, true)).await.unwrap();
        writer.put("m", Some(Default::default()), flags(1, false)).await.unwrap();
        a.metadata_core().append(writer.blocks().to_vec(), None).await.unwrap();
        while a.version() != a.metadata_core().length() {
            tokio::task::yield_now().await;
        }
        assert_eq!(names(&a, "/m").await, ["in-b"]);
        a.put_file("/m/new", "new", Attrs::file()).await.unwrap();
        assert_eq!(b.read_file("/sub/new").await.unwrap(), "new");
    });
}

#[test]
fn a_drive_that_nobody_has_hides_nothing_else() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), immediate());
        let a = new(&drives, &["/f"]).await;
        let away = Key::from([9; 32]);
        a.mount("/away", away, None).await.unwrap();
        assert_eq!(names(&a, "/").await, ["away", "f"]);
        let located = a.locate("/away").await.unwrap();
        assert!(located.stat.is_dir() && located.is_mountpoint);
        assert_eq!(a.readdir("/away").await.unwrap_err().errno(), ETIMEDOUT);
        assert_eq!(a.stat("/away/x").await.unwrap_err().errno(), ETIMEDOUT);
        assert_eq!(a.mounts(true).await.unwrap().len(), 1);
        a.unmount("/away").await.unwrap();
    });
}

#[test]
fn the_attributes_of_a_mountpoint_are_the_mounted_root_s() {
    run(async {
        let drives = Drives::new(MemoryStore::new(), immediate());
        let (a, b) = (new(&drives, &[]).await, new(&drives, &["/in-b"]).await);
        a.mount("/m", b.key(), None).await.unwrap();
        a.set_attrs("/m", AttrChange { mode: Some(0o700), ..Default::default() }).await.unwrap();
        a.set_xattr("/m", "user.k", "v").await.unwrap();
        assert_eq!(b.stat("/").await.unwrap().mode & 0o7777, 0o700);
        let listed = a.readdir("/").await.unwrap().remove(0).stat;
        assert_eq!(listed, a.stat("/m").await.unwrap());
        assert_eq!(listed.mode & 0o7777, 0o700);
        assert_eq!(listed.metadata.get("user.k").unwrap(), "v");
        assert_eq!(listed.mount.unwrap().key, b.key());
    });
}
