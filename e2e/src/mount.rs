//! A running `hyperdrive start`.

use crate::binaries;
use crate::process::Process;
use crate::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// A mounted root drive; dropped, the service is killed and the mount detached.
#[derive(Debug)]
pub struct Mount {
    process: Process,
    mnt: PathBuf,
    key: String,
}

impl Mount {
    /// Mounts the root drive of `scratch` at its `mnt`; returns when it is mounted.
    /// Uses the server that listens at the socket of `scratch`, or an embedded one.
    pub fn start(scratch: &Scratch) -> Self {
        Self::start_with(scratch, &scratch.mnt(), &[])
    }

    /// The same at another place, with more arguments.
    pub fn start_with(scratch: &Scratch, mnt: &Path, arguments: &[&str]) -> Self {
        let mut command = scratch.command(binaries::hyperdrive());
        command.args(["--json", "start", "--mnt"]).arg(mnt).arg("--storage").arg(scratch.storage());
        let process = Process::start(command.args(arguments));
        let line = process.wait_for_line("rootDriveKey");
        let facts: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        let key = facts["rootDriveKey"].as_str().expect("the root drive's key").to_owned();
        Self { process, mnt: mnt.to_owned(), key }
    }

    /// The mounted folder.
    pub fn path(&self) -> &Path {
        &self.mnt
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.mnt.join(name)
    }

    /// The root drive's key, in hex.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGTERM: everything is committed and the folder unmounted.
    pub fn stop(mut self) -> ExitStatus {
        self.process.stop()
    }

    /// SIGKILL. The dead mount stays, as it would for a user, until this is dropped.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.process.kill();
        detach(&self.mnt);
    }
}

/// Unmounts `mnt` if anything is mounted there, however dead.
pub fn detach(mnt: &Path) {
    // That nothing is mounted is the usual case, and no failure.
    let _ = Command::new("fusermount3").arg("-uzq").arg(mnt).stderr(Stdio::null()).status();
}

/// Is anything mounted at `mnt`?
///
/// # Panics
/// If the system does not say what is mounted.
pub fn is_mounted(mnt: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts of this process");
    mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == mnt))
}
