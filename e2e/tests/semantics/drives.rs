//! Drives in drives, and data that is not here.

use crate::Check;
use crate::world::{World, refused, soon, text, xattr};
use nix::errno::Errno;
use std::fs::{self, File};
use std::time::{Duration, Instant};

pub const CHECKS: &[Check] = &[
    ("S34", a_drive_is_a_folder),
    ("S35", rmdir_unmounts),
    ("S36", a_version_stays),
    ("S37", any_drive_by_key),
    ("S38", data_that_is_not_here),
    ("S39", read_only),
];

fn a_drive_is_a_folder(world: &mut World) {
    let (drive, key) = world.drive();
    fs::create_dir(drive.join("dir")).expect("a new folder");
    fs::write(drive.join("dir/file"), "inside").expect("a new file");
    assert_eq!(xattr(&drive.join("dir/file"), "user.hyperdrive.path"), "/dir/file");
    let twin = world.folder().join("twin");
    world.hyperdrive(&["mount", text(&twin), &key]);
    soon("the second mount of one drive", || {
        fs::read(twin.join("dir/file")).is_ok_and(|found| found == b"inside")
    });
    fs::write(twin.join("dir/other"), "through the other").expect("a new file");
    soon("what was written through the other", || {
        fs::read(drive.join("dir/other")).is_ok_and(|found| found == b"through the other")
    });
    world.restart();
    assert_eq!(fs::read(drive.join("dir/file")).expect("the file"), b"inside");
    assert_eq!(fs::read(twin.join("dir/other")).expect("the other"), b"through the other");
}

fn rmdir_unmounts(world: &mut World) {
    let (drive, key) = world.drive();
    fs::write(drive.join("file"), "kept").expect("a new file");
    fs::remove_dir(&drive).expect("a mountpoint is removed as it is");
    assert!(!drive.exists());
    fs::create_dir(&drive).expect("its place is free");
    assert_eq!(fs::read_dir(&drive).expect("the folder").count(), 0);
    let again = world.folder().join("again");
    world.hyperdrive(&["mount", text(&again), &key]);
    soon("the drive, mounted again", || fs::read(again.join("file")).is_ok_and(|found| found == b"kept"));
}

fn a_version_stays(world: &mut World) {
    let (drive, key) = world.drive();
    fs::write(drive.join("file"), "then").expect("a new file");
    File::open(drive.join("file")).expect("the file").sync_all().expect("fsync");
    let version = xattr(&drive, "user.hyperdrive.version");
    let then = world.folder().join("then");
    world.hyperdrive(&["mount", text(&then), &key, "--version", &version]);
    fs::write(drive.join("file"), "now").expect("a write");
    fs::write(drive.join("new"), "now").expect("a new file");
    File::open(drive.join("new")).expect("the file").sync_all().expect("fsync");
    soon("the mount of a version", || fs::read(then.join("file")).is_ok_and(|found| found == b"then"));
    assert!(!then.join("new").exists());
    refused(fs::write(then.join("file"), "changed"), Errno::EROFS);
    refused(fs::write(then.join("another"), ""), Errno::EROFS);
    refused(fs::create_dir(then.join("dir")), Errno::EROFS);
    refused(fs::remove_file(then.join("file")), Errno::EROFS);
    refused(fs::rename(then.join("file"), then.join("moved")), Errno::EROFS);
}

fn any_drive_by_key(world: &mut World) {
    let (drive, key) = world.drive();
    fs::create_dir(drive.join("dir")).expect("a new folder");
    fs::write(drive.join("dir/file"), "by key").expect("a new file");
    File::open(drive.join("dir/file")).expect("the file").sync_all().expect("fsync");
    let network = world.root().join("Network");
    let by_key = network.join(&key);
    assert_eq!(fs::read(by_key.join("dir/file")).expect("the file, by key"), b"by key");
    assert_eq!(xattr(&by_key.join("dir/file"), "user.hyperdrive.key"), key);
    assert_eq!(fs::read_dir(by_key.join("dir")).expect("the folder").count(), 1);
    for missing in ["missing", "dir/missing", "missing/below"] {
        refused(fs::metadata(by_key.join(missing)), Errno::ENOENT);
    }
    refused(fs::metadata(network.join("no-key")), Errno::ENOENT);
    refused(fs::metadata(network.join("f".repeat(63))), Errno::ENOENT);
    refused(fs::write(by_key.join("new"), ""), Errno::EROFS);
    refused(fs::remove_file(by_key.join("dir/file")), Errno::EROFS);
}

fn data_that_is_not_here(world: &mut World) {
    let folder = world.folder();
    fs::write(folder.join("file"), "here").expect("a new file");
    let stranger = world.root().join("Network").join("ab".repeat(32));
    let started = Instant::now();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| fs::read(stranger.join("file")));
        while !waiting.is_finished() {
            let start = Instant::now();
            assert_eq!(fs::read(folder.join("file")).expect("what is here"), b"here");
            fs::write(folder.join("another"), "").expect("a new file");
            assert!(start.elapsed() < Duration::from_secs(5), "blocked for {:?}", start.elapsed());
            std::thread::sleep(Duration::from_millis(10));
        }
        refused(waiting.join().expect("the waiting thread"), Errno::ETIMEDOUT);
    });
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    refused(fs::read_dir(&stranger).map(Iterator::count), Errno::ETIMEDOUT);
}

fn read_only(world: &mut World) {
    let folder = world.folder();
    let path = folder.join("file");
    fs::write(&path, "x").expect("a new file");
    world.stop();
    world.start(&["--read-only"]);
    assert_eq!(fs::read(&path).expect("the file"), b"x");
    refused(fs::write(&path, "y"), Errno::EROFS);
    refused(fs::write(folder.join("new"), ""), Errno::EROFS);
    refused(fs::remove_file(&path), Errno::EROFS);
    refused(fs::create_dir(folder.join("dir")), Errno::EROFS);
    refused(fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)), Errno::EROFS);
    world.restart();
    fs::write(&path, "y").expect("a write");
}
