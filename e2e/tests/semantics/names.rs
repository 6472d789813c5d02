//! Names.

use crate::Check;
use crate::world::{World, denied, refused};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, mknod};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub const CHECKS: &[Check] = &[
    ("S10", rename_replaces_atomically),
    ("S11", folders_are_renamed),
    ("S12", rename_refuses),
    ("S13", rename_flags),
    ("S14", rename_across_drives),
    ("S15", limits_of_names),
    ("S16", listings_and_removals),
    ("S17", no_links_and_devices),
];

fn rename_replaces_atomically(world: &mut World) {
    let folder = world.folder();
    let target = folder.join("target");
    fs::write(&target, "content 0").expect("a new file");
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                let found = fs::read_to_string(&target).expect("the target is always there");
                assert!(found.starts_with("content "), "{found:?}");
                reads += 1;
            }
            reads
        });
        for i in 1..200 {
            let new = folder.join("new");
            fs::write(&new, format!("content {i}")).expect("a new file");
            fs::rename(&new, &target).expect("a rename");
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("the reader saw what it should") > 0);
    });
    assert_eq!(fs::read(&target).expect("the target"), b"content 199");
}

fn folders_are_renamed(world: &mut World) {
    let folder = world.folder();
    fs::create_dir_all(folder.join("a/b/c")).expect("new folders");
    for i in 0..50 {
        fs::write(folder.join(format!("a/b/file-{i}")), format!("{i}")).expect("a new file");
    }
    fs::write(folder.join("a/b/c/deep"), "deep").expect("a new file");
    fs::create_dir(folder.join("empty")).expect("a new folder");
    fs::rename(folder.join("a"), folder.join("empty")).expect("a folder over an empty one");
    fs::rename(folder.join("empty"), folder.join("z")).expect("a folder");
    for _ in 0..2 {
        assert!(!folder.join("a").exists() && !folder.join("empty").exists());
        assert_eq!(fs::read(folder.join("z/b/c/deep")).expect("the deep file"), b"deep");
        assert_eq!(fs::read_dir(folder.join("z/b")).expect("the folder").count(), 51);
        world.restart();
    }
}

fn rename_refuses(world: &mut World) {
    let folder = world.folder();
    let at = |name: &str| folder.join(name);
    fs::create_dir_all(at("dir/sub")).expect("new folders");
    fs::create_dir(at("empty")).expect("a new folder");
    fs::write(at("file"), "").expect("a new file");
    refused(fs::rename(at("dir"), at("dir/sub/inside")), Errno::EINVAL);
    refused(fs::rename(at("empty"), at("dir")), Errno::ENOTEMPTY);
    refused(fs::rename(at("dir"), at("file")), Errno::ENOTDIR);
    refused(fs::rename(at("file"), at("empty")), Errno::EISDIR);
    refused(fs::rename(at("missing"), at("file")), Errno::ENOENT);
    refused(fs::rename(at("file"), at("file/below")), Errno::ENOTDIR);
    assert!(at("dir/sub").is_dir() && at("file").is_file() && at("empty").is_dir());
}

fn exchange(from: &Path, to: &Path, flags: RenameFlags) -> nix::Result<()> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)
}

fn rename_flags(world: &mut World) {
    let folder = world.folder();
    let (a, b) = (folder.join("a"), folder.join("b"));
    fs::write(&a, "A").expect("a new file");
    fs::write(&b, "B").expect("a new file");
    denied(exchange(&a, &b, RenameFlags::RENAME_NOREPLACE), Errno::EEXIST);
    exchange(&a, &folder.join("c"), RenameFlags::RENAME_NOREPLACE).expect("the target is free");
    fs::rename(folder.join("c"), &a).expect("a rename");
    exchange(&a, &b, RenameFlags::RENAME_EXCHANGE).expect("both are there");
    assert_eq!((fs::read(&a).expect("a"), fs::read(&b).expect("b")), (b"B".to_vec(), b"A".to_vec()));
    let dir = folder.join("dir");
    fs::create_dir(&dir).expect("a new folder");
    fs::write(dir.join("in"), "x").expect("a new file");
    exchange(&a, &dir, RenameFlags::RENAME_EXCHANGE).expect("a file and a folder");
    assert!(a.join("in").is_file() && dir.is_file());
    denied(exchange(&b, &folder.join("missing"), RenameFlags::RENAME_EXCHANGE), Errno::ENOENT);
}

fn rename_across_drives(world: &mut World) {
    let (drive, _) = world.drive();
    let outside = world.folder().join("file");
    fs::write(&outside, "content").expect("a new file");
    refused(fs::rename(&outside, drive.join("file")), Errno::EXDEV);
    let mut mv = std::process::Command::new("mv");
    hyperspace_e2e::shell::run(mv.arg(&outside).arg(drive.join("file")));
    assert_eq!(fs::read(drive.join("file")).expect("the moved file"), b"content");
    assert!(!outside.exists());
}

fn limits_of_names(world: &mut World) {
    let folder = world.folder();
    let longest = "é".repeat(127) + "x";
    assert_eq!(longest.len(), 255);
    fs::write(folder.join(&longest), "x").expect("a name of 255 bytes");
    assert_eq!(fs::read(folder.join(&longest)).expect("the file"), b"x");
    refused(fs::write(folder.join("n".repeat(256)), ""), Errno::ENAMETOOLONG);
    refused(fs::create_dir(folder.join("n".repeat(256))), Errno::ENAMETOOLONG);
    refused(fs::write(folder.join(OsStr::from_bytes(b"\xff\xfe")), ""), Errno::EINVAL);
    refused(fs::create_dir(folder.join(OsStr::from_bytes(b"\xc3"))), Errno::EINVAL);
}

fn listings_and_removals(world: &mut World) {
    let folder = world.folder();
    let mut names: Vec<String> = (0..300).map(|i| format!("name-{}", (i * 7919) % 1000)).collect();
    names.extend(["A", "z", "ä", "with space", "0"].map(str::to_owned));
    names.iter().for_each(|name| fs::write(folder.join(name), "").expect("a new file"));
    names.sort();
    let listed: Vec<String> = fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(listed, names);
    refused(fs::remove_dir(&folder), Errno::ENOTEMPTY);
    refused(fs::remove_dir(folder.join("A")), Errno::ENOTDIR);
    refused(fs::remove_file(&folder), Errno::EISDIR);
    refused(fs::remove_file(folder.join("missing")), Errno::ENOENT);
    names.iter().for_each(|name| fs::remove_file(folder.join(name)).expect("a removal"));
    fs::remove_dir(&folder).expect("it is empty now");
    assert!(!folder.exists());
}

fn no_links_and_devices(world: &mut World) {
    let folder = world.folder();
    fs::write(folder.join("file"), "x").expect("a new file");
    refused(fs::hard_link(folder.join("file"), folder.join("link")), Errno::EPERM);
    let mode = Mode::from_bits_truncate(0o640);
    denied(mknod(&folder.join("pipe"), SFlag::S_IFIFO, mode, 0), Errno::EPERM);
    denied(mknod(&folder.join("socket"), SFlag::S_IFSOCK, mode, 0), Errno::EPERM);
    mknod(&folder.join("regular"), SFlag::S_IFREG, mode, 0).expect("a regular file");
    assert!(folder.join("regular").is_file());
    fs::create_dir(folder.join("sub")).expect("a new folder");
    let links = |path: &Path| fs::metadata(path).expect("what is there").nlink();
    assert_eq!((links(&folder), links(&folder.join("file"))), (2, 1));
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 3);
}
