//! Durability and visibility.

use crate::Check;
use crate::world::{World, soon, xattr};
use hyperspace_e2e::mount::{Mount, is_mounted};
use hyperspace_e2e::random::Random;
use hyperspace_e2e::shell;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

pub const CHECKS: &[Check] = &[
    ("S1", fsync_is_durable),
    ("S2", fsync_of_a_folder_is_durable),
    ("S3", a_stop_commits),
    ("S4", never_half_and_half),
    ("S5", a_dead_mount_is_replaced),
    ("S43", a_stop_without_a_server),
    ("S6", seen_at_once),
    ("S7", seen_by_another_mount),
    ("S8", versions_grow),
    ("S9", the_past_can_be_read),
];

fn fsync_is_durable(world: &mut World) {
    let folder = world.folder();
    let large = Random::new(1).bytes(3_000_000);
    let mut small = File::create(folder.join("small")).expect("a new file");
    small.write_all(b"small").expect("a write");
    small.sync_all().expect("fsync");
    let mut file = File::create(folder.join("large")).expect("a new file");
    file.write_all(&large).expect("a write");
    file.sync_data().expect("fdatasync");
    // A change in the middle of what is durable already.
    file.write_all_at(b"CHANGED", 1_000_000).expect("a write");
    file.sync_data().expect("fdatasync");
    world.crash();
    drop((small, file));
    assert_eq!(fs::read(folder.join("small")).expect("the small file"), b"small");
    let mut expected = large;
    expected[1_000_000..1_000_007].copy_from_slice(b"CHANGED");
    assert!(fs::read(folder.join("large")).expect("the large file") == expected);
}

fn fsync_of_a_folder_is_durable(world: &mut World) {
    let folder = world.folder();
    fs::write(folder.join("old"), "content").expect("a new file");
    fs::write(folder.join("removed"), "content").expect("a new file");
    fs::rename(folder.join("old"), folder.join("new")).expect("a rename");
    fs::create_dir(folder.join("made")).expect("a new folder");
    fs::remove_file(folder.join("removed")).expect("a removal");
    File::open(&folder).expect("the folder").sync_all().expect("fsync of a folder");
    world.crash();
    let names: Vec<_> =
        fs::read_dir(&folder).expect("the folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(names, ["made", "new"]);
    assert_eq!(fs::read(folder.join("new")).expect("the renamed file"), b"content");
}

fn a_stop_commits(world: &mut World) {
    let folder = world.folder();
    for i in 0..100 {
        fs::write(folder.join(format!("file-{i}")), format!("content {i}")).expect("a new file");
    }
    world.restart();
    for i in 0..100 {
        assert_eq!(
            fs::read_to_string(folder.join(format!("file-{i}"))).expect("a file"),
            format!("content {i}")
        );
    }
    fs::write(folder.join("last"), "word").expect("a new file");
    shell::run(Command::new("fusermount3").arg("-u").arg(world.root()));
    world.stop();
    world.start(&[]);
    assert_eq!(fs::read(folder.join("last")).expect("the last file"), b"word");
}

fn never_half_and_half(world: &mut World) {
    let folder = world.folder();
    let path = folder.join("file");
    let content = |round: u8| vec![round; 200_000 + usize::from(round) * 10_000];
    fs::write(&path, content(0)).expect("a new file");
    File::open(&path).expect("the file").sync_all().expect("fsync");
    for round in 1..4 {
        // As programs replace files: a new one, renamed over the old one.
        let new = folder.join("new");
        fs::write(&new, content(round)).expect("a new file");
        fs::rename(&new, &path).expect("a rename");
        world.crash();
        let found = fs::read(&path).expect("the file");
        let whole = (0..=round).any(|round| found == content(round));
        assert!(whole, "round {round}: {} bytes that nobody wrote in one piece", found.len());
    }
}

fn a_dead_mount_is_replaced(world: &mut World) {
    let path = world.folder().join("file");
    let mut file = File::create(&path).expect("a new file");
    file.write_all(b"kept").expect("a write");
    file.sync_all().expect("fsync");
    drop(file);
    let dead = world.kill_service();
    assert!(fs::read(&path).is_err(), "a dead mount answers");
    world.start(&["--force"]);
    std::mem::forget(dead);
    assert_eq!(fs::read(&path).expect("the file"), b"kept");

    let dead = world.kill_service();
    let root = world.root();
    world.hyperdrive(&["force-unmount", crate::world::text(&root)]);
    assert!(!is_mounted(&root), "still mounted");
    world.start(&[]);
    std::mem::forget(dead);
    assert_eq!(fs::read(&path).expect("the file"), b"kept");
}

/// (That reads fail, and what is owed is waited for: `server_away`.)
fn a_stop_without_a_server(world: &mut World) {
    let folder = world.folder();
    fs::write(folder.join("file"), "kept").expect("a write");
    File::open(folder.join("file")).and_then(|file| file.sync_all()).expect("fsync");
    let began = Instant::now();
    world.lose_server();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(fs::read(folder.join("file")).expect("the file"), b"kept");
}

fn seen_at_once(world: &mut World) {
    let folder = world.folder();
    let path = folder.join("file");
    let mut writer = File::create(&path).expect("a new file");
    let mut reader = File::open(&path).expect("the same file");
    for i in 0..50 {
        let line = format!("line {i}\n");
        writer.write_all(line.as_bytes()).expect("a write");
        let mut seen = String::new();
        reader.read_to_string(&mut seen).expect("a read");
        assert_eq!(seen, line);
        let moved = folder.join(format!("file-{i}"));
        fs::rename(&path, &moved).expect("a rename");
        assert!(moved.exists() && !path.exists());
        assert_eq!(shell::run(Command::new("tail").args(["-n", "1"]).arg(&moved)), line);
        fs::rename(&moved, &path).expect("a rename");
    }
    reader.seek(SeekFrom::Start(0)).expect("a seek");
}

fn seen_by_another_mount(world: &mut World) {
    let folder = world.folder();
    let path = folder.join("file");
    fs::write(&path, "first").expect("a new file");
    File::open(&path).expect("the file").sync_all().expect("fsync");

    let other = world.scratch.join("other");
    fs::create_dir(&other).expect("another mountpoint");
    let second = Mount::start_with(&world.scratch, &other, &["--key", world.mount().key()]);
    let there = second.join("").join(path.strip_prefix(world.root()).expect("a path in the mount"));
    assert_eq!(fs::read(&there).expect("the file, there"), b"first");
    fs::write(&there, "second, and longer").expect("a write there");
    fs::write(there.with_file_name("new"), "x").expect("a new file there");
    soon("the other mount's content", || fs::read(&path).is_ok_and(|found| found == b"second, and longer"));
    soon("the other mount's file", || folder.join("new").exists());
    fs::write(&path, "third").expect("a write here");
    soon("our content", || fs::read(&there).is_ok_and(|found| found == b"third"));
    fs::remove_file(folder.join("new")).expect("a removal here");
    soon("our removal", || !there.with_file_name("new").exists());
    assert!(second.stop().success());
    // The configuration remembers where the drive was mounted last: here again.
    world.restart();
}

fn versions_grow(world: &mut World) {
    let folder = world.folder();
    let version = || xattr(&folder, "user.hyperdrive.version").parse::<u64>().expect("a number");
    let mut last = version();
    for i in 0..5 {
        let file = File::create(folder.join(format!("file-{i}"))).expect("a new file");
        file.sync_all().expect("fsync");
        let now = version();
        assert!(now > last, "version {now} after version {last}");
        last = now;
    }
}

fn the_past_can_be_read(world: &mut World) {
    let (drive, key) = world.drive();
    let file = drive.join("file");
    fs::write(&file, "the first words").expect("a new file");
    OpenOptions::new().write(true).open(&file).expect("the file").sync_all().expect("fsync");
    let version = xattr(&drive, "user.hyperdrive.version");
    fs::write(&file, "other words").expect("a write");
    fs::write(drive.join("later"), "x").expect("a new file");
    fs::remove_file(&file).expect("a removal");
    File::open(&drive).expect("the folder").sync_all().expect("fsync of a folder");
    let past = world.root().join("Network").join(format!("{key}+{version}"));
    assert_eq!(fs::read(past.join("file")).expect("the file as it was"), b"the first words");
    assert!(!past.join("later").exists());
}
