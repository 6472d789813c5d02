//! The Node programs of `e2e/interop`.

use crate::binaries;
use crate::scratch::Scratch;
use crate::shell;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where they are.
///
/// # Panics
/// If their packages are not installed.
pub fn folder() -> PathBuf {
    let folder = binaries::root().join("e2e/interop");
    assert!(
        folder.join("node_modules").is_dir(),
        "the Node packages are not installed: run scripts/test, or npm ci in e2e/interop"
    );
    folder
}

/// `node` with these arguments, in that folder, at home in `scratch`.
pub fn command(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = scratch.command("node");
    command.args(arguments).current_dir(folder());
    command
}

/// Runs it to its end and reads its stdout as JSON.
///
/// # Panics
/// If it fails.
pub fn json(scratch: &Scratch, arguments: &[&str], input: &str) -> serde_json::Value {
    let mut command = command(scratch, arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is installed");
    child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()).expect("node reads its input");
    let output = child.wait_with_output().expect("a child can be waited for");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {}\n{said}{complained}", output.status);
    serde_json::from_str(&said).unwrap_or_else(|e| {
        panic!("{arguments:?}: {e}:\n{}\n{complained}", said.chars().take(2000).collect::<String>())
    })
}

/// Runs a file of `node:test` tests; its report is shown.
///
/// # Panics
/// If one fails.
pub fn test(scratch: &Scratch, file: &str, environment: &[(&str, &str)]) {
    let mut command = command(scratch, &["--test", "--test-reporter=spec", file]);
    command.envs(environment.iter().copied());
    println!("{}", shell::run(&mut command));
}
