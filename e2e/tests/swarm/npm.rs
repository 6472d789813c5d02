//! Node, with a network of hyperdht nodes, or with many swarms.

use hyperspace_e2e::node;
use hyperspace_e2e::process::{PATIENCE, Process};
use hyperspace_e2e::scratch::Scratch;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub struct Npm {
    control: BufReader<TcpStream>,
    pub bootstrap: SocketAddrV4,
    pub process: Process,
    _scratch: Scratch,
}

impl Npm {
    async fn start(arguments: &[&str]) -> Self {
        let scratch = Scratch::new();
        let process = Process::start(&mut node::command(&scratch, arguments));
        let line = tokio::task::block_in_place(|| process.wait_for_line("control"));
        let said: Value = serde_json::from_str(&line).expect("JSON");
        let port =
            |name: &str| said[name].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let control = TcpStream::connect((Ipv4Addr::LOCALHOST, port("control"))).await.expect("it listens");
        let bootstrap = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port("bootstrap"));
        Self { control: BufReader::new(control), bootstrap, process, _scratch: scratch }
    }

    /// A network.
    pub async fn network() -> Self {
        Self::start(&["net/dht-peer.js", "testnet", "8"]).await
    }

    /// Swarms in that network: none yet.
    pub async fn swarms(network: &Self) -> Self {
        Self::start(&["net/swarm-peer.js", &network.bootstrap.port().to_string()]).await
    }

    /// A relay in that network, or an end of one.
    pub async fn relay(network: &Self) -> Self {
        Self::start(&["net/relay-peer.js", &network.bootstrap.port().to_string()]).await
    }

    /// Has it do something, and gives what came of it.
    pub async fn ask(&mut self, command: Value) -> Value {
        let line = format!("{command}\n");
        self.control.get_mut().write_all(line.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        let read = tokio::time::timeout(PATIENCE, self.control.read_line(&mut answer)).await;
        read.unwrap_or_else(|_| panic!("{command}: no answer in time")).expect("it answers");
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer["result"].take()
    }

    /// A new swarm; its key.
    pub async fn create(&mut self, name: u8, seed: u8) -> [u8; 32] {
        let key = self.ask(json!({ "do": "create", "name": name, "seed": hex(&[seed; 32]) })).await;
        let key = key.as_str().expect("a key");
        std::array::from_fn(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).expect("hex"))
    }

    pub async fn join(&mut self, name: u8, topic: [u8; 32], server: bool, client: bool) {
        let topic = hex(&topic);
        let join = json!({ "do": "join", "name": name, "topic": topic, "server": server, "client": client });
        self.ask(join).await;
    }

    /// With whom it is connected.
    pub async fn connections(&mut self, name: u8) -> Vec<String> {
        let all = self.ask(json!({ "do": "connections", "name": name })).await;
        serde_json::from_value(all).expect("keys")
    }

    /// Waits until it has just so many connections.
    pub async fn until(&mut self, name: u8, connections: usize) {
        self.ask(json!({ "do": "until", "name": name, "connections": connections })).await;
    }

    /// Who is found by that topic.
    pub async fn lookup(&mut self, name: u8, topic: [u8; 32]) -> Vec<String> {
        let all = self.ask(json!({ "do": "lookup", "name": name, "topic": hex(&topic) })).await;
        serde_json::from_value(all).expect("keys")
    }
}
