//! The peers of `bench udx`: `interop/net/udx-bulk-peer.js`, and this program as
//! `bench udx-peer give|take BYTES`, which behaves likewise.

use anyhow::{Context, bail, ensure};
use hyperspace_e2e::node;
use hyperspace_e2e::process::processor_time;
use hyperspace_e2e::scratch::Scratch;
use hyperswarm::udx::{Config, Udx};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes that are written and read at a time.
const CHUNK: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Npm,
    Ours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Gives,
    Takes,
}

impl Side {
    fn argument(self) -> &'static str {
        match self {
            Self::Gives => "give",
            Self::Takes => "take",
        }
    }

    /// The number of its stream, and that of the other side.
    fn streams(self) -> (u32, u32) {
        match self {
            Self::Gives => (1, 2),
            Self::Takes => (2, 1),
        }
    }
}

/// A peer in a process of its own, killed when dropped.
pub struct Peer {
    child: Child,
    said: mpsc::Receiver<String>,
    pub port: u16,
}

impl Peer {
    pub fn start(kind: Kind, side: Side, bytes: u64, scratch: &Scratch) -> anyhow::Result<Self> {
        let bytes = bytes.to_string();
        let mut command = match kind {
            Kind::Npm => node::command(scratch, &["net/udx-bulk-peer.js", side.argument(), &bytes]),
            Kind::Ours => {
                let mut command = scratch.command(std::env::current_exe()?);
                command.args(["udx-peer", side.argument(), &bytes]);
                command
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("a peer")?;
        let output = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
        let (lines, said) = mpsc::channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let mut peer = Self { child, said, port: 0 };
        peer.port = peer.hear("Listening on ")?.parse()?;
        Ok(peer)
    }

    /// What it says next, which begins so.
    pub fn hear(&self, beginning: &str) -> anyhow::Result<String> {
        let line = self.said.recv_timeout(PATIENCE).with_context(|| format!("no {beginning:?}"))?;
        let rest = line.strip_prefix(beginning);
        Ok(rest.with_context(|| format!("{line:?} instead of {beginning:?}"))?.to_owned())
    }

    /// Tells it where the other side is. Who gives begins.
    pub fn connect(&mut self, port: u16) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("stdin is a pipe")?;
        writeln!(input, "{port}").context("the peer is gone")?;
        self.hear("Connected")?;
        Ok(())
    }

    /// The processor time that it has taken.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        processor_time(self.child.id()).context("the process is gone")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process of ours.
pub fn run(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let side = match arguments.next().as_deref() {
        Some("give") => Side::Gives,
        Some("take") => Side::Takes,
        _ => bail!("usage: bench udx-peer give|take BYTES"),
    };
    let bytes = arguments.next().context("how many bytes")?.parse()?;
    Runtime::new()?.block_on(stream(side, bytes))
}

async fn stream(side: Side, bytes: u64) -> anyhow::Result<()> {
    let udx = Udx::new();
    let (socket, _) = udx.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let (ours, theirs) = side.streams();
    let mut stream = udx.stream_with_id(ours, Config::default())?;
    println!("Listening on {}", socket.local_addr().port());
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "no port");
    let port: u16 = line.trim().parse()?;
    stream.connect(&socket, theirs, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    println!("Connected");
    match side {
        Side::Gives => {
            let chunk = vec![7; CHUNK];
            let mut left = bytes;
            while left > 0 {
                let size = left.min(CHUNK as u64);
                stream.write_all(&chunk[..size as usize]).await?;
                left -= size;
            }
            stream.shutdown().await?;
        }
        Side::Takes => {
            let mut chunk = vec![0; CHUNK];
            let mut received = 0;
            loop {
                match stream.read(&mut chunk).await? {
                    0 => break,
                    size => received += size,
                }
            }
            println!("Took {received}");
            stream.shutdown().await?;
        }
    }
    stream.closed().await?;
    Ok(())
}
