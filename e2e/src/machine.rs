//! One computer among several: a server that listens for peers and calls others, and a
//! root drive mounted there.

use crate::mount::{Mount, detach};
use crate::process::PATIENCE;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::{binaries, shell};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A computer. Its programs end with it.
#[derive(Debug)]
pub struct Machine {
    // In this order: the mount goes before the server, and that before the folder.
    mount: Option<Mount>,
    server: Option<Server>,
    scratch: Scratch,
    peers: Vec<String>,
    arguments: Vec<String>,
    address: SocketAddr,
    timeout: String,
}

impl Machine {
    /// A computer that calls `peers`, and where data that is not here is waited for so long.
    pub fn start(peers: &[SocketAddr], timeout: Duration) -> Self {
        Self::start_at(Scratch::new(), peers, timeout)
    }

    /// The same, with another home.
    pub fn start_at(scratch: Scratch, peers: &[SocketAddr], timeout: Duration) -> Self {
        Self::start_with(scratch, peers, &[], timeout)
    }

    /// The same, with more arguments for the server.
    pub fn start_with(scratch: Scratch, peers: &[SocketAddr], arguments: &[&str], timeout: Duration) -> Self {
        let mut machine = Self {
            mount: None,
            server: None,
            scratch,
            peers: peers.iter().map(ToString::to_string).collect(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            timeout: timeout.as_secs_f64().to_string(),
        };
        machine.restart();
        machine
    }

    /// Starts what does not run: the server, at the address of before, and the mount.
    pub fn restart(&mut self) {
        if self.server.is_none() {
            let listen = self.address.to_string();
            let mut arguments = vec!["--listen", &listen];
            arguments.extend(self.peers.iter().flat_map(|peer| ["--peer", peer]));
            arguments.extend(self.arguments.iter().map(String::as_str));
            let mut server = Server::start_with(&self.scratch, &arguments);
            let line = server.process().wait_for_line("Listening for peers on");
            let address = line.rsplit(' ').next().and_then(|address| address.parse().ok());
            self.address = address.expect("an address");
            self.server = Some(server);
        }
        if self.mount.is_none() {
            let arguments = ["--force", "--timeout", &self.timeout];
            self.mount = Some(Mount::start_with(&self.scratch, &self.scratch.mnt(), &arguments));
        }
    }

    /// SIGKILL for everything that runs there.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
        if let Some(mut mount) = self.mount.take() {
            mount.kill();
        }
        detach(&self.scratch.mnt());
    }

    /// SIGTERM for everything that runs there.
    ///
    /// # Panics
    /// If something does not stop well.
    pub fn stop(&mut self) {
        if let Some(mount) = self.mount.take() {
            assert!(mount.stop().success(), "the service did not stop well");
        }
        if let Some(server) = self.server.take() {
            assert!(server.stop().success(), "the server did not stop well");
        }
    }

    /// Puts it to sleep: nothing of it runs any more. Returns when that began. (Whoever looks
    /// into its drives waits until it wakes.)
    pub fn sleep(&mut self) -> Instant {
        self.signal(Signal::SIGSTOP);
        Instant::now()
    }

    /// Wakes it: by the clock on the wall it has slept for so long, by the other not at all.
    ///
    /// # Panics
    /// If it has no clock of its own.
    pub fn wake(&mut self, since: Instant, slept: Duration) {
        self.scratch.clock.as_ref().expect("a clock of its own").slept(since, slept);
        self.signal(Signal::SIGCONT);
    }

    fn signal(&mut self, signal: Signal) {
        let server = self.server.as_mut().map(Server::process);
        let mount = self.mount.as_mut().map(Mount::process);
        server.into_iter().chain(mount).for_each(|process| process.signal(signal));
    }

    /// Where its server takes calls.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// A path in the mounted root drive.
    pub fn at(&self, path: &str) -> PathBuf {
        self.scratch.mnt().join(path)
    }

    /// `hyperdrive`, with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(binaries::hyperdrive());
        command.current_dir("/").args(["--timeout", &self.timeout]).args(arguments);
        command
    }

    /// Runs `hyperdrive`, which succeeds; what it prints.
    pub fn hyperdrive(&self, arguments: &[&str]) -> String {
        shell::run(&mut self.command(arguments))
    }

    /// Runs `hyperdrive`, whatever comes of it.
    pub fn attempt(&self, arguments: &[&str]) -> Output {
        shell::attempt(&mut self.command(arguments))
    }

    /// What `hyperdrive` prints as JSON, in its last line.
    ///
    /// # Panics
    /// If it prints anything else.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let said = self.hyperdrive(&[&["--json"], arguments].concat());
        let line = said.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
    }

    /// Makes a drive at `name` of the root drive; its key.
    pub fn create(&self, name: &str) -> String {
        let made = self.json(&["create", text(&self.at(name))]);
        soon("the new drive", || self.at(name).is_dir());
        made["key"].as_str().expect("a key").to_owned()
    }

    /// Mounts the drive `key` at `name` of the root drive.
    pub fn mount_drive(&self, name: &str, key: &str) -> PathBuf {
        let at = self.at(name);
        self.hyperdrive(&["mount", text(&at), key]);
        soon("the new mount", || at.symlink_metadata().is_ok());
        at
    }
}

/// A path as an argument.
///
/// # Panics
/// If it is no UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Waits until `look` is true: for what another process brings about, of which no event
/// is told here.
///
/// # Panics
/// If that takes too long.
pub fn soon(what: &str, look: impl FnMut() -> bool) {
    within(PATIENCE, what, look);
}

/// The same, with another bound.
///
/// # Panics
/// If that takes too long.
pub fn within(patience: Duration, what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !look() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
