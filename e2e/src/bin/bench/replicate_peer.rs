//! The peers of `bench replicate`: `interop/net/core-peer.js`, and our server with a client.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use hyperspace_api::{Core, Corestore, Key, OpenTarget};
use hyperspace_client::{Endpoint, HyperspaceClient, RemoteHypercore};
use hyperspace_e2e::node;
use hyperspace_e2e::process::Usage;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::LazyLock;
use tokio::runtime::Runtime;

/// Bytes that are appended at a time.
const BATCH: usize = 16 << 20;
/// Blocks, likewise.
const BATCH_BLOCKS: u64 = 1000;
const NAME: &str = "replicated";

/// Drives the client.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Node,
    Ours,
}

/// A core that was written.
pub struct Filled {
    key: String,
    blocks: u64,
    bytes: u64,
}

/// A peer in a process of its own, killed when dropped.
pub enum Peer {
    Node(NodePeer),
    Ours(OurPeer),
}

pub struct NodePeer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

pub struct OurPeer {
    server: Server,
    client: HyperspaceClient,
}

impl Drop for NodePeer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl NodePeer {
    fn start(scratch: &Scratch) -> anyhow::Result<Self> {
        let storage = scratch.storage();
        let storage = storage.to_str().context("a path in UTF-8")?;
        let mut child = node::command(scratch, &["net/core-peer.js", storage])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("node")?;
        let input = child.stdin.take().context("stdin is a pipe")?;
        let output = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
        let mut peer = Self { child, input, output };
        // It answers once it has loaded everything.
        peer.run("faults", json!({}))?;
        Ok(peer)
    }

    /// Has it do something; one thing at a time.
    fn run(&mut self, name: &str, mut arguments: Value) -> anyhow::Result<Value> {
        arguments["id"] = 0.into();
        arguments["do"] = name.into();
        writeln!(self.input, "{arguments}").context("node is gone")?;
        let mut line = String::new();
        self.output.read_line(&mut line).context("node is gone")?;
        let mut answer: Value = serde_json::from_str(&line).with_context(|| format!("node: {line}"))?;
        if let Some(error) = answer["error"].as_str() {
            bail!("node, asked to {name}: {error}");
        }
        Ok(answer["done"].take())
    }

    fn create(&mut self) -> anyhow::Result<String> {
        let made = self.run("create", json!({ "kind": "v1", "name": NAME }))?;
        Ok(made["key"].as_str().context("no key")?.to_owned())
    }
}

impl OurPeer {
    fn start(scratch: &Scratch) -> anyhow::Result<Self> {
        let server = Server::start_with(scratch, &["--listen", "127.0.0.1:0"]);
        let client = RUNTIME.block_on(HyperspaceClient::connect(Endpoint::Unix(scratch.socket())))?;
        Ok(Self { server, client })
    }

    async fn open(&self, target: OpenTarget) -> anyhow::Result<RemoteHypercore> {
        Ok(self.client.corestore(None).open(target).await?)
    }

    async fn fill(&self, blocks: u64, size: usize) -> anyhow::Result<String> {
        let core = self.open(OpenTarget::Name(NAME.into())).await?;
        let batch = BATCH_BLOCKS.min((BATCH / size) as u64);
        for start in (0..blocks).step_by(batch as usize) {
            let many = (start..blocks.min(start + batch)).map(|index| block(index, size)).collect();
            core.append(many, Some(start)).await?;
        }
        core.flush().await?;
        Ok(core.key().to_string())
    }
}

/// As `fill` of `core-peer.js` makes it.
fn block(index: u64, size: usize) -> Bytes {
    let mut block = vec![index as u8; size];
    block[..4].copy_from_slice(&(index as u32).to_le_bytes());
    block.into()
}

impl Peer {
    pub fn start(kind: Kind, scratch: &Scratch) -> anyhow::Result<Self> {
        Ok(match kind {
            Kind::Node => Self::Node(NodePeer::start(scratch)?),
            Kind::Ours => Self::Ours(OurPeer::start(scratch)?),
        })
    }

    /// Writes a core, and stops.
    pub fn fill(self, blocks: u64, size: usize) -> anyhow::Result<Filled> {
        let key = match self {
            Self::Node(mut node) => {
                let key = node.create()?;
                node.run("fill", json!({ "key": key, "count": blocks, "size": size }))?;
                node.run("close", json!({}))?;
                key
            }
            Self::Ours(ours) => {
                let key = RUNTIME.block_on(ours.fill(blocks, size))?;
                let stopped = ours.server.stop();
                ensure!(stopped.success(), "the server has failed: {stopped}");
                key
            }
        };
        Ok(Filled { key, blocks, bytes: blocks * size as u64 })
    }

    /// Gives that core to whoever calls at the port.
    pub fn listen(&mut self, core: &Filled) -> anyhow::Result<u16> {
        match self {
            Self::Node(node) => {
                ensure!(node.create()? == core.key, "another core");
                let listening = node.run("listen", json!({}))?;
                Ok(listening["port"].as_u64().context("no port")? as u16)
            }
            Self::Ours(ours) => {
                let line = ours.server.process().wait_for_line("Listening for peers on");
                line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).context("no port")
            }
        }
    }

    /// Fetches it from there.
    pub fn download(&mut self, port: u16, core: &Filled) -> anyhow::Result<()> {
        match self {
            Self::Node(node) => {
                node.run("open", json!({ "key": core.key }))?;
                node.run("connect", json!({ "port": port }))?;
                node.run("download", json!({ "key": core.key, "start": 0, "end": core.blocks }))?;
                Ok(())
            }
            Self::Ours(ours) => RUNTIME.block_on(async {
                let opened = ours.open(OpenTarget::Key(core.key.parse::<Key>()?)).await?;
                ours.client.network().add_peer(&format!("127.0.0.1:{port}"), false).await?;
                Ok(opened.download(0, core.blocks).await?)
            }),
        }
    }

    /// Has it come whole?
    pub fn has_all(&mut self, core: &Filled) -> anyhow::Result<bool> {
        let (contiguous, bytes) = match self {
            Self::Node(node) => {
                let info = node.run("info", json!({ "key": core.key }))?;
                (info["contiguousLength"].as_u64(), info["byteLength"].as_u64())
            }
            Self::Ours(ours) => RUNTIME.block_on(async {
                let opened = ours.open(OpenTarget::Key(core.key.parse::<Key>()?)).await?;
                let info = opened.info().await?;
                anyhow::Ok((Some(info.contiguous_length), Some(info.byte_length)))
            })?,
        };
        Ok((contiguous, bytes) == (Some(core.blocks), Some(core.bytes)))
    }

    /// The most memory that it ever had, in MiB.
    pub fn peak(&self) -> f64 {
        let usage = match self {
            Self::Node(node) => Usage::of(node.child.id()),
            Self::Ours(ours) => ours.server.usage(),
        };
        usage.peak as f64 / 1024.0
    }
}
