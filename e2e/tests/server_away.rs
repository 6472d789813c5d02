//! The service ends though its server has gone: soon, and with everything that it had saved.

use hyperspace_e2e::mount::{Mount, is_mounted};
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Ends within about a second; a loaded machine takes longer.
const SOON: Duration = Duration::from_secs(5);
/// What is owed is waited for so long, by the service.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server and a mount, which wait long for what nobody sends.
struct World {
    mount: Mount,
    server: Option<Server>,
    scratch: Scratch,
    /// Whom the server calls: takes the call, and says nothing.
    _silent: TcpListener,
}

impl World {
    fn new() -> Self {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = silent.local_addr().expect("its address").to_string();
        let scratch = Scratch::new();
        let server = Server::start_with(&scratch, &["--peer", &address]);
        let mount = Mount::start_with(&scratch, &scratch.mnt(), &["--timeout", "60"]);
        Self { mount, server: Some(server), scratch, _silent: silent }
    }

    fn kill_server(&mut self) {
        self.server.take().expect("it runs").kill();
    }

    /// Somebody who waits for a drive that nobody has; what comes of it.
    fn reader(&self) -> Receiver<io::Result<()>> {
        let (tell, told) = channel();
        let drive = self.mount.join(&format!("Network/{}", "5e".repeat(32)));
        thread::spawn(move || tell.send(fs::read_dir(drive).map(drop)));
        // The file is asked for once its folder is there: the kernel has sent the other.
        let waits = told.recv_timeout(Duration::from_millis(300));
        assert!(waits.is_err(), "it does not wait: {waits:?}");
        told
    }

    /// Stops the service: how it ended, and how long it took.
    fn stop(mount: Mount) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let status = mount.stop();
        (status, began.elapsed())
    }
}

fn failed_for_good(told: &Receiver<io::Result<()>>) {
    let result = told.recv_timeout(SOON).expect("an answer");
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
}

fn write_and_sync(path: &Path, text: &str) {
    fs::write(path, text).and_then(|()| File::open(path)?.sync_all()).expect("a write");
}

/// What is in a mount at another start.
fn found(scratch: &Scratch, name: &str) -> io::Result<String> {
    let mount = Mount::start(scratch);
    let found = fs::read_to_string(mount.join(name));
    assert!(mount.stop().success());
    found
}

#[test]
fn stopped_while_reads_wait() {
    let mut world = World::new();
    write_and_sync(&world.mount.join("synced"), "here");
    let reader = world.reader();
    world.kill_server();
    let World { mount, scratch, .. } = world;
    let (status, took) = World::stop(mount);
    assert!(status.success(), "{status}");
    assert!(took < SOON, "{took:?}");
    failed_for_good(&reader);
    assert!(!is_mounted(&scratch.mnt()));
    assert_eq!(found(&scratch, "synced").expect("it was saved"), "here");
}

#[test]
fn stopped_while_reads_wait_for_peers() {
    let world = World::new();
    let reader = world.reader();
    let World { mount, server, .. } = world;
    let (status, took) = World::stop(mount);
    assert!(status.success(), "{status}");
    assert!(took < SOON, "{took:?}");
    failed_for_good(&reader);
    assert!(server.expect("it runs").stop().success());
}

#[test]
fn unmounted_by_somebody_while_reads_wait() {
    let mut world = World::new();
    let reader = world.reader();
    world.kill_server();
    let began = Instant::now();
    let at = world.scratch.mnt();
    // What is in use can be unmounted so only.
    let unmounted = Command::new("fusermount3").arg("-uz").arg(&at).status().expect("fusermount3 runs");
    assert!(unmounted.success());
    // The reader goes when the server was waited for long enough, and the mount with him.
    let _ = reader.recv();
    let status = world.mount.process().wait();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < PATIENCE + SOON, "{:?}", began.elapsed());
}

#[test]
fn what_the_server_has_not_got_is_kept_for_its_return() {
    let mut world = World::new();
    world.kill_server();
    // Written and closed: the program has no more to do with it.
    fs::write(world.mount.join("owed"), "to be saved").expect("a write");
    let World { mut mount, scratch, .. } = world;
    mount.process().signal(nix::sys::signal::Signal::SIGTERM);
    mount.process().wait_for_line("the server is away");
    let server = Server::start(&scratch);
    let status = mount.process().wait();
    assert!(status.success(), "{status}");
    assert!(server.stop().success());
    assert_eq!(found(&scratch, "owed").expect("it was saved"), "to be saved");
}

#[test]
fn what_cannot_be_saved_is_told() {
    let mut world = World::new();
    world.kill_server();
    fs::write(world.mount.join("owed"), "to be saved").expect("a write");
    let World { mut mount, scratch, .. } = world;
    let began = Instant::now();
    let status = mount.process().stop();
    assert_eq!(status.code(), Some(1));
    assert!(began.elapsed() < PATIENCE + SOON, "{:?}", began.elapsed());
    assert!(mount.process().said().contains("Not everything could be saved"), "{}", mount.process().said());
    assert!(!is_mounted(&scratch.mnt()));
}
