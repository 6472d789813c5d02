//! Large files go to the drive while they are still being written.
//!
//! A file that is written from its end on, as nearly all large files are, is appended
//! to the content core in the background: its bytes touch no temporary file, and
//! closing it is quick. Nothing names them in the index before the commit. If somebody
//! else appends in between, or the writer goes back, staging takes over, and the commit
//! writes the file as a whole.

use super::Filesystem;
use super::commit::held_in;
use super::open_file::{Base, OpenFile, State};
use crate::errno::Errno;
use bytes::{Bytes, BytesMut};
use hyperdrive::{DriveError, Extent};
use hyperspace_api::Corestore;
use std::sync::Arc;

/// Bytes that are worth an append.
const CHUNK: u64 = 1 << 20;
/// Bytes that wait while others are on their way, before the writer must wait as well.
const WAITING: u64 = 2 << 20;
/// Span of staged bytes that is kept in memory while a file is streamed.
pub(super) const WINDOW: u64 = 4 << 20;

impl<S: Corestore> State<S> {
    /// Does the file end with what is staged, all before that being in the drive or
    /// on its way?
    pub(super) fn streams(&self) -> bool {
        self.may_stream
            && self.base_limit == self.in_drive()
            && self.staging.ranges().span().is_none_or(|span| span.start == self.base_limit)
    }

    /// Bytes that are in the drive, or on their way there.
    fn in_drive(&self) -> u64 {
        self.base.size() + self.in_flight.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }

    /// Takes what is staged, to be appended. `None` if that is not worth it.
    fn take_chunk(&mut self) -> Option<Bytes> {
        if self.in_flight.is_some() || !self.streams() {
            return None;
        }
        let chunk = self.staging.take(CHUNK)?;
        self.base_limit += chunk.len() as u64;
        self.in_flight = Some(chunk.clone());
        Some(chunk)
    }

    fn congested(&self) -> bool {
        self.draining && self.staging.ranges().span().is_some_and(|span| span.end - span.start > WAITING)
    }
}

impl<S: Corestore> OpenFile<S> {
    /// Appends chunks as long as there are some.
    async fn drain(self: Arc<Self>) {
        loop {
            let _one = self.committing.lock().await;
            let (leaf, base, chunk) = {
                let mut state = self.state();
                let Some(chunk) = state.take_chunk() else {
                    state.draining = false;
                    self.drained.notify_waiters();
                    return;
                };
                (state.leaf.clone(), state.base.clone(), chunk)
            };
            let appended: Result<Option<Extent>, DriveError> = match base {
                Base::Extent { extent, .. } => leaf.extend_content(extent, chunk).await,
                Base::Bytes(first) => {
                    let whole = if first.is_empty() { chunk } else { join(&first, &chunk) };
                    let size = whole.len() as u64;
                    leaf.write_content(whole, size).await.map(Some)
                }
            };
            let mut state = self.state();
            match appended {
                Ok(Some(extent)) => {
                    state.base = held_in(&leaf, extent);
                    state.in_flight = None;
                }
                failed => {
                    if let Err(error) = failed {
                        tracing::debug!(%error, "a large file is staged, not streamed");
                    }
                    // The chunk stays where reads, and the commit, find it.
                    state.may_stream = false;
                }
            }
            self.drained.notify_waiters();
        }
    }
}

fn join(first: &Bytes, second: &Bytes) -> Bytes {
    let mut all = BytesMut::with_capacity(first.len() + second.len());
    all.extend_from_slice(first);
    all.extend_from_slice(second);
    all.freeze()
}

impl<S: Corestore> Filesystem<S> {
    /// Starts to append what was staged, if it is enough.
    pub(super) fn stream(&self, ino: u64, file: &Arc<OpenFile<S>>) {
        if self.is_orphan(ino) {
            return; // It will never be committed.
        }
        let mut state = file.state();
        let enough = state.staging.ranges().span().is_some_and(|span| span.end - span.start >= CHUNK);
        if enough && !state.draining && state.streams() {
            state.draining = true;
            self.runtime.spawn(file.clone().drain());
        }
    }

    /// Does the writer of `ino` outrun the drive? It should wait for
    /// [`drained`](Self::drained) then.
    pub fn congested(&self, ino: u64) -> bool {
        self.open_file(ino).is_some_and(|file| file.state().congested())
    }

    /// Returns when there is room for more.
    pub async fn drained(&self, ino: u64) -> Result<(), Errno> {
        let file = self.open_file(ino).ok_or(Errno::EBADF)?;
        loop {
            let notified = file.drained.notified();
            if !file.state().congested() {
                return Ok(());
            }
            notified.await;
        }
    }
}
