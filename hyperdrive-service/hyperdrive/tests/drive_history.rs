//! The past of a drive, and names for it; attributes; limits.

mod common;

use common::{EINVAL, ENODATA, ENOENT, EPERM, grouped, immediate, run};
use hyperdrive::{AttrChange, Attrs, Content, Drives, Op, RenameMode};
use hyperspace_api::Core;
use hyperspace_api::memory::MemoryStore;

const ENAMETOOLONG: i32 = 36;
const EROFS: i32 = 30;

#[test]
fn a_diff_tells_what_a_reader_would_notice() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), grouped()).create().await.unwrap();
        drive.mkdir("/d", Attrs::dir()).await.unwrap();
        for name in ["/d/same", "/d/changed", "/d/removed", "/other"] {
            drive.put_file(name, "1", Attrs::file()).await.unwrap();
        }
        drive.commit().await.unwrap();
        let version = drive.version();
        drive.put_file("/d/changed", "22", Attrs::file()).await.unwrap();
        drive.unlink("/d/removed").await.unwrap();
        drive.put_file("/d/added", "3", Attrs::file()).await.unwrap();
        drive.rename("/other", "/moved", RenameMode::Replace).await.unwrap();
        // Before and after the commit.
        for _ in 0..2 {
            let diff = drive.diff(version, "/").await.unwrap();
            let told: Vec<_> = diff
                .iter()
                .map(|entry| (entry.path.as_str(), entry.old.is_some(), entry.new.is_some()))
                .collect();
            assert_eq!(
                told,
                [
                    ("/d/added", false, true),
                    ("/d/changed", true, true),
                    ("/d/removed", true, false),
                    ("/moved", false, true),
                    ("/other", true, false),
                ]
            );
            assert_eq!(diff[1].old.as_ref().unwrap().size, 1);
            assert_eq!(diff[1].new.as_ref().unwrap().size, 2);
            assert_eq!(drive.diff(version, "/d").await.unwrap().len(), 3);
            assert!(drive.diff(drive.version(), "/").await.unwrap().is_empty());
            drive.commit().await.unwrap();
        }
        assert_eq!(drive.diff(drive.version() + 1, "/").await.unwrap_err().errno(), EINVAL);
        assert_eq!(drive.checkout(drive.version() + 1).unwrap_err().errno(), EINVAL);

        let old = drive.checkout(version).unwrap();
        assert_eq!(old.read_file("/d/changed").await.unwrap(), "1");
        assert_eq!(old.version(), version);
        assert_eq!(old.unlink("/d/changed").await.unwrap_err().errno(), EROFS);
        assert_eq!(old.create_tag("x", None).await.unwrap_err().errno(), EROFS);
        assert!(drive.checkout(0).unwrap().readdir("/").await.unwrap().is_empty());
    });
}

#[test]
fn the_log_has_the_newest_first() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
        for name in ["/a", "/b", "/c"] {
            drive.put_file(name, "x", Attrs::file()).await.unwrap();
        }
        let log = drive.history(2).await.unwrap();
        let told: Vec<_> = log.iter().map(|entry| (entry.version, entry.path.as_str())).collect();
        assert_eq!(told, [(4, "/c"), (3, "/b")]);
        for entry in drive.history(100).await.unwrap() {
            let then = drive.checkout(entry.version).unwrap();
            assert_eq!(then.stat(&entry.path).await.ok(), entry.stat);
        }
    });
}

#[test]
fn tags_name_versions() {
    run(async {
        let store = MemoryStore::new();
        let drive = Drives::new(store.clone(), grouped()).create().await.unwrap();
        drive.put_file("/f", "1", Attrs::file()).await.unwrap();
        drive.create_tag("now", None).await.unwrap();
        drive.create_tag("start", Some(1)).await.unwrap();
        drive.put_file("/f", "2", Attrs::file()).await.unwrap();
        drive.commit().await.unwrap();
        for drive in [&drive, &Drives::new(store, grouped()).open(drive.key(), None).await.unwrap()] {
            let tags = drive.tags().await.unwrap();
            assert_eq!(tags.keys().collect::<Vec<_>>(), ["now", "start"]);
            assert_eq!(drive.checkout(tags["now"]).unwrap().read_file("/f").await.unwrap(), "1");
        }
        drive.delete_tag("now").await.unwrap();
        assert_eq!(drive.delete_tag("now").await.unwrap_err().errno(), ENOENT);
        assert_eq!(drive.tags().await.unwrap().len(), 1);
        // They are hidden.
        assert_eq!(drive.readdir("/").await.unwrap().len(), 1);
    });
}

#[test]
fn attributes_are_kept_and_removed() {
    run(async {
        let store = MemoryStore::new();
        let drive = Drives::new(store.clone(), immediate()).create().await.unwrap();
        drive.put_file("/f", "x", Attrs { uid: 5, gid: 6, mtime: Some(1), ..Attrs::file() }).await.unwrap();
        for path in ["/f", "/"] {
            drive.set_xattr(path, "user.a", "1").await.unwrap();
            drive.set_xattr(path, "user.empty", "").await.unwrap();
            drive
                .set_attrs(path, AttrChange { mode: Some(0o7700), mtime: Some(2), ..Default::default() })
                .await
                .unwrap();
        }
        let fresh = Drives::new(store.clone(), immediate()).open(drive.key(), None).await.unwrap();
        for path in ["/f", "/"] {
            let stat = fresh.stat(path).await.unwrap();
            assert_eq!((stat.mode & 0o7777, stat.mtime), (0o7700, 2), "{path}");
            assert_eq!(stat.metadata.len(), 2);
            fresh.remove_xattr(path, "user.a").await.unwrap();
            assert_eq!(fresh.remove_xattr(path, "user.a").await.unwrap_err().errno(), ENODATA);
            assert_eq!(fresh.stat(path).await.unwrap().metadata.keys().collect::<Vec<_>>(), ["user.empty"]);
        }
        let stat = fresh.stat("/f").await.unwrap();
        assert_eq!((stat.uid, stat.gid), (5, 6));
        // New content keeps them.
        let content = Content::Bytes("new".into());
        fresh.apply(vec![Op::SetContent { path: "/f".into(), content, mtime: 9 }]).await.unwrap();
        let stat = fresh.stat("/f").await.unwrap();
        assert_eq!((stat.uid, stat.mtime, stat.size, stat.metadata.len()), (5, 9, 3, 1));
    });
}

#[test]
fn limits() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
        let errno = |result: Result<(), hyperdrive::DriveError>| result.unwrap_err().errno();
        assert_eq!(errno(drive.mkdir(&format!("/{}", "é".repeat(128)), Attrs::dir()).await), ENAMETOOLONG);
        drive.mkdir(&format!("/{}", "é".repeat(127)), Attrs::dir()).await.unwrap();
        assert_eq!(errno(drive.mkdir("/a\0b", Attrs::dir()).await), EINVAL);
        assert_eq!(errno(drive.mkdir("/..", Attrs::dir()).await), EINVAL);
        assert_eq!(errno(drive.symlink("/l", "", Attrs::file()).await), ENOENT);
        assert_eq!(errno(drive.symlink("/l", &"x".repeat(5000), Attrs::file()).await), ENAMETOOLONG);
        assert_eq!(errno(drive.set_xattr("/", "", "").await), EINVAL);
        assert_eq!(errno(drive.set_xattr("/", "user.x", vec![0; 70_000]).await), EINVAL);
        let too_much = Content::Bytes(vec![0; 2 << 20].into());
        let put = Op::PutFile { path: "/f".into(), attrs: Attrs::file(), content: too_much };
        assert_eq!(errno(drive.apply(vec![put]).await), EINVAL);
        for op in [
            drive.rmdir("/").await,
            drive.rename("/", "/x", RenameMode::Replace).await,
            drive.rename("/x", "/", RenameMode::Replace).await,
        ] {
            assert_eq!(errno(op), EPERM);
        }
        // Of any size by the call that takes care of it.
        drive.put_file("/f", vec![7; 3 << 20], Attrs::file()).await.unwrap();
        assert!(drive.read_file("/f").await.unwrap() == vec![7; 3 << 20]);
        drive.put_file("/empty", "", Attrs::file()).await.unwrap();
        assert_eq!(drive.read_file("/empty").await.unwrap(), "");
    });
}

#[test]
fn a_copy_copies_no_content() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), immediate()).create().await.unwrap();
        drive.put_file("/f", "bytes", Attrs::file()).await.unwrap();
        let length = drive.content_core().await.unwrap().length();
        drive.copy("/f", "/g").await.unwrap();
        assert_eq!(drive.content_core().await.unwrap().length(), length);
        drive.put_file("/f", "other", Attrs::file()).await.unwrap();
        assert_eq!(drive.read_file("/g").await.unwrap(), "bytes");
    });
}
