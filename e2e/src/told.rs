//! A Node program that does what it is told, over a TCP connection (`interop/lib/control.js`).

use crate::node;
use crate::process::{PATIENCE, Process};
use crate::scratch::Scratch;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The program, killed when this is dropped.
#[derive(Debug)]
pub struct Told {
    control: BufReader<TcpStream>,
    /// A node of the DHT by which its network is entered.
    pub bootstrap: SocketAddrV4,
    /// The program itself.
    pub process: Process,
    _scratch: Scratch,
}

impl Told {
    /// Starts `node` with these arguments. On a runtime of several threads.
    ///
    /// # Panics
    /// If it does not come to listening.
    pub async fn start(arguments: &[&str]) -> Self {
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

    /// Has it do something, and gives what came of it.
    ///
    /// # Panics
    /// If that fails, or takes longer than [`PATIENCE`].
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
}

/// Bytes as such programs write them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes that such a program has written.
///
/// # Panics
/// If it is anything else.
pub fn unhex(value: &Value) -> [u8; 32] {
    let text = value.as_str().filter(|text| text.len() == 64).expect("32 bytes in hex");
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex"))
}
