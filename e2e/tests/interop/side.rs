//! A peer, whosever it is.

use crate::js::JsPeer;
use crate::rust::RustPeer;
use anyhow::Context;
use bytes::Bytes;
use hyperspace_api::{Core, GetOptions};
use serde_json::{Value, json};
use std::fmt;

/// Kinds of cores, by who signs and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What both make unless told otherwise.
    V1,
    /// A manifest of version 0, with one signer.
    V0,
    /// The signer's public key is the core's key.
    Compat,
    /// Two of three have to sign.
    Multi,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::V1, Self::V0, Self::Compat, Self::Multi];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1 => "v1",
            Self::V0 => "v0",
            Self::Compat => "compat",
            Self::Multi => "multi",
        })
    }
}

/// What a peer knows of a core.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    pub length: u64,
    pub byte_length: u64,
    pub fork: u64,
    pub blocks_in: u64,
    pub blocks_out: u64,
}

pub enum Side {
    Js(JsPeer),
    Rust(RustPeer),
}

/// Block `index` of the history `history` of any core; as in `core-peer.js`.
pub fn block(index: u64, history: u64) -> Bytes {
    let filler = "x".repeat((index * 7919 % 300) as usize);
    format!("block {index} of history {history} {filler}").into()
}

/// Many blocks, in a number.
#[derive(Default)]
pub struct Digest(Option<blake2b_simd::State>);

impl Digest {
    pub fn add(&mut self, block: &[u8]) {
        let state = self.0.get_or_insert_with(blake2b_simd::State::new);
        state.update(&(block.len() as u32).to_le_bytes()).update(block);
    }

    pub fn end(mut self) -> String {
        self.0.get_or_insert_with(blake2b_simd::State::new).finalize().to_hex().to_string()
    }

    pub fn of(blocks: impl IntoIterator<Item = Bytes>) -> String {
        let mut digest = Self::default();
        blocks.into_iter().for_each(|block| digest.add(&block));
        digest.end()
    }
}

fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    Ok(value[field].as_str().with_context(|| format!("no {field} in {value}"))?.to_owned())
}

fn number(value: &Value, field: &str) -> anyhow::Result<u64> {
    value[field].as_u64().with_context(|| format!("no {field} in {value}"))
}

impl Side {
    pub async fn listen(&self) -> anyhow::Result<u16> {
        match self {
            Self::Js(js) => Ok(number(&js.run("listen", json!({})).await?, "port")? as u16),
            Self::Rust(rust) => rust.listen().await,
        }
    }

    /// Calls the peer at that port of this machine.
    pub async fn connect(&self, port: u16) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => js.run("connect", json!({ "port": port })).await.map(drop),
            Self::Rust(rust) => rust.connect(port),
        }
    }

    /// Hangs up where it has called.
    pub async fn disconnect(&self) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => js.run("disconnect", json!({})).await.map(drop),
            Self::Rust(rust) => rust.disconnect(),
        }
    }

    /// A core to write; its key. `None` if this side cannot sign that kind.
    pub async fn create(&self, kind: Kind, name: &str) -> anyhow::Result<Option<String>> {
        match self {
            Self::Js(js) => {
                let made = js.run("create", json!({ "kind": kind.to_string(), "name": name })).await?;
                Ok(Some(text(&made, "key")?))
            }
            Self::Rust(rust) => rust.create(kind, name).await,
        }
    }

    pub async fn open(&self, key: &str) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => js.run("open", json!({ "key": key })).await.map(drop),
            Self::Rust(rust) => rust.open(key).await,
        }
    }

    /// Appends blocks `from..to` of that history, `batch` at a time.
    pub async fn append(
        &self,
        key: &str,
        from: u64,
        to: u64,
        history: u64,
        batch: u64,
    ) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => {
                let arguments =
                    json!({ "key": key, "from": from, "to": to, "history": history, "batch": batch });
                js.run("append", arguments).await.map(drop)
            }
            Self::Rust(rust) => {
                let core = rust.core(key)?.remote;
                for start in (from..to).step_by(batch as usize) {
                    let blocks = (start..to.min(start + batch)).map(|index| block(index, history)).collect();
                    core.append(blocks, Some(start)).await?;
                }
                Ok(())
            }
        }
    }

    pub async fn truncate(&self, key: &str, length: u64) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => js.run("truncate", json!({ "key": key, "length": length })).await.map(drop),
            Self::Rust(rust) => Ok(rust.core(key)?.local.truncate(length, None)?),
        }
    }

    /// These blocks, all at once, from whoever has them.
    pub async fn get(&self, key: &str, blocks: &[u64]) -> anyhow::Result<String> {
        match self {
            Self::Js(js) => text(&js.run("get", json!({ "key": key, "blocks": blocks })).await?, "digest"),
            Self::Rust(rust) => {
                let core = rust.core(key)?.remote;
                let gets = blocks.iter().map(|&index| {
                    let core = core.clone();
                    tokio::spawn(async move { core.get(index, PATIENT).await })
                });
                let mut digest = Digest::default();
                for get in gets.collect::<Vec<_>>() {
                    digest.add(&get.await??);
                }
                Ok(digest.end())
            }
        }
    }

    pub async fn download(&self, key: &str, start: u64, end: u64) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => {
                js.run("download", json!({ "key": key, "start": start, "end": end })).await.map(drop)
            }
            Self::Rust(rust) => Ok(rust.core(key)?.remote.download(start, end).await?),
        }
    }

    /// From now on everything, and what is yet to come.
    pub async fn live(&self, key: &str) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => js.run("live", json!({ "key": key })).await.map(drop),
            Self::Rust(rust) => rust.live(key),
        }
    }

    /// Where these bytes are: block, and offset in it.
    pub async fn seek(&self, key: &str, bytes: &[u64]) -> anyhow::Result<Vec<(u64, u64)>> {
        match self {
            Self::Js(js) => {
                let mut answer = js.run("seek", json!({ "key": key, "bytes": bytes })).await?;
                Ok(serde_json::from_value(answer["found"].take())?)
            }
            Self::Rust(rust) => {
                let core = rust.core(key)?.remote;
                let mut found = Vec::new();
                for &at in bytes {
                    let seek = core.seek(at, PATIENT).await?;
                    found.push((seek.index, seek.offset));
                }
                Ok(found)
            }
        }
    }

    /// Waits until blocks `0..length` are here, on that fork.
    pub async fn reach(&self, key: &str, length: u64, fork: u64) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => {
                js.run("reach", json!({ "key": key, "length": length, "fork": fork })).await.map(drop)
            }
            Self::Rust(rust) => rust.reach(key, length, fork).await,
        }
    }

    /// Waits until `count` more blocks have come.
    pub async fn more(&self, key: &str, count: u64) -> anyhow::Result<()> {
        match self {
            Self::Js(js) => js.run("more", json!({ "key": key, "count": count })).await.map(drop),
            Self::Rust(rust) => {
                let mut downloads = rust.core(key)?.remote.watch_downloads();
                for _ in 0..count {
                    downloads.recv().await;
                }
                Ok(())
            }
        }
    }

    /// Blocks `start..end`, without asking anybody.
    pub async fn digest(&self, key: &str, start: u64, end: u64) -> anyhow::Result<String> {
        match self {
            Self::Js(js) => {
                text(&js.run("digest", json!({ "key": key, "start": start, "end": end })).await?, "digest")
            }
            Self::Rust(rust) => {
                let core = rust.core(key)?.remote;
                let mut digest = Digest::default();
                for index in start..end {
                    let block = core.get(index, GetOptions::LOCAL).await;
                    digest.add(&block.with_context(|| format!("block {index}"))?);
                }
                Ok(digest.end())
            }
        }
    }

    pub async fn info(&self, key: &str) -> anyhow::Result<Info> {
        match self {
            Self::Js(js) => {
                let info = js.run("info", json!({ "key": key })).await?;
                Ok(Info {
                    length: number(&info, "length")?,
                    byte_length: number(&info, "byteLength")?,
                    fork: number(&info, "fork")?,
                    blocks_in: number(&info, "blocksIn")?,
                    blocks_out: number(&info, "blocksOut")?,
                })
            }
            Self::Rust(rust) => {
                let core = rust.core(key)?;
                let (info, traffic) = (core.remote.info().await?, core.local.traffic());
                Ok(Info {
                    length: info.length,
                    byte_length: info.byte_length,
                    fork: info.fork,
                    blocks_in: traffic.downloaded.blocks,
                    blocks_out: traffic.uploaded.blocks,
                })
            }
        }
    }

    /// How it stands with a core, for who wonders why nothing goes on.
    pub async fn describe(&self, key: &str) -> String {
        let info = self.info(key).await;
        let peers = match self {
            Self::Js(js) => format!("{:?}", js.run("peers", json!({ "key": key })).await),
            Self::Rust(rust) => format!("{:?}", rust.core(key).map(|core| core.local.traffic())),
        };
        format!("{info:?} {peers}")
    }

    /// What went wrong without anybody having been told.
    pub async fn faults(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Js(js) => js.faults().await,
            Self::Rust(rust) => Ok(rust.faults()),
        }
    }
}

/// Waits for a peer that has it.
const PATIENT: GetOptions = GetOptions { wait: true, if_available: false, timeout: None };
