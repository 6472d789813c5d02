//! `hyperspace dht`: a network of one's own, of nothing but the binary.

use hyperswarm::hyperdht::{Announcement, Endpoint, Options};
use hyperswarm::{KeyPair, hyperdht::Status};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperspace"));
    command
        .arg("dht")
        .args(args)
        .env("HYPERSPACE_BOOTSTRAP", "none")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn output(args: &[&str]) -> Output {
    timeout(PATIENCE, command(args).output()).await.expect("it does not end").unwrap()
}

struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddrV4,
}

impl Node {
    async fn start(args: &[&str]) -> Self {
        let any: &[&str] = if args.contains(&"--port") { &[] } else { &["--port", "0"] };
        let mut child = command(&[&["--host", "127.0.0.1"], any, args].concat()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = line(&mut lines).await;
        let address = first.strip_prefix("DHT node listening on ").expect(&first).parse().unwrap();
        assert_eq!(line(&mut lines).await, "DHT node is ready");
        Self { child, lines, address }
    }
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    timeout(PATIENCE, lines.next_line()).await.expect("no line").unwrap().expect("it ended")
}

/// A node of this test's own.
async fn endpoint(bootstrap: SocketAddrV4) -> Endpoint {
    let options = Options {
        bootstrap: vec![bootstrap.into()],
        host: Ipv4Addr::LOCALHOST,
        port: 0,
        ..Options::default()
    };
    let endpoint = Endpoint::bind(options).await.unwrap();
    assert!(timeout(PATIENCE, endpoint.ready()).await.expect("it finds nobody"));
    endpoint
}

#[tokio::test]
async fn the_nodes_are_a_network() {
    let first = Node::start(&[]).await;
    let bootstrap = first.address.to_string();
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Node::start(&["--bootstrap", &bootstrap]).await);
    }
    let (announcing, looking) = (endpoint(first.address).await, endpoint(others[1].address).await);
    let (topic, pair) = ([3; 32], KeyPair::generate().unwrap());
    announcing.announce(Announcement::new(topic, &pair, Vec::new())).await.unwrap();
    let mut lookup = looking.lookup(topic).await.unwrap();
    let mut nodes = 0;
    while let Some((_, peers)) = lookup.next().await {
        assert_eq!(peers.peers[0].public_key, pair.public_key());
        nodes += 1;
    }
    assert!(nodes >= 3, "{nodes} nodes have kept it");
    let status: Status = looking.status();
    assert!(status.online && status.known >= 4, "{status:?}");

    // A signal ends a node cleanly.
    let pid = i32::try_from(first.child.id().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    let Node { mut child, mut lines, .. } = first;
    assert_eq!(line(&mut lines).await, "Shutting down...");
    assert!(timeout(PATIENCE, child.wait()).await.expect("it does not end").unwrap().success());
    // The network goes on without it.
    let mut lookup = looking.lookup(topic).await.unwrap();
    assert!(lookup.next().await.is_some());
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let mut gone = Node::start(&[]).await;
    let free = gone.address.port().to_string();
    gone.child.kill().await.unwrap();
    let node = Node::start(&[]).await;
    let port = node.address.port().to_string();
    for (args, message) in [
        (&["--ephemeral"][..], "cannot be ephemeral"),
        (&["--host", "127.0.0.1", "--port", &port], "is taken"),
        (&["--bootstrap", "nonsense"], "\"nonsense\" is no bootstrap node: it should be HOST:PORT"),
    ] {
        let output = output(args).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains(message), "{args:?}: {error}");
    }
    // Once a node is gone, its port is free.
    let again = Node::start(&["--port", &free]).await;
    assert_eq!(again.address.port().to_string(), free);
}
