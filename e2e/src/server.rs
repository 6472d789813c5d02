//! A running `hyperspace`.

use crate::binaries;
use crate::process::{Process, Usage};
use crate::scratch::Scratch;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A running server, killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    socket: PathBuf,
}

impl Server {
    /// Starts one at the socket and in the storage of `scratch`; returns when it listens.
    pub fn start(scratch: &Scratch) -> Self {
        Self::start_with(scratch, &[])
    }

    /// The same, with more arguments.
    pub fn start_with(scratch: &Scratch, arguments: &[&str]) -> Self {
        let mut command = scratch.command(binaries::hyperspace());
        command.arg("--storage").arg(scratch.storage()).args(arguments);
        let process = Process::start(&mut command);
        process.wait_for_line("Listening on");
        Self { process, socket: scratch.socket() }
    }

    /// Where it listens.
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it uses.
    pub fn usage(&self) -> Usage {
        self.process.usage()
    }

    /// Does it still run?
    pub fn alive(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// SIGTERM, and what came of it.
    pub fn stop(mut self) -> ExitStatus {
        self.process.stop()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill();
    }
}
