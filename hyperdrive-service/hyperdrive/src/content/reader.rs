//! Reads a file's range of the content core, at any offset.
//!
//! Blocks have any size (each writer has its own), so where one starts is learnt,
//! never computed: by asking the core once ([`Core::seek`]), and from then on by
//! following the sizes of the blocks read. Read from front to back, blocks are
//! fetched ahead, several at a time; from peers, many ([`ahead`](super::ahead)).

use super::ahead::Ahead;
use super::{ContentLog, Placed};
use crate::{DriveError, Extent};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use hyperspace_api::{Core, CoreError, Corestore, Key, OpenTarget};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

/// Blocks fetched ahead, at most.
const AHEAD_BLOCKS: u64 = 16;
/// Bytes fetched ahead, about.
const AHEAD_BYTES: u64 = 4 * 1024 * 1024;
/// Known starts of blocks kept.
const STARTS_MAX: usize = 4096;
/// A read this far from where the last one ended still goes on from it: the kernel
/// sends those of one program in any order.
const NEAR: u64 = 1024 * 1024;

/// Reads one file, as it was when it was looked up. Clones share what they learn.
pub struct Reader<S: Corestore> {
    inner: Arc<Inner<S>>,
}

impl<S: Corestore> Clone for Reader<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<S: Corestore> {
    content: Arc<ContentLog<S>>,
    source: Source<S>,
    extent: Extent,
    state: Mutex<State>,
}

enum Source<S: Corestore> {
    /// The drive's content core.
    Content,
    /// Another core, read as one file.
    Other { key: Key, core: OnceCell<S::Core> },
    /// Not appended yet: blocks and the bytes at which they start.
    Memory(Vec<(u64, Bytes)>),
    /// Nowhere to be found.
    Lost,
}

type Fetch = Shared<BoxFuture<'static, Result<Bytes, CoreError>>>;

struct State {
    /// Byte of the file at which a block starts → the block.
    starts: BTreeMap<u64, u64>,
    fetched: HashMap<u64, Fetch>,
    order: VecDeque<u64>,
    /// Where the last read ended.
    last_end: u64,
    /// Size of the largest block seen.
    largest: u64,
    /// What peers were asked for.
    ahead: Ahead,
}

impl<S: Corestore> Reader<S> {
    pub(crate) fn new(content: Arc<ContentLog<S>>, extent: Extent) -> Self {
        let (source, extent) = match content.place(extent) {
            Placed::Core(extent) => (Source::Content, extent),
            Placed::Unknown => (Source::Lost, extent),
            Placed::Pending(blocks) => {
                let mut start = 0;
                let blocks = blocks.into_iter().map(|block| {
                    let at = start;
                    start += block.len() as u64;
                    (at, block)
                });
                (Source::Memory(blocks.collect()), extent)
            }
        };
        Self::of(content, source, extent)
    }

    /// Reads the whole core `key` as one file.
    pub(crate) fn whole_core(content: Arc<ContentLog<S>>, key: Key, extent: Extent) -> Self {
        let extent = Extent { offset: 0, byte_offset: 0, ..extent };
        Self::of(content, Source::Other { key, core: OnceCell::new() }, extent)
    }

    fn of(content: Arc<ContentLog<S>>, source: Source<S>, extent: Extent) -> Self {
        let state = State {
            starts: BTreeMap::from([(0, extent.offset)]),
            fetched: HashMap::new(),
            order: VecDeque::new(),
            last_end: 0,
            largest: extent.size.checked_div(extent.blocks).unwrap_or(0),
            ahead: Ahead::default(),
        };
        Self { inner: Arc::new(Inner { content, source, extent, state: Mutex::new(state) }) }
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.inner.extent.size
    }

    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// `ETIMEDOUT` for blocks that nobody has now; `EIO` if the file's record does
    /// not fit its blocks.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, DriveError> {
        let end = offset.saturating_add(len as u64).min(self.size());
        if offset >= end {
            return Ok(Bytes::new());
        }
        let inner = &self.inner;
        match &inner.source {
            Source::Memory(blocks) => Ok(gather(blocks, offset, end)),
            Source::Content => inner.read(inner.content.core().await?, offset, end).await,
            Source::Other { key, core } => {
                let core = core.get_or_try_init(|| inner.content.store.open(OpenTarget::Key(*key))).await?;
                inner.read(core, offset, end).await
            }
            Source::Lost => Err(damaged("its content was never committed")),
        }
    }

    /// All of it. Meant for small files: it is all in memory.
    pub async fn read_all(&self) -> Result<Bytes, DriveError> {
        let size = usize::try_from(self.size()).map_err(|_| damaged("its size is beyond all memory"))?;
        self.read(0, size).await
    }
}

impl<S: Corestore> Inner<S> {
    async fn read(&self, core: &S::Core, offset: u64, end: u64) -> Result<Bytes, DriveError> {
        let (mut index, mut start) = self.find(core, offset).await?;
        let sequential = self.state.lock().moves_on(offset, end);
        let mut parts = Parts::default();
        loop {
            if index >= self.extent.end() {
                return Err(damaged("its blocks end before it does"));
            }
            let reach = if sequential { u64::MAX } else { end - start };
            self.fetch_ahead(core, index, reach);
            if sequential && !core.writable() && index > self.extent.offset {
                let mut state = self.state.lock();
                let size = state.largest;
                state.ahead.reads_on(core, index, size, self.extent.end());
            }
            let block = self.block(core, index).await?;
            let next = start.saturating_add(block.len() as u64);
            self.state.lock().learn(next, index + 1, block.len() as u64);
            if next > offset && start < end {
                let from = offset.saturating_sub(start) as usize;
                let to = (end.min(next) - start) as usize;
                parts.push(block.slice(from..to));
            }
            if next <= end {
                // Read to its end: it is not needed again.
                self.state.lock().forget(index);
            }
            if next >= end {
                return Ok(parts.join());
            }
            (index, start) = (index + 1, next);
        }
    }

    /// The block that holds byte `offset` of the file, and where it starts.
    async fn find(&self, core: &S::Core, offset: u64) -> Result<(u64, u64), DriveError> {
        let (index, start) = {
            let state = self.state.lock();
            let before = state.starts.range(..=offset).next_back();
            let (&start, &index) = before.ok_or_else(|| damaged("its start is not known"))?;
            let next_known =
                state.starts.range(offset + 1..).next().is_some_and(|(_, &next)| next == index + 1);
            if start == offset || next_known {
                return Ok((index, start));
            }
            (index, start)
        };
        let at =
            self.extent.byte_offset.checked_add(offset).ok_or_else(|| damaged("it lies beyond all bytes"))?;
        let found = core.seek(at, self.content.get_options()).await?;
        let fits = found.index >= index && found.index < self.extent.end() && found.offset <= offset;
        if !fits || offset - found.offset < start {
            return Err(damaged("its bytes are not where its record says"));
        }
        let start = offset - found.offset;
        self.state.lock().learn(start, found.index, 0);
        Ok((found.index, start))
    }

    async fn block(&self, core: &S::Core, index: u64) -> Result<Bytes, DriveError> {
        let fetched = self.state.lock().fetched.get(&index).cloned();
        let fetch = match fetched {
            // What failed ahead of time may succeed now.
            Some(fetch) if !matches!(fetch.peek(), Some(Err(_))) => fetch,
            _ => match core.get_now(index) {
                Some(block) => return Ok(block),
                None => self.fetch(core, index),
            },
        };
        Ok(fetch.await?)
    }

    /// Starts fetching the blocks from `index` on that the next `reach` bytes need,
    /// as far as can be told.
    fn fetch_ahead(&self, core: &S::Core, index: u64, reach: u64) {
        let mut state = self.state.lock();
        let window = reach.div_ceil(state.largest.max(1)).min(state.window());
        if window < 2 || (1..=window / 2).all(|n| state.fetched.contains_key(&(index + n))) {
            return;
        }
        let end = index.saturating_add(window).min(self.extent.end());
        for ahead in index..end {
            if state.fetched.contains_key(&ahead) {
                continue;
            }
            let fetch = match core.get_now(ahead) {
                Some(block) => std::future::ready(Ok(block)).boxed().shared(),
                None => self.start_fetch(core, ahead),
            };
            state.keep(ahead, fetch);
        }
    }

    fn fetch(&self, core: &S::Core, index: u64) -> Fetch {
        let mut state = self.state.lock();
        if let Some(fetch) = state.fetched.get(&index)
            && !matches!(fetch.peek(), Some(Err(_)))
        {
            return fetch.clone();
        }
        let fetch = self.start_fetch(core, index);
        // So that others who need it now share it.
        state.keep(index, fetch.clone());
        fetch
    }

    fn start_fetch(&self, core: &S::Core, index: u64) -> Fetch {
        let (core, options) = (core.clone(), self.content.get_options());
        let task = tokio::spawn(async move { core.get(index, options).await });
        let task = AbortOnDropHandle::new(task);
        async move { task.await.unwrap_or(Err(CoreError::Cancelled)) }.boxed().shared()
    }
}

impl State {
    /// Does a read of `offset..end` go on where the last one ended?
    fn moves_on(&mut self, offset: u64, end: u64) -> bool {
        let near = offset.abs_diff(self.last_end) <= NEAR;
        if !near {
            self.ahead.jumped();
        }
        self.last_end = if near { self.last_end.max(end) } else { end };
        near
    }

    fn learn(&mut self, start: u64, index: u64, size: u64) {
        self.largest = self.largest.max(size);
        self.starts.insert(start, index);
        while self.starts.len() > STARTS_MAX {
            // The first stays: it is the only one that need not be asked for.
            let Some((&second, _)) = self.starts.range(1..).next() else { break };
            self.starts.remove(&second);
        }
    }

    /// How many blocks to fetch ahead.
    fn window(&self) -> u64 {
        (AHEAD_BYTES / self.largest.max(1)).clamp(1, AHEAD_BLOCKS)
    }

    fn forget(&mut self, index: u64) {
        if self.fetched.remove(&index).is_some() {
            self.order.retain(|kept| *kept != index);
        }
    }

    fn keep(&mut self, index: u64, fetch: Fetch) {
        if self.fetched.insert(index, fetch).is_none() {
            self.order.push_back(index);
        }
        // Twice the window: reads that overtake each other find what they need.
        while self.order.len() as u64 > 2 * self.window() {
            if let Some(oldest) = self.order.pop_front() {
                self.fetched.remove(&oldest);
            }
        }
    }
}

/// Pieces that make up a read; one alone is not copied.
#[derive(Default)]
struct Parts {
    first: Bytes,
    all: BytesMut,
}

impl Parts {
    fn push(&mut self, part: Bytes) {
        if self.all.is_empty() && self.first.is_empty() {
            self.first = part;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&part);
    }

    fn join(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

fn gather(blocks: &[(u64, Bytes)], offset: u64, end: u64) -> Bytes {
    let first = blocks.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
    let mut parts = Parts::default();
    for (start, block) in blocks[first..].iter().take_while(|(start, _)| *start < end) {
        let from = offset.saturating_sub(*start).min(block.len() as u64) as usize;
        let to = (end - start).min(block.len() as u64) as usize;
        parts.push(block.slice(from..to));
    }
    parts.join()
}

fn damaged(why: &str) -> DriveError {
    DriveError::Damaged(format!("a file cannot be read: {why}"))
}
