//! A drive whose writer is away, or silent.

use crate::world::{BOUND, GIANT, TIMEOUT, alone, full_drive, missing, same, timed_out, write};
use hyperspace_e2e::machine::{Machine, soon, text};
use hyperspace_e2e::relay::Relay;
use hyperspace_e2e::shell;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn what_was_read_stays_readable_and_what_was_not_is_never_missing() {
    let mut a = alone();
    let key = a.create("drive");
    for folder in ["read", "unread"] {
        fs::create_dir(a.at("drive").join(folder)).expect("a new folder");
        for file in 0..40 {
            fs::write(a.at("drive").join(folder).join(file.to_string()), folder).expect("a new file");
        }
    }
    write(&a.at("drive/last"), "last");
    let mut b = Machine::start(&[a.address()], TIMEOUT);
    let theirs = b.mount_drive("theirs", &key);
    let look = |what: &str| {
        let names = fs::read_dir(theirs.join("read")).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(names.count(), 40, "{what}");
        for file in 0..40 {
            let found = fs::read(theirs.join("read").join(file.to_string()));
            assert_eq!(found.unwrap_or_else(|error| panic!("{what}: {error}")), b"read", "{what}");
        }
        missing(fs::metadata(theirs.join("read/nothing")));
    };
    look("with the writer");
    a.kill();
    look("without the writer");
    for round in ["without the writer", "after a restart"] {
        let began = Instant::now();
        timed_out(fs::read(theirs.join("last")));
        let unread = fs::read_dir(theirs.join("unread"))
            .and_then(|mut names| names.try_for_each(|name| name.map(drop)));
        timed_out(unread.and_then(|()| fs::read(theirs.join("unread/7")).map(drop)));
        assert!(began.elapsed() < BOUND, "{round}: {:?}", began.elapsed());
        // Nothing of what is in memory helps any more.
        b.stop();
        b.restart();
        look("after a restart");
    }
    // It comes back.
    a.restart();
    soon("what was not to be had", || {
        fs::read(theirs.join("unread/7")).is_ok_and(|found| found == b"unread")
    });
    soon("the other file", || fs::read(theirs.join("last")).is_ok_and(|found| found == b"last"));
}

#[test]
fn a_silent_peer_is_waited_for_and_holds_up_nobody() {
    let a = alone();
    let key = a.create("drive");
    write(&a.at("drive/read"), "read");
    write(&a.at("drive/unread"), "unread");
    let line = Relay::new(a.address());
    let b = Machine::start(&[line.address()], TIMEOUT);
    let theirs = b.mount_drive("theirs", &key);
    // The peer has to be called first, and to say what it has.
    soon("a file", || fs::read(theirs.join("read")).is_ok_and(|found| found == b"read"));
    soon("another file", || fs::metadata(theirs.join("unread")).is_ok());
    line.allow(0);
    let began = Instant::now();
    thread::scope(|threads| {
        let waiting = threads.spawn(|| fs::read(theirs.join("unread")));
        let mut others = 0;
        while !waiting.is_finished() {
            let start = Instant::now();
            assert_eq!(fs::read(theirs.join("read")).expect("what is here"), b"read");
            missing(fs::metadata(theirs.join("missing")));
            fs::write(b.at("ours"), others.to_string()).expect("a file of ours");
            assert!(start.elapsed() < TIMEOUT, "blocked for {:?}", start.elapsed());
            others += 1;
        }
        timed_out(waiting.join().expect("the waiting thread"));
        assert!(others > 1, "nothing else went on");
    });
    let took = began.elapsed();
    assert!(took >= TIMEOUT / 2 && took < BOUND, "{took:?}");
    line.mend();
    soon("the file", || fs::read(theirs.join("unread")).is_ok_and(|found| found == b"unread"));
}

#[test]
fn a_line_that_breaks_is_waited_for() {
    let a = alone();
    let key = a.create("drive");
    write(&a.at("drive/read"), "read");
    write(&a.at("drive/unread"), "unread");
    let line = Relay::new(a.address());
    let b = Machine::start(&[line.address()], BOUND);
    let theirs = b.mount_drive("theirs", &key);
    soon("a file", || fs::read(theirs.join("read")).is_ok_and(|found| found == b"read"));
    // A connection that broke at once would be another matter.
    let connected = Instant::now();
    soon("a good connection", || connected.elapsed() > Duration::from_millis(1200));
    line.cut();
    let peers = || b.json(&["info", text(&theirs)])["peers"].clone();
    soon("the end of the connection", || peers() == 0);
    thread::scope(|threads| {
        let waiting = threads.spawn(|| fs::read(theirs.join("unread")));
        // Called again and again meanwhile, in vain.
        let cut = Instant::now();
        soon("some calls", || cut.elapsed() > Duration::from_secs(1));
        assert!(!waiting.is_finished(), "given up: {:?}", waiting.join());
        line.mend();
        let found = waiting.join().expect("the waiting thread").expect("the file");
        assert_eq!(found, b"unread");
    });
}

#[test]
fn a_writer_is_killed_amid_copying_and_comes_back() {
    let mut a = alone();
    let (source, key) = full_drive(&a);
    let line = Relay::new(a.address());
    let b = Machine::start(&[line.address()], TIMEOUT);
    let theirs = b.mount_drive("theirs", &key);
    let copy = b.scratch().join("copy");
    // A quarter of it comes through.
    line.allow(GIANT as u64 / 4);
    let mut cp = Command::new("cp");
    cp.args(["-R", text(&theirs), text(&copy)]);
    let copied = thread::scope(|threads| {
        let copying = threads.spawn(|| shell::attempt(&mut cp));
        line.wait_until_held();
        a.kill();
        line.cut();
        copying.join().expect("the thread that copies")
    });
    let said = String::from_utf8_lossy(&copied.stderr);
    assert!(!copied.status.success() && said.contains("Connection timed out"), "{said}");
    assert!(!said.contains("No such file"), "{said}");
    // What was copied is right, as far as it was.
    for file in fs::read_dir(&copy).expect("the copy") {
        let name = file.expect("an entry").file_name();
        let (ours, original) = (copy.join(&name), source.join(&name));
        if ours.is_file() {
            let (ours, original) = (fs::read(ours).expect("it"), fs::read(original).expect("the original"));
            assert!(original.starts_with(&ours), "{name:?} has other bytes");
        }
    }
    a.restart();
    line.mend();
    soon("a whole copy", || {
        let again =
            shell::attempt(Command::new("cp").args(["-RT", text(&theirs)]).arg(copy.join("../again")));
        again.status.success()
    });
    same(&source, &theirs);
    same(&source, &copy.join("../again"));
}

#[test]
fn a_third_gets_it_from_the_second() {
    let mut a = alone();
    let (source, key) = full_drive(&a);
    let b = Machine::start(&[a.address()], Duration::from_secs(15));
    let theirs = b.mount_drive("theirs", &key);
    same(&source, &theirs);
    a.kill();
    let c = Machine::start(&[b.address()], TIMEOUT);
    same(&source, &c.mount_drive("theirs", &key));
}
