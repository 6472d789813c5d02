//! Local copies: kept with `download`, given back with `download --clear`.

use crate::world::{GIANT, TIMEOUT, alone, disk_usage, full_drive, same, timed_out};
use hyperspace_e2e::machine::{Machine, soon, text};
use hyperspace_e2e::relay::Relay;
use std::fs;

#[test]
fn a_drive_is_brought_here_and_given_back() {
    let mut a = alone();
    let (source, key) = full_drive(&a);
    let b = Machine::start(&[a.address()], TIMEOUT);
    let theirs = b.mount_drive("theirs", &key);
    let before = disk_usage(&b.scratch().storage());
    assert!(before < GIANT as u64 / 2, "{before} bytes before anything was read");
    let done = b.json(&["download", text(&theirs)]);
    assert_eq!(done["event"], "end");
    assert!(done["files"].as_u64() >= Some(501), "{done}");
    let during = disk_usage(&b.scratch().storage());
    assert!(during > GIANT as u64, "{during} bytes with all of it");
    a.kill();
    same(&source, &theirs);
    // By its key nothing was read yet, so the kernel has none of it.
    let by_key = b.at("Network").join(&key);
    let said = b.hyperdrive(&["download", "--clear", text(&theirs)]);
    assert!(said.contains("is no longer here"), "{said}");
    soon("the disk space", || disk_usage(&b.scratch().storage()) < during - GIANT as u64);
    timed_out(fs::read(by_key.join("giant")));
    let failed = b.attempt(&["--json", "download", text(&theirs)]);
    assert_eq!(failed.status.code(), Some(1));
    let error = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(error.contains("\"ETIMEDOUT\""), "{error}");
    // It can be had again.
    a.restart();
    soon("another download", || b.attempt(&["download", text(&theirs.join("giant"))]).status.success());
    assert!(
        fs::read(by_key.join("giant")).expect("it is here")
            == fs::read(source.join("giant")).expect("the original")
    );
    // Of our own drives the only copy may be here.
    let ours = a.attempt(&["--json", "download", "--clear", text(&a.at("drive"))]);
    assert!(String::from_utf8_lossy(&ours.stderr).contains("\"EPERM\""));
}

#[test]
fn a_download_tells_how_far_it_is() {
    let a = alone();
    let (_, key) = full_drive(&a);
    let line = Relay::new(a.address());
    let b = Machine::start(&[line.address()], TIMEOUT);
    let theirs = b.mount_drive("theirs", &key);
    line.allow(GIANT as u64 / 2);
    // It stops on the way, and says so.
    let stopped = b.attempt(&["--json", "download", text(&theirs)]);
    assert!(!stopped.status.success());
    let said = String::from_utf8_lossy(&stopped.stdout).into_owned();
    let last: serde_json::Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    let (held, all) = (last["heldBytes"].as_u64().expect("bytes"), last["bytes"].as_u64().expect("bytes"));
    assert!(held > all / 10 && held < all * 6 / 10, "{last}");
    line.mend();
    // What is here already is not fetched again.
    let goes_on = b.hyperdrive(&["--json", "download", text(&theirs)]);
    let first: serde_json::Value =
        serde_json::from_str(goes_on.lines().next().expect("a line")).expect("JSON");
    assert!(first["heldBytes"].as_u64() >= Some(held), "{first}");
    assert!(goes_on.lines().last().is_some_and(|end| end.contains("\"end\"")), "{goes_on}");
}
