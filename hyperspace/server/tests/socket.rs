//! Who may listen where, and what becomes of the socket. With the real binary.

mod support;

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use support::*;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperspace"));
    command
        .args(args)
        .env("TMPDIR", folder)
        .env("HYPERSPACE_BOOTSTRAP", "none")
        .env("HOME", folder)
        .env_remove("HYPERSPACE_SOCKET")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn output(folder: &Path, args: &[&str]) -> Output {
    timeout(PATIENCE, command(folder, args).output()).await.expect("it does not end").unwrap()
}

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    async fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = command(folder, args).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Self { child, lines };
        let first = running.line().await;
        let version = env!("CARGO_PKG_VERSION");
        assert!(first.starts_with(&format!("Running hyperspace/{version} ")), "{first}");
        running
    }

    async fn line(&mut self) -> String {
        timeout(PATIENCE, self.lines.next_line()).await.expect("no line").unwrap().expect("it ended")
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    async fn end(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap().code()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn signals_end_it_cleanly() {
    use nix::sys::signal::Signal;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = TempDir::new().unwrap();
        let mut server = Running::start(folder.path(), &["--memory-only"]).await;
        let socket = folder.path().join("hyperspace.sock");
        assert_eq!(server.line().await, format!("Listening on {}", socket.display()));
        let mode = std::fs::symlink_metadata(&socket).unwrap();
        assert!(mode.file_type().is_socket());
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        let mut client = Client::connect(&socket).await;
        assert_eq!(server.line().await, "Remote client opened");
        client.open(0, "x").await;
        let other = Client::connect(&socket).await;
        assert_eq!(server.line().await, "Remote client opened");
        drop(other);
        assert_eq!(server.line().await, "Remote client closed");
        server.signal(signal);
        assert_eq!(server.line().await, "Shutting down...");
        assert_eq!(server.end().await, Some(0));
        assert!(client.frame().await.is_none());
        assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
    }
}

#[tokio::test]
async fn a_second_server_finds_the_first_and_leaves_it_alone() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(folder.path(), &["--memory-only", "-h", "one"]).await;
    server.line().await;
    let socket = folder.path().join("one.sock");
    let mut client = Client::connect(&socket).await;
    client.open(0, "x").await;
    for _ in 0..2 {
        let second = output(folder.path(), &["--memory-only", "-h", "one"]).await;
        assert_eq!(second.status.code(), Some(1));
        let said = String::from_utf8(second.stdout).unwrap();
        assert!(said.contains("Server is already running with the following status:"), "{said}");
        assert!(said.contains("API Version: 1.15.1"), "{said}");
    }
    client.append(0, b"still here").await;
    Client::connect(&socket).await.open(0, "x").await;
    // Not even when its socket was removed under it.
    std::fs::remove_file(&socket).unwrap();
    let third = output(folder.path(), &["--memory-only", "-h", "one"]).await;
    assert_eq!(third.status.code(), Some(1));
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_of_others_is_not() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(folder.path(), &["--memory-only"]).await;
    server.line().await;
    server.child.kill().await.unwrap();
    assert!(names(folder.path()).contains(&"hyperspace.sock".to_owned()));
    let mut again = Running::start(folder.path(), &["--memory-only"]).await;
    assert!(again.line().await.starts_with("Listening on"));
    Client::connect(&folder.path().join("hyperspace.sock")).await.open(0, "x").await;

    // Somebody who listens and is no server of ours.
    let socket = folder.path().join("other.sock");
    let other = UnixListener::bind(&socket).unwrap();
    let mut refused = command(folder.path(), &["--memory-only", "-h", "other"]).spawn().unwrap();
    other.accept().unwrap();
    // The second connection asks for its status, and gets nothing.
    drop(other.accept().unwrap());
    assert_eq!(timeout(PATIENCE, refused.wait()).await.unwrap().unwrap().code(), Some(1));
    assert!(socket.exists());
}

#[tokio::test]
async fn what_is_no_socket_stays() {
    let folder = TempDir::new().unwrap();
    let precious = folder.path().join("precious");
    std::fs::write(&precious, "data").unwrap();
    symlink(&precious, folder.path().join("link.sock")).unwrap();
    symlink(folder.path().join("nothing"), folder.path().join("dangling.sock")).unwrap();
    std::fs::write(folder.path().join("file.sock"), "data").unwrap();
    std::fs::create_dir(folder.path().join("folder.sock")).unwrap();
    let before = names(folder.path());
    for name in ["link", "dangling", "file", "folder"] {
        let refused = output(folder.path(), &["--memory-only", "-h", name]).await;
        assert_eq!(refused.status.code(), Some(1), "{name}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("is not a socket"), "{said}");
    }
    // Nor is a lock file written through a link.
    symlink(&precious, folder.path().join("locked.sock.lock")).unwrap();
    let refused = output(folder.path(), &["--memory-only", "-h", "locked"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "data");
    std::fs::remove_file(folder.path().join("locked.sock.lock")).unwrap();
    assert_eq!(names(folder.path()), before);
    let long = output(folder.path(), &["--memory-only", "-h", &"n".repeat(200)]).await;
    assert_eq!(long.status.code(), Some(1));
}

#[tokio::test]
async fn many_who_start_at_once_are_one_in_the_end() {
    let folder = TempDir::new().unwrap();
    // A dead socket, so that all of them want to replace it.
    drop(UnixListener::bind(folder.path().join("race.sock")).unwrap());
    let mut children: Vec<_> =
        (0..6).map(|_| command(folder.path(), &["--memory-only", "-h", "race"]).spawn().unwrap()).collect();
    let mut codes = Vec::new();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while codes.len() < 5 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        children.retain_mut(|child| match child.try_wait().unwrap() {
            Some(status) => {
                codes.push(status.code());
                false
            }
            None => true,
        });
    }
    assert_eq!(codes, [Some(1); 5]);
    assert_eq!(children.len(), 1);
    assert!(Client::connect(&folder.path().join("race.sock")).await.is_served().await);
}

#[tokio::test]
async fn tcp_is_loopback_unless_told_otherwise() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(folder.path(), &["--memory-only", "-p", "0"]).await;
    let line = server.line().await;
    let address = line.strip_prefix("Listening on 127.0.0.1:").unwrap_or_else(|| panic!("{line}"));
    assert!(names(folder.path()).is_empty(), "no socket besides");
    let taken = output(folder.path(), &["--memory-only", "-p", address]).await;
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8(taken.stdout).unwrap().contains("already running"));
    let given = &["--memory-only", "-h", "127.0.0.2", "-p", "0"];
    let mut other = Running::start(folder.path(), given).await;
    assert!(other.line().await.starts_with("Listening on 127.0.0.2:"));
}

#[tokio::test]
async fn the_simulator_lends_a_server_and_the_exit_code() {
    let folder = TempDir::new().unwrap();
    let script = "test -S $TMPDIR/$HYPERSPACE_SOCKET.sock && exit 7";
    let run = output(folder.path(), &["simulator", "--", "sh", "-c", script]).await;
    assert_eq!(run.status.code(), Some(7), "{run:?}");
    let killed = output(folder.path(), &["simulator", "--", "sh", "-c", "kill -9 $$"]).await;
    assert_eq!(killed.status.code(), Some(137));
    let none = output(folder.path(), &["simulator", "--", "/no/such/program"]).await;
    assert_eq!(none.status.code(), Some(1));
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn what_it_says_of_itself() {
    let folder = TempDir::new().unwrap();
    let version = output(folder.path(), &["--version"]).await;
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        concat!("hyperspace ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = String::from_utf8(output(folder.path(), &["--help"]).await.stdout).unwrap();
    for flag in [
        "-h, --host",
        "-p, --port",
        "-s, --storage",
        "-b, --bootstrap",
        "-n, --network-port",
        "--memory-only",
        "--no-announce",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
    assert_eq!(output(folder.path(), &["--nonsense"]).await.status.code(), Some(2));
    assert_eq!(output(folder.path(), &["-h"]).await.status.code(), Some(2), "-h takes a name");
}
