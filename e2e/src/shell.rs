//! Programs run to their end.

use crate::scratch::Scratch;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `command` and gives back what it wrote to stdout.
///
/// # Panics
/// If it fails; with all that it said.
pub fn run(command: &mut Command) -> String {
    let output = attempt(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `command`, whatever comes of it.
///
/// # Panics
/// If it cannot be started.
pub fn attempt(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Runs `script` by `sh` in the folder `dir`, at home in `scratch`; it ends at the first
/// command that fails.
///
/// # Panics
/// If it fails.
pub fn sh(scratch: &Scratch, dir: &Path, script: &str) -> String {
    run(scratch.command("sh").args(["-euc", script]).current_dir(dir))
}
