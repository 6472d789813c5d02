//! What outlives the process. With the real binary and a folder on the disk.

mod support;

use bytes::Bytes;
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{hypercore, network};
use std::path::Path;
use std::process::{Output, Stdio};
use support::*;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperspace"));
    command
        .env("TMPDIR", folder)
        .env("HYPERSPACE_BOOTSTRAP", "none")
        .env_remove("HYPERSPACE_SOCKET")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn start(folder: &Path, socket: &str) -> (Child, Client) {
    let mut child = command(folder).args(["-h", socket, "-s"]).arg(folder.join("data")).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("no line").unwrap();
        if line.expect("it ended").starts_with("Listening on ") {
            break;
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, Client::connect(&folder.join(format!("{socket}.sock"))).await)
}

async fn verify(folder: &Path) -> Output {
    let mut command = command(folder);
    command.args(["verify", "-s"]).arg(folder.join("data"));
    timeout(PATIENCE, command.output()).await.expect("it does not end").unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = TempDir::new().unwrap();
    let topic = |t: u8| NetworkStatus {
        discovery_key: vec![t; 32].into(),
        announce: Some(t == 1),
        lookup: Some(true),
        remember: Some(true),
    };
    let mut keys = Vec::new();
    for round in 0..5u64 {
        let (mut child, mut c) = start(folder.path(), "s").await;
        keys.push(c.call::<network::Open>(&Void {}).await.unwrap().public_key);
        let open = c.open(0, "log").await;
        assert_eq!(open.length, round * 60);
        if round > 0 {
            let mut all = c.call::<network::AllStatuses>(&Void {}).await.unwrap().statuses;
            all.sort_by_key(|status| status.discovery_key[0]);
            assert_eq!(all, [topic(1), topic(2)]);
        }
        for seq in 0..open.length {
            let block = c.call::<hypercore::Get>(&get(0, seq, 0)).await.unwrap().block.unwrap();
            assert_eq!(block, vec![seq as u8; seq as usize * 100]);
        }
        for seq in open.length..open.length + 60 {
            c.append(0, &vec![seq as u8; seq as usize * 100]).await;
        }
        for t in [1, 2] {
            let configure = ConfigureNetworkRequest { configuration: topic(t), ..Default::default() };
            c.call::<network::Configure>(&configure).await.unwrap();
        }
        child.kill().await.unwrap();
    }
    keys.dedup();
    assert_eq!(keys.len(), 1, "the identity stays");
    let checked = verify(folder.path()).await;
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{said}");
    assert!(said.contains("Everything is as it was signed"), "{said}");
}

#[tokio::test]
async fn verify_says_what_is_wrong() {
    let folder = TempDir::new().unwrap();
    assert_eq!(verify(folder.path()).await.status.code(), Some(1), "there is nothing to verify");
    assert!(!folder.path().join("data").exists(), "and nothing is made");

    let (mut child, mut c) = start(folder.path(), "s").await;
    c.open(0, "log").await;
    // Recognisable, and large enough to be outside the database.
    let pattern = b"to be damaged ".repeat(5000);
    let blocks = vec![Bytes::from(pattern.clone()), Bytes::from_static(b"small")];
    c.call::<hypercore::Append>(&AppendRequest { id: 0, blocks, expected_length: None }).await.unwrap();
    let in_use = verify(folder.path()).await;
    assert_eq!(in_use.status.code(), Some(1));
    assert!(String::from_utf8(in_use.stderr).unwrap().contains("stop that server first"));
    drop(c);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0));
    assert!(!folder.path().join("s.sock").exists(), "SIGTERM removes the socket");
    assert_eq!(verify(folder.path()).await.status.code(), Some(0));

    let mut damaged = 0;
    let mut folders = vec![folder.path().join("data")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = std::fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(100).position(|window| window == &pattern[..100]) {
                bytes[at + 50] ^= 1;
                std::fs::write(&path, bytes).unwrap();
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0, "the block is on the disk as it is");
    let checked = verify(folder.path()).await;
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("block 0"), "{said}");
}

#[tokio::test]
async fn memory_only_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    for _ in 0..2 {
        let mut server = command(folder.path());
        let mut child = server.arg("--memory-only").env("HOME", folder.path()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !timeout(PATIENCE, lines.next_line())
            .await
            .expect("no line")
            .unwrap()
            .unwrap()
            .starts_with("Listening")
        {}
        let mut c = Client::connect(&folder.path().join("hyperspace.sock")).await;
        assert_eq!(c.open(0, "log").await.length, 0, "what was there before is gone");
        let block = vec![7; 100_000];
        c.append(0, &block).await;
        assert_eq!(c.call::<hypercore::Get>(&get(0, 0, 0)).await.unwrap().block.unwrap(), block);
        let mut files: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["hyperspace.sock", "hyperspace.sock.lock"]);
        // No file that has lost its name either.
        let open = format!("/proc/{}/fd", child.id().unwrap());
        for descriptor in std::fs::read_dir(open).unwrap() {
            let target = std::fs::read_link(descriptor.unwrap().path()).unwrap_or_default();
            assert!(!target.to_string_lossy().contains("(deleted)"), "{target:?}");
        }
        child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn one_storage_has_one_server() {
    let folder = TempDir::new().unwrap();
    let (_first, mut c) = start(folder.path(), "one").await;
    let mut second = command(folder.path());
    second.args(["-h", "two", "-s"]).arg(folder.path().join("data"));
    let refused = timeout(PATIENCE, second.output()).await.expect("it does not end").unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("already in use"));
    assert!(!folder.path().join("two.sock").exists());
    c.open(0, "x").await;
}
