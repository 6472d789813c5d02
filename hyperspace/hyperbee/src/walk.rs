//! Walking along a bee that is held here, and noting which blocks that takes.

use crate::block::{Block, Level};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, GetOptions};
use std::collections::HashMap;
use std::sync::Arc;

/// Nodes from the root to a leaf. A node that is not the root has five children or more.
pub(crate) const MAX_DEPTH: usize = 64;

/// What one walk may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Blocks that are told of.
    pub blocks: usize,
    /// Bytes of blocks that are read.
    pub bytes: usize,
    /// Steps, of which none has to lead to another block.
    pub steps: usize,
}

/// Why a walk went no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A block is not here, or the limits are reached.
    Enough,
    /// The core's blocks are no bee, or cannot be read.
    Failed(CoreError),
}

/// A walk through one version.
pub(crate) struct Walk<'a, C> {
    core: &'a C,
    version: u64,
    left: Limits,
    blocks: HashMap<u64, Arc<Block>>,
    told: Vec<u64>,
}

/// A node, and the block that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub block: Arc<Block>,
    pub offset: usize,
}

impl Place {
    pub fn level(&self) -> &Level {
        &self.block.levels[self.offset]
    }
}

fn corrupt(block: &Block) -> Stop {
    Stop::Failed(CoreError::Corrupt(format!("block {} points to what cannot be there", block.seq)))
}

impl<'a, C: Core> Walk<'a, C> {
    pub fn new(core: &'a C, version: u64, limits: Limits) -> Self {
        Self { core, version, left: limits, blocks: HashMap::new(), told: Vec::new() }
    }

    /// What was read, in that order.
    pub fn into_told(self) -> Vec<u64> {
        self.told
    }

    /// The root of the version; `None` if that is empty.
    pub async fn root(&mut self) -> Result<Option<Place>, Stop> {
        if self.version < 2 {
            return Ok(None);
        }
        let block = self.block(self.version - 1, true).await?;
        self.place(block, 0).map(Some)
    }

    /// Node `offset` of block `seq`, which whoever asks has already, and is not told of.
    pub async fn known(&mut self, seq: u64, offset: u64) -> Result<Place, Stop> {
        if seq == 0 || seq >= self.version {
            return Err(Stop::Enough);
        }
        let block = self.block(seq, false).await?;
        self.place(block, offset)
    }

    /// A child of a node that is no leaf.
    pub async fn child(&mut self, of: &Place, index: usize) -> Result<Place, Stop> {
        let child = of.level().children[index];
        let block = self.pointed(of, child.seq).await?;
        self.place(block, child.offset)
    }

    /// A key of a node.
    pub async fn key(&mut self, of: &Place, index: usize) -> Result<Bytes, Stop> {
        let block = self.pointed(of, of.level().keys[index]).await?;
        Ok(block.key.clone())
    }

    /// Where `key` is among those of a node: at `Ok`, or it would be before the key at `Err`.
    pub async fn search(&mut self, of: &Place, key: &[u8]) -> Result<Result<usize, usize>, Stop> {
        let (mut start, mut end) = (0, of.level().keys.len());
        while start < end {
            let middle = (start + end) / 2;
            match key.cmp(&self.key(of, middle).await?) {
                std::cmp::Ordering::Equal => return Ok(Ok(middle)),
                std::cmp::Ordering::Less => end = middle,
                std::cmp::Ordering::Greater => start = middle + 1,
            }
        }
        Ok(Err(start))
    }

    /// Counts a step.
    pub fn step(&mut self) -> Result<(), Stop> {
        self.left.steps = self.left.steps.checked_sub(1).ok_or(Stop::Enough)?;
        Ok(())
    }

    fn place(&self, block: Arc<Block>, offset: u64) -> Result<Place, Stop> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        if offset >= block.levels.len() { Err(corrupt(&block)) } else { Ok(Place { block, offset }) }
    }

    /// A block that a node points to: its own, or one before that.
    async fn pointed(&mut self, from: &Place, seq: u64) -> Result<Arc<Block>, Stop> {
        if seq == from.block.seq {
            return Ok(from.block.clone());
        }
        if seq == 0 || seq > from.block.seq {
            return Err(corrupt(&from.block));
        }
        self.block(seq, true).await
    }

    async fn block(&mut self, seq: u64, tell: bool) -> Result<Arc<Block>, Stop> {
        if let Some(block) = self.blocks.get(&seq) {
            return Ok(block.clone());
        }
        if self.left.blocks == 0 || self.left.bytes == 0 {
            return Err(Stop::Enough);
        }
        let bytes = match self.core.get(seq, GetOptions::LOCAL).await {
            Ok(bytes) => bytes,
            Err(CoreError::NotDownloaded) => return Err(Stop::Enough),
            Err(error) => return Err(Stop::Failed(error)),
        };
        self.left.blocks -= 1;
        self.left.bytes = self.left.bytes.saturating_sub(bytes.len());
        let block = Arc::new(Block::decode(bytes, seq).map_err(Stop::Failed)?);
        self.blocks.insert(seq, block.clone());
        if tell {
            self.told.push(seq);
        }
        Ok(block)
    }
}
