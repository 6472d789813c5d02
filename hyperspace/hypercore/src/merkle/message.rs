//! The two messages of the replication protocol that carry requests and proofs.

use super::Node;
use super::proof::{
    BlockProof, BlockRequest, HashProof, HashRequest, MAX_NODES, Proof, Request, SeekProof, SeekRequest,
    UpgradeProof, UpgradeRequest,
};
use crate::encoding::{DecodeError, Reader, Writer};
use crate::manifest::Manifest;
use bytes::Bytes;

const BLOCK: u64 = 1;
const HASH: u64 = 2;
const SEEK: u64 = 4;
const UPGRADE: u64 = 8;
const MANIFEST: u64 = 16;
const PRIORITY: u64 = 32;

/// Asks a peer (message 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestMessage {
    /// By which the answer names it.
    pub id: u64,
    /// The fork that it is about.
    pub fork: u64,
    /// What is asked.
    pub request: Request,
    /// Is the manifest asked for, too?
    pub manifest: bool,
    /// How urgent it is: 0 to 2.
    pub priority: u64,
}

/// Answers a peer (message 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataMessage {
    /// The request that it answers.
    pub request: u64,
    /// The answer.
    pub proof: Proof,
    /// The manifest, if it was asked for.
    pub manifest: Option<Manifest>,
}

fn flag(on: bool, flag: u64) -> u64 {
    if on { flag } else { 0 }
}

impl RequestMessage {
    /// Writes the message's body.
    pub fn encode(&self, writer: &mut Writer) {
        let Request { block, hash, seek, upgrade } = &self.request;
        writer.uint(
            flag(block.is_some(), BLOCK)
                | flag(hash.is_some(), HASH)
                | flag(seek.is_some(), SEEK)
                | flag(upgrade.is_some(), UPGRADE)
                | flag(self.manifest, MANIFEST)
                | flag(self.priority > 0, PRIORITY),
        );
        writer.uint(self.id).uint(self.fork);
        if let Some(block) = block {
            writer.uint(block.index).uint(block.nodes);
        }
        if let Some(hash) = hash {
            writer.uint(hash.index).uint(hash.nodes);
        }
        if let Some(seek) = seek {
            writer.uint(seek.bytes).uint(seek.padding);
        }
        if let Some(upgrade) = upgrade {
            writer.uint(upgrade.start).uint(upgrade.length);
        }
        if self.priority > 0 {
            writer.uint(self.priority);
        }
    }

    /// Reads the message's body.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.uint()?;
        let (id, fork) = (reader.uint()?, reader.uint()?);
        let mut pair = |flag: u64| match flags & flag {
            0 => Ok(None),
            _ => Ok(Some((reader.uint()?, reader.uint()?))),
        };
        let request = Request {
            block: pair(BLOCK)?.map(|(index, nodes)| BlockRequest { index, nodes }),
            hash: pair(HASH)?.map(|(index, nodes)| HashRequest { index, nodes }),
            seek: pair(SEEK)?.map(|(bytes, padding)| SeekRequest { bytes, padding }),
            upgrade: pair(UPGRADE)?.map(|(start, length)| UpgradeRequest { start, length }),
        };
        let priority = if flags & PRIORITY != 0 { reader.uint()? } else { 0 };
        Ok(Self { id, fork, request, manifest: flags & MANIFEST != 0, priority })
    }
}

/// Blocks of this size are worth not being copied.
const LARGE: usize = 1024;

impl DataMessage {
    /// Writes the message's body.
    pub fn encode(&self, writer: &mut Writer) {
        self.encode_head(writer);
        if let Some(block) = &self.proof.block {
            writer.raw(&block.value);
        }
        self.encode_rest(writer);
    }

    /// The message's body, in parts, to be sent one behind the other: a large block is one of
    /// its own, and is not copied.
    pub fn to_parts(&self) -> Vec<Bytes> {
        let mut head = Writer::with_capacity(256);
        match &self.proof.block {
            Some(block) if block.value.len() >= LARGE => {
                self.encode_head(&mut head);
                let mut rest = Writer::with_capacity(256);
                self.encode_rest(&mut rest);
                vec![head.into_vec().into(), block.value.clone(), rest.into_vec().into()]
            }
            _ => {
                self.encode(&mut head);
                vec![head.into_vec().into()]
            }
        }
    }

    /// What comes before the block's bytes.
    fn encode_head(&self, writer: &mut Writer) {
        let Proof { fork, block, hash, seek, upgrade } = &self.proof;
        writer.uint(
            flag(block.is_some(), BLOCK)
                | flag(hash.is_some(), HASH)
                | flag(seek.is_some(), SEEK)
                | flag(upgrade.is_some(), UPGRADE)
                | flag(self.manifest.is_some(), MANIFEST),
        );
        writer.uint(self.request).uint(*fork);
        if let Some(block) = block {
            writer.uint(block.index).uint(block.value.len() as u64);
        }
    }

    /// What comes after them.
    fn encode_rest(&self, writer: &mut Writer) {
        let Proof { block, hash, seek, upgrade, .. } = &self.proof;
        if let Some(block) = block {
            encode_nodes(writer, &block.nodes);
        }
        if let Some(hash) = hash {
            encode_nodes(writer.uint(hash.index), &hash.nodes);
        }
        if let Some(seek) = seek {
            encode_nodes(writer.uint(seek.bytes), &seek.nodes);
        }
        if let Some(upgrade) = upgrade {
            encode_nodes(writer.uint(upgrade.start).uint(upgrade.length), &upgrade.nodes);
            encode_nodes(writer, &upgrade.additional_nodes);
            writer.buffer(upgrade.signature.as_deref().unwrap_or_default());
        }
        if let Some(manifest) = &self.manifest {
            manifest.encode(writer);
        }
    }

    /// Reads a message's body. A block's value is not copied: it keeps `body` alive.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(body);
        let flags = reader.uint()?;
        let mut message = Self { request: reader.uint()?, ..Self::default() };
        let proof = &mut message.proof;
        proof.fork = reader.uint()?;
        if flags & BLOCK != 0 {
            let index = reader.uint()?;
            let value = body.slice_ref(reader.buffer()?);
            proof.block = Some(BlockProof { index, value, nodes: decode_nodes(reader)? });
        }
        if flags & HASH != 0 {
            proof.hash = Some(HashProof { index: reader.uint()?, nodes: decode_nodes(reader)? });
        }
        if flags & SEEK != 0 {
            proof.seek = Some(SeekProof { bytes: reader.uint()?, nodes: decode_nodes(reader)? });
        }
        if flags & UPGRADE != 0 {
            proof.upgrade = Some(UpgradeProof {
                start: reader.uint()?,
                length: reader.uint()?,
                nodes: decode_nodes(reader)?,
                additional_nodes: decode_nodes(reader)?,
                signature: reader.optional_buffer()?.map(<[u8]>::to_vec),
            });
        }
        if flags & MANIFEST != 0 {
            message.manifest = Some(Manifest::decode(reader)?);
        }
        Ok(message)
    }
}

fn encode_nodes(writer: &mut Writer, nodes: &[Node]) {
    writer.array(nodes, |writer, node| node.encode(writer));
}

fn decode_nodes(reader: &mut Reader<'_>) -> Result<Vec<Node>, DecodeError> {
    let nodes = reader.array(Node::MIN_BYTES, Node::decode)?;
    if nodes.len() > MAX_NODES { Err(DecodeError::TooLong) } else { Ok(nodes) }
}
