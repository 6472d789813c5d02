//! Appending bytes as they come.

use crate::core::RemoteHypercore;
use bytes::{Bytes, BytesMut};
use hyperspace_api::{Core, CoreError};

/// Bytes gathered before they are appended as one batch.
const BATCH: usize = 4 << 20;

/// Cuts what is written into blocks and appends them in batches. What was written
/// since the last batch is lost if it is dropped without [`finish`](Self::finish).
pub struct WriteStream {
    core: RemoteHypercore,
    max_block: usize,
    buffer: BytesMut,
    blocks: Vec<Bytes>,
    gathered: usize,
}

impl WriteStream {
    pub(crate) fn new(core: RemoteHypercore, max_block: usize) -> Self {
        Self { core, max_block: max_block.max(1), buffer: BytesMut::new(), blocks: Vec::new(), gathered: 0 }
    }

    /// Takes bytes in; appends when enough have gathered.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), CoreError> {
        while !bytes.is_empty() {
            let take = bytes.len().min(self.max_block - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.buffer.len() == self.max_block {
                self.cut();
            }
            if self.gathered >= BATCH {
                self.append().await?;
            }
        }
        Ok(())
    }

    /// Appends all that was written, the last block however short it is; returns the
    /// core's length.
    pub async fn finish(mut self) -> Result<u64, CoreError> {
        if !self.buffer.is_empty() {
            self.cut();
        }
        self.append().await?;
        Ok(self.core.length())
    }

    fn cut(&mut self) {
        self.gathered += self.buffer.len();
        self.blocks.push(self.buffer.split().freeze());
    }

    async fn append(&mut self) -> Result<(), CoreError> {
        self.gathered = 0;
        let blocks = std::mem::take(&mut self.blocks);
        if !blocks.is_empty() {
            self.core.append(blocks, None).await?;
        }
        Ok(())
    }
}
