//! Cores in memory: the reference implementation of the traits, for tests.
//!
//! Not signed, not verified, no peers: a block that was cleared is simply gone.

use crate::{
    Appended, Core, CoreError, CoreEvent, CoreInfo, Corestore, GetOptions, Key, OpenTarget, Peer, Seek,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Events that a slow receiver may fall behind before it misses some.
const EVENTS: usize = 1024;

/// Keeps [`MemoryCore`]s. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    cores: HashMap<Key, MemoryCore>,
    created: u64,
}

/// A core in memory.
#[derive(Clone)]
pub struct MemoryCore {
    key: Key,
    writable: bool,
    log: Arc<Mutex<Log>>,
    events: broadcast::Sender<CoreEvent>,
}

#[derive(Default)]
struct Log {
    blocks: Vec<Option<Bytes>>,
    /// `ends[i]` is the byte offset at which block `i` ends.
    ends: Vec<u64>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same cores, as somebody sees them who may not write.
    pub fn read_only(&self) -> ReadOnlyStore {
        ReadOnlyStore(self.clone())
    }
}

/// A [`MemoryStore`] whose cores are not writable.
#[derive(Clone)]
pub struct ReadOnlyStore(MemoryStore);

impl Corestore for ReadOnlyStore {
    type Core = MemoryCore;

    async fn open(&self, target: OpenTarget) -> Result<MemoryCore, CoreError> {
        let mut core = self.0.open(target).await?;
        core.writable = false;
        Ok(core)
    }
}

fn key_of(text: &str) -> Key {
    let hash = blake2b_simd::Params::new().hash_length(32).key(b"memory").hash(text.as_bytes());
    Key::try_from(hash.as_bytes()).expect("a hash of 32 bytes")
}

impl Corestore for MemoryStore {
    type Core = MemoryCore;

    async fn open(&self, target: OpenTarget) -> Result<MemoryCore, CoreError> {
        let mut inner = self.inner.lock();
        let (key, writable) = match target {
            OpenTarget::Key(key) => (key, false),
            OpenTarget::Name(name) => (key_of(&format!("name {name}")), true),
            OpenTarget::New => {
                inner.created += 1;
                (key_of(&format!("new {}", inner.created)), true)
            }
        };
        let core = inner.cores.entry(key).or_insert_with(|| MemoryCore {
            key,
            writable,
            log: Arc::default(),
            events: broadcast::Sender::new(EVENTS),
        });
        core.writable |= writable;
        Ok(core.clone())
    }
}

impl Log {
    fn byte_length(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }
}

fn clamp(log: &Log, start: u64, end: u64) -> std::ops::Range<usize> {
    let end = end.min(log.blocks.len() as u64) as usize;
    (start.min(end as u64) as usize)..end
}

impl Core for MemoryCore {
    fn key(&self) -> Key {
        self.key
    }

    fn writable(&self) -> bool {
        self.writable
    }

    fn length(&self) -> u64 {
        self.log.lock().blocks.len() as u64
    }

    fn byte_length(&self) -> u64 {
        self.log.lock().byte_length()
    }

    async fn append(&self, blocks: Vec<Bytes>, expected_length: Option<u64>) -> Result<Appended, CoreError> {
        if !self.writable {
            return Err(CoreError::NotWritable);
        }
        let mut log = self.log.lock();
        let first = log.blocks.len() as u64;
        if expected_length.is_some_and(|expected| expected != first) {
            return Err(CoreError::Conflict { length: first });
        }
        let grows = !blocks.is_empty();
        for block in blocks {
            let end = log.byte_length() + block.len() as u64;
            log.ends.push(end);
            log.blocks.push(Some(block));
        }
        let appended = Appended { first, length: log.blocks.len() as u64, byte_length: log.byte_length() };
        if grows {
            let _ = self
                .events
                .send(CoreEvent::Append { length: appended.length, byte_length: appended.byte_length });
        }
        Ok(appended)
    }

    async fn get(&self, index: u64, options: GetOptions) -> Result<Bytes, CoreError> {
        let log = self.log.lock();
        let held = usize::try_from(index).ok().and_then(|i| log.blocks.get(i)?.clone());
        held.ok_or(if options.wait { CoreError::NotAvailable } else { CoreError::NotDownloaded })
    }

    async fn has(&self, index: u64) -> Result<bool, CoreError> {
        Ok(self.get(index, GetOptions::LOCAL).await.is_ok())
    }

    async fn update(&self, min_length: Option<u64>) -> Result<bool, CoreError> {
        Ok(min_length.is_some_and(|min| self.length() >= min))
    }

    async fn seek(&self, byte_offset: u64, _: GetOptions) -> Result<Seek, CoreError> {
        let log = self.log.lock();
        if byte_offset > log.byte_length() {
            return Err(CoreError::SeekNotAvailable);
        }
        let index = log.ends.partition_point(|end| *end <= byte_offset);
        let start = if index == 0 { 0 } else { log.ends[index - 1] };
        Ok(Seek { index: index as u64, offset: byte_offset - start })
    }

    async fn download(&self, start: u64, end: u64) -> Result<(), CoreError> {
        if self.downloaded(start, end).await? == end.saturating_sub(start) {
            Ok(())
        } else {
            Err(CoreError::NotAvailable)
        }
    }

    async fn downloaded(&self, start: u64, end: u64) -> Result<u64, CoreError> {
        let log = self.log.lock();
        Ok(log.blocks[clamp(&log, start, end)].iter().flatten().count() as u64)
    }

    async fn clear(&self, start: u64, end: u64) -> Result<(), CoreError> {
        let mut log = self.log.lock();
        let range = clamp(&log, start, end);
        log.blocks[range].fill(None);
        Ok(())
    }

    async fn flush(&self) -> Result<(), CoreError> {
        Ok(())
    }

    async fn info(&self) -> Result<CoreInfo, CoreError> {
        let log = self.log.lock();
        Ok(CoreInfo {
            length: log.blocks.len() as u64,
            byte_length: log.byte_length(),
            fork: 0,
            contiguous_length: log.blocks.iter().take_while(|b| b.is_some()).count() as u64,
            disk_bytes: log.blocks.iter().flatten().map(|b| b.len() as u64).sum(),
            ..CoreInfo::default()
        })
    }

    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn events(&self) -> broadcast::Receiver<CoreEvent> {
        self.events.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn behaves_as_the_traits_say() {
        let store = MemoryStore::new();
        let core = store.open(OpenTarget::New).await.unwrap();
        let mut events = core.events();
        core.append(vec!["ab".into(), "".into(), "cde".into()], Some(0)).await.unwrap();
        assert_eq!(events.recv().await, Ok(CoreEvent::Append { length: 3, byte_length: 5 }));
        assert_eq!(core.append(vec!["x".into()], Some(2)).await, Err(CoreError::Conflict { length: 3 }));
        assert_eq!(core.seek(2, GetOptions::LOCAL).await, Ok(Seek { index: 2, offset: 0 }));
        assert_eq!(core.seek(5, GetOptions::LOCAL).await, Ok(Seek { index: 3, offset: 0 }));
        assert_eq!(core.seek(6, GetOptions::LOCAL).await, Err(CoreError::SeekNotAvailable));
        core.clear(0, 2).await.unwrap();
        assert_eq!(core.downloaded(0, 9).await, Ok(1));
        assert_eq!(core.get(0, GetOptions::LOCAL).await, Err(CoreError::NotDownloaded));

        let reader = store.read_only().open(OpenTarget::Key(core.key())).await.unwrap();
        assert_eq!(reader.append(vec!["y".into()], None).await, Err(CoreError::NotWritable));
        assert_eq!(reader.get(2, GetOptions::default()).await.unwrap(), "cde");
    }
}
