//! Drives that are written on another computer.

use crate::Check;
use crate::world::{World, refused};
use hyperspace_e2e::machine::{Machine, soon, text};
use nix::errno::Errno;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

pub const CHECKS: &[Check] =
    &[("S40", changes_are_seen), ("S41", what_is_here_stays), ("S42", kept_and_given_back)];

const TIMEOUT: Duration = Duration::from_secs(2);

/// A computer with a drive, another that calls it, and the drive's key.
fn two() -> (Machine, Machine, String) {
    let writer = Machine::start(&[], TIMEOUT);
    let key = writer.create("drive");
    write(&writer.at("drive/file"), "first");
    let reader = Machine::start(&[writer.address()], TIMEOUT);
    (writer, reader, key)
}

/// A committed file.
fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a write");
    File::open(path).expect("the file").sync_all().expect("fsync");
}

fn is(path: &Path, content: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|found| found == content)
}

fn changes_are_seen(_: &mut World) {
    let (writer, reader, key) = two();
    let places = [reader.mount_drive("theirs", &key), reader.at("Network").join(&key)];
    for place in &places {
        assert!(is(&place.join("file"), "first"));
        assert!(!place.join("new").exists());
    }
    write(&writer.at("drive/file"), "second");
    write(&writer.at("drive/new"), "new");
    for place in &places {
        soon("the new content", || is(&place.join("file"), "second"));
        soon("the new name", || is(&place.join("new"), "new"));
        assert_eq!(fs::metadata(place.join("file")).expect("the file").len(), 6);
        refused(fs::write(place.join("file"), "ours"), Errno::EROFS);
    }
}

fn what_is_here_stays(_: &mut World) {
    let (mut writer, mut reader, key) = two();
    let theirs = reader.mount_drive("theirs", &key);
    assert!(is(&theirs.join("file"), "first"));
    write(&writer.at("drive/unread"), "unread");
    soon("its name", || theirs.join("unread").exists());
    writer.kill();
    for _ in 0..2 {
        assert!(is(&theirs.join("file"), "first"));
        refused(fs::metadata(theirs.join("nothing")), Errno::ENOENT);
        refused(fs::read(theirs.join("unread")), Errno::ETIMEDOUT);
        reader.stop();
        reader.restart();
    }
    writer.restart();
    soon("what was not here", || is(&theirs.join("unread"), "unread"));
}

fn kept_and_given_back(_: &mut World) {
    let (mut writer, reader, key) = two();
    write(&writer.at("drive/other"), "other");
    let theirs = reader.mount_drive("theirs", &key);
    soon("both names", || theirs.join("other").exists());
    reader.hyperdrive(&["download", text(&theirs)]);
    writer.kill();
    assert!(is(&theirs.join("file"), "first"));
    let cleared = reader.json(&["download", "--clear", text(&theirs)]);
    assert_eq!(cleared["bytes"], 10, "{cleared}");
    // What was read may still be in some program's memory; this was not.
    refused(fs::read(theirs.join("other")), Errno::ETIMEDOUT);
    writer.restart();
    soon("the file", || is(&theirs.join("other"), "other"));
    let ours = writer.attempt(&["--json", "download", "--clear", text(&writer.at("drive"))]);
    let said = String::from_utf8_lossy(&ours.stderr);
    assert!(!ours.status.success() && said.contains("EPERM"), "{said}");
}
