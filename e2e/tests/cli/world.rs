//! One test's computer: a home, a server, perhaps a mount; and the command.

use hyperspace_e2e::binaries;
use hyperspace_e2e::mount::Mount;
use hyperspace_e2e::process::{PATIENCE, Process};
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::shell::attempt;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub struct World {
    // In this order: the mount goes before the server, and that before the folder.
    mount: Option<Mount>,
    _server: Option<Server>,
    pub scratch: Scratch,
}

impl World {
    /// A home where nothing ever ran.
    pub fn empty() -> Self {
        Self { mount: None, _server: None, scratch: Scratch::new() }
    }

    /// A server, and a mounted root drive.
    pub fn mounted() -> Self {
        let scratch = Scratch::new();
        let server = Server::start(&scratch);
        let mount = Mount::start(&scratch);
        Self { mount: Some(mount), _server: Some(server), scratch }
    }

    /// A server, and a root drive that is not mounted.
    pub fn unmounted() -> Self {
        let mut world = Self::mounted();
        world.unmount();
        world
    }

    /// Stops the service; the server stays.
    pub fn unmount(&mut self) {
        let mount = self.mount.take().expect("it is mounted");
        assert!(mount.stop().success());
    }

    pub fn mount(&mut self) -> &mut Mount {
        self.mount.as_mut().expect("it is mounted")
    }

    pub fn root_key(&self) -> String {
        self.json(&["status"])["rootDriveKey"].as_str().expect("a root drive").to_owned()
    }

    /// A path in the folder where the root drive is, or would be, mounted.
    pub fn at(&self, path: &str) -> String {
        let whole = self.scratch.mnt().join(path);
        whole.to_str().expect("UTF-8").to_owned()
    }

    /// A path in the home.
    pub fn home(&self, path: &str) -> PathBuf {
        self.scratch.join("home").join(path)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(binaries::hyperdrive());
        command.current_dir(self.scratch.join("home")).args(arguments);
        command
    }

    /// Runs a command to its end, whatever comes of it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        attempt(&mut self.command(arguments))
    }

    /// Runs a command that succeeds, and says so in what it exits with and in saying
    /// nothing on stderr; gives back what it wrote to stdout.
    pub fn ok(&self, arguments: &[&str]) -> String {
        said_well(arguments, &self.run(arguments))
    }

    /// The same with a standard input.
    pub fn ok_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("hyperdrive runs");
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads its input");
        said_well(arguments, &child.wait_with_output().expect("it ends"))
    }

    /// The one line of JSON that the command prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut lines = self.json_lines(arguments);
        assert_eq!(lines.len(), 1, "{arguments:?}: {lines:?}");
        lines.remove(0)
    }

    /// All lines of JSON that the command prints.
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments: Vec<_> = ["--json"].iter().chain(arguments).copied().collect();
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.ok(&arguments).lines().map(parse).collect()
    }

    /// Runs a command that fails: with this exit code, without a word on stdout, and
    /// with one line on stderr that has `text` in it. With `--json` that line is JSON
    /// and has this error code.
    pub fn refused(&self, arguments: &[&str], exit: i32, code: &str, text: &str) {
        let line = one_line(arguments, &self.run(arguments), exit);
        let message = line.strip_prefix("hyperdrive: ").unwrap_or_else(|| panic!("{arguments:?}: {line}"));
        assert!(message.contains(text), "{arguments:?}: {message}");

        let arguments: Vec<_> = ["--json"].iter().chain(arguments).copied().collect();
        let line = one_line(&arguments, &self.run(&arguments), exit);
        let error: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(error["error"]["code"], code, "{arguments:?}: {line}");
        assert!(error["error"]["message"].as_str().is_some_and(|said| said.contains(text)), "{line}");
    }

    /// Starts a command that does not end by itself.
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(&mut self.command(arguments))
    }
}

fn said_well(arguments: &[&str], output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}: {said}", output.status);
    assert_eq!(said, "", "{arguments:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn one_line(arguments: &[&str], output: &Output, exit: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    assert_eq!((said.lines().count(), said.ends_with('\n')), (1, true), "{arguments:?}: {said}");
    said.trim_end().to_owned()
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Sixty-four digits.
pub fn is_key(value: &Value) -> bool {
    value.as_str().is_some_and(|key| key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Waits until another process has brought something about.
pub fn soon(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
