//! What the checks run in: a server, and a mount that can be killed and started.

use hyperspace_e2e::binaries;
use hyperspace_e2e::mount::Mount;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::shell;
use nix::errno::Errno;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A server and a mount of its root drive.
pub struct World {
    // In this order, so that the mount goes before its server.
    mount: Option<Mount>,
    server: Option<Server>,
    pub scratch: Scratch,
    folders: u32,
}

impl World {
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let server = Some(Server::start(&scratch));
        let mount = Some(Mount::start(&scratch));
        Self { mount, server, scratch, folders: 0 }
    }

    pub fn mount(&self) -> &Mount {
        self.mount.as_ref().expect("the drive is mounted")
    }

    /// The mount's root.
    pub fn root(&self) -> PathBuf {
        self.scratch.mnt()
    }

    /// A new folder in the mount.
    pub fn folder(&mut self) -> PathBuf {
        self.folders += 1;
        let folder = self.root().join(format!("folder-{}", self.folders));
        fs::create_dir(&folder).expect("a new folder");
        folder
    }

    /// Stops the service and starts it again, as a user would.
    pub fn restart(&mut self) {
        if let Some(mount) = self.mount.take() {
            assert!(mount.stop().success(), "the service did not stop well");
        }
        self.mount = Some(Mount::start(&self.scratch));
    }

    /// kill -9 of the service and of the server; then both are started again.
    pub fn crash(&mut self) {
        let mut dead = self.mount.take().expect("the drive is mounted");
        dead.kill();
        if let Some(server) = self.server.take() {
            server.kill();
        }
        self.server = Some(Server::start(&self.scratch));
        self.mount = Some(Mount::start_with(&self.scratch, &self.scratch.mnt(), &["--force"]));
        // Its guard would detach the new mount.
        std::mem::forget(dead);
    }

    /// kill -9 of the server alone, and a stop of the service; then both are started again.
    pub fn lose_server(&mut self) {
        self.server.take().expect("the server runs").kill();
        self.stop();
        self.server = Some(Server::start(&self.scratch));
        self.mount = Some(Mount::start(&self.scratch));
    }

    /// kill -9 of the service alone; the dead mount stays.
    pub fn kill_service(&mut self) -> Mount {
        let mut dead = self.mount.take().expect("the drive is mounted");
        dead.kill();
        dead
    }

    /// Starts the service with `arguments`.
    pub fn start(&mut self, arguments: &[&str]) {
        self.mount = Some(Mount::start_with(&self.scratch, &self.scratch.mnt(), arguments));
    }

    /// Stops the service.
    pub fn stop(&mut self) {
        if let Some(mount) = self.mount.take() {
            assert!(mount.stop().success(), "the service did not stop well");
        }
    }

    /// `hyperdrive`, with these arguments; what it prints.
    pub fn hyperdrive(&self, arguments: &[&str]) -> String {
        let mut command = self.scratch.command(binaries::hyperdrive());
        shell::run(command.args(arguments).current_dir("/"))
    }

    /// A new drive, mounted at a new path; the path, and the drive's key.
    pub fn drive(&mut self) -> (PathBuf, String) {
        let at = self.folder().join("drive");
        self.hyperdrive(&["create", "--no-seed", text(&at)]);
        soon("the new drive", || at.is_dir());
        let key = xattr(&at, "user.hyperdrive.key");
        assert_eq!(key.len(), 64, "{key:?} is no key");
        (at, key)
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Waits until `look` is true: for changes that come by an event, soon but not at once.
pub fn soon(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !look() {
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An extended attribute.
pub fn xattr(path: &Path, name: &str) -> String {
    shell::run(
        Command::new("getfattr").args(["--absolute-names", "--only-values", "-h", "-n", name]).arg(path),
    )
}

/// Fails unless `result` is this error.
#[track_caller]
pub fn refused<T>(result: io::Result<T>, errno: Errno) {
    match result {
        Ok(_) => panic!("{errno} was expected, but it worked"),
        Err(e) => assert_eq!(e.raw_os_error().map(Errno::from_raw), Some(errno), "{e}"),
    }
}

/// The same for what `nix` gives back.
#[track_caller]
pub fn denied<T>(result: nix::Result<T>, errno: Errno) {
    match result {
        Ok(_) => panic!("{errno} was expected, but it worked"),
        Err(e) => assert_eq!(e, errno),
    }
}
