//! A drive whose writer is there.

use crate::world::{TIMEOUT, alone, full_drive, same, write};
use hyperspace_e2e::machine::{Machine, soon, text};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_tree_and_a_giant_are_what_they_are_at_home() {
    let a = alone();
    let (source, key) = full_drive(&a);
    let b = Machine::start(&[a.address()], TIMEOUT);
    let theirs = b.mount_drive("theirs", &key);
    same(&source, &theirs);
    // The same drive by its key alone, by who has read nothing of it yet.
    let c = Machine::start(&[a.address()], TIMEOUT);
    same(&source, &c.at("Network").join(&key));
    // And as it is told of.
    let info = b.json(&["info", text(&theirs)]);
    assert_eq!((&info["peers"], &info["writable"]), (&1.into(), &false.into()), "{info}");
    let received = info["receivedBytes"].as_u64().expect("bytes");
    assert!(received >= info["diskBytes"].as_u64().expect("bytes") && received > 64 << 20, "{info}");
    let stats = b.json(&["stats", text(&theirs)]);
    let content = &stats["network"]["/"]["content"];
    assert_eq!(content["downloadedBlocks"], content["length"], "{stats}");
    assert_eq!(content["peers"][0]["remoteAddress"], a.address().to_string(), "{stats}");
    let said = b.hyperdrive(&["info", text(&theirs)]);
    // The whole content, and of the index what leads to it.
    assert!(said.contains("  Peers:         1\n") && said.contains("  Here:          68."), "{said}");
    let given = a.json(&["info", text(&a.at("drive"))]);
    assert!(given["uploadedBytes"].as_u64() > Some(128 << 20), "both of them: {given}");
}

#[test]
fn what_the_writer_changes_is_seen_at_once() {
    let a = alone();
    let key = a.create("drive");
    write(&a.at("drive/file"), "0");
    fs::create_dir(a.at("drive/folder")).expect("a new folder");
    let b = Machine::start(&[a.address()], TIMEOUT);
    let theirs = b.mount_drive("theirs", &key);
    let by_key = b.at("Network").join(&key);
    let mut times = Vec::new();
    for round in 1..=20 {
        let content = round.to_string();
        write(&a.at("drive/file"), &content);
        let written = Instant::now();
        for place in [&theirs, &by_key] {
            soon("the new content", || {
                fs::read_to_string(place.join("file")).is_ok_and(|found| found == content)
            });
        }
        times.push(written.elapsed());
    }
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < Duration::from_secs(2), "{times:?}");
    // What came, what went, what was moved.
    assert_eq!(fs::read_dir(theirs.join("folder")).expect("the folder").count(), 0);
    write(&a.at("drive/folder/new"), "new");
    soon("a new name", || fs::read_dir(theirs.join("folder")).is_ok_and(|names| names.count() == 1));
    assert_eq!(fs::read(theirs.join("folder/new")).expect("the new file"), b"new");
    fs::rename(a.at("drive/folder/new"), a.at("drive/moved")).expect("a rename");
    soon("the name it was moved to", || fs::read(theirs.join("moved")).is_ok_and(|found| found == b"new"));
    soon("the end of the old name", || !theirs.join("folder/new").exists());
    fs::remove_file(a.at("drive/moved")).expect("a removal");
    soon("the end of the file", || !theirs.join("moved").exists());
}
