//! `hyperdrive beam`: both ends ours, and one of them npm hyperbeam's.

use hyperspace_e2e::dht::Dht;
use hyperspace_e2e::machine::within;
use hyperspace_e2e::process::PATIENCE;
use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::{binaries, node, shell};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The commands of both, in one network.
struct Beams(Dht);

impl Beams {
    fn new() -> Self {
        Self(Dht::new())
    }

    fn scratch(&self) -> &Scratch {
        self.0.scratch()
    }

    fn ours(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.scratch().command(binaries::hyperdrive());
        command.args(["beam", "--bootstrap", self.0.bootstrap()]).args(arguments);
        command
    }

    fn theirs(&self, arguments: &[&str]) -> Command {
        node::command(self.0.scratch(), &[&["net/beam-peer.js", self.0.bootstrap()], arguments].concat())
    }
}

/// An end that runs, killed if the test ends before it.
struct End(Child);

impl End {
    /// Sends what is in `from`, and writes what comes `to` a file.
    fn start(command: &mut Command, from: &Path, to: &Path) -> Self {
        let (from, to) = (File::open(from).expect("the input"), File::create(to).expect("the output"));
        Self(command.stdin(from).stdout(to).stderr(Stdio::piped()).spawn().expect("it starts"))
    }

    /// The phrase that it shows: the last word of the line with `mark`.
    fn phrase(&mut self, mark: &str) -> String {
        let mut lines = BufReader::new(self.0.stderr.as_mut().expect("stderr is a pipe")).lines();
        let line = lines.by_ref().map(|line| line.expect("a line")).find(|line| line.contains(mark));
        line.expect("it shows a phrase").rsplit(' ').next().expect("a phrase").to_owned()
    }

    fn succeeds(mut self) {
        let mut complaint = String::new();
        let status = self.0.wait().expect("it ends");
        self.0.stderr.take().expect("stderr is a pipe").read_to_string(&mut complaint).expect("it is text");
        assert!(status.success(), "{status}: {complaint}");
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // That it has ended is the usual case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two ends, of which the second is told the first one's phrase, each with megabytes to send.
fn exchange(beams: &Beams, first: &mut Command, mark: &str, second: impl Fn(&str) -> Command) {
    let path = |name: &str| beams.scratch().join(name);
    for (name, seed) in [("one", 1), ("two", 2)] {
        fs::write(path(name), Random::new(seed).bytes(3 << 20)).expect("a file");
    }
    let mut waiting = End::start(first, &path("one"), &path("from-two"));
    let phrase = waiting.phrase(mark);
    let dialling = End::start(&mut second(&phrase), &path("two"), &path("from-one"));
    dialling.succeeds();
    waiting.succeeds();
    for (sent, got) in [("one", "from-one"), ("two", "from-two")] {
        assert!(fs::read(path(sent)).expect("a file") == fs::read(path(got)).expect("a file"), "{got}");
    }
}

#[test]
fn between_two_of_ours() {
    let beams = Beams::new();
    exchange(&beams, &mut beams.ours(&[]), "hyperdrive beam", |phrase| beams.ours(&[phrase]));
}

#[test]
fn npm_dials_ours() {
    let beams = Beams::new();
    exchange(&beams, &mut beams.ours(&[]), "hyperdrive beam", |phrase| beams.theirs(&[phrase]));
}

#[test]
fn ours_dials_npm() {
    let beams = Beams::new();
    exchange(&beams, &mut beams.theirs(&[]), "phrase", |phrase| beams.ours(&[phrase]));
}

#[test]
fn a_phrase_of_ones_own() {
    let beams = Beams::new();
    let phrase = "the owl flies at noon";
    let empty = beams.scratch().join("empty");
    fs::write(&empty, "").expect("a file");
    let out = beams.scratch().join("out");
    let mut waiting = End::start(&mut beams.ours(&[phrase, "--wait"]), &empty, &out);
    waiting.phrase("hyperdrive beam");
    // Who has another one does not get there.
    let stranger = shell::attempt(&mut beams.ours(&["the owl flies at night"]));
    assert_eq!(stranger.status.code(), Some(1));
    let said = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(said.contains("the other side is not reached"), "{said}");
    let hello = beams.scratch().join("hello");
    fs::write(&hello, "hello").expect("a file");
    let dialling = End::start(&mut beams.ours(&[phrase]), &hello, &beams.scratch().join("nothing"));
    dialling.succeeds();
    waiting.succeeds();
    assert_eq!(fs::read_to_string(out).expect("a file"), "hello");
}

#[test]
fn what_cannot_be_is_said() {
    let beams = Beams::new();
    let short = shell::attempt(&mut beams.ours(&["short"]));
    assert_eq!(short.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&short.stderr).contains("at least 16 characters"));
    let mut offline = beams.scratch().command(binaries::hyperdrive());
    let offline = shell::attempt(offline.arg("beam"));
    assert_eq!(offline.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&offline.stderr).contains("a beam goes through the swarm"));
}

/// Waits until a file has that content.
fn has(path: &Path, content: &[u8]) {
    within(PATIENCE, "what was sent", || fs::read(path).is_ok_and(|got| got == content));
}

#[test]
fn who_has_sent_everything_waits_until_it_has_arrived() {
    let beams = Beams::new();
    let path = |name: &str| beams.scratch().join(name);
    fs::write(path("empty"), "").expect("a file");
    let mut waiting = End::start(&mut beams.ours(&[]), &path("empty"), &path("out"));
    let phrase = waiting.phrase("hyperdrive beam");
    let mut dialling = beams.ours(&[&phrase]);
    dialling.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut dialling = End(dialling.spawn().expect("it starts"));
    let mut input = dialling.0.stdin.take().expect("stdin is a pipe");
    let sent = Random::new(3).bytes(100_000);
    input.write_all(&sent[..5]).expect("it is read");
    has(&path("out"), &sent[..5]);
    // It hears nothing for a while.
    let other = Pid::from_raw(waiting.0.id().cast_signed());
    kill(other, Signal::SIGSTOP).expect("it runs");
    input.write_all(&sent[5..]).expect("it is read");
    drop(input);
    sleep(Duration::from_secs(1));
    assert!(dialling.0.try_wait().expect("a child").is_none(), "it has ended before anything has arrived");
    kill(other, Signal::SIGCONT).expect("it is there");
    dialling.succeeds();
    waiting.succeeds();
    has(&path("out"), &sent);
}
