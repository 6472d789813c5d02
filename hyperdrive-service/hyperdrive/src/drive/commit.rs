//! From a batch of operations to blocks in two cores.
//!
//! A batch is done upon the trie's [`Writer`] and is seen from then on. A commit
//! appends the content that waits, then the nodes, with the length expected. If
//! somebody else has appended in between, all waiting batches are done again upon the
//! new version: those that cannot be any more (their file is gone, say) are dropped,
//! each as a whole. Until they are in the core, batches are kept, however often the
//! server is away.
//!
//! Locks: `committing`, then `writing`. Only the first is held while the cores are
//! waited for, so batches come in while others go out.

use super::Inner;
use crate::ops::Edit;
use crate::proto::replace_field;
use crate::tree::Tree;
use crate::trie::Writer;
use crate::view::View;
use crate::{CommitPolicy, DriveError, Stat};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, Corestore};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Bytes that may wait for a commit; whoever comes with more, commits first.
const WAITING_MAX: u64 = 64 << 20;
/// Other writers may come in between so often during one commit.
const ATTEMPTS: usize = 64;
/// The longest pause between attempts to commit in the background.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Attempts in the background once nobody holds the drive any more.
const LAST_ATTEMPTS: u32 = 5;
/// Unanswered attempts remembered.
const IN_DOUBT_MAX: usize = 64;
/// The field of a node's block that has its value.
const VALUE: u32 = 2;

/// The changes of a drive that wait.
pub(crate) struct Writing<S: Corestore> {
    pub(super) writer: Writer<S::Core>,
    batches: Vec<Batch>,
    /// A task waits to commit them.
    scheduled: bool,
}

/// A batch that waits.
struct Batch {
    edits: Vec<Edit>,
    /// The writer's length after it.
    end: usize,
    /// Why it was dropped, for whoever waits for it.
    outcome: Arc<OnceLock<DriveError>>,
}

impl<S: Corestore> Writing<S> {
    pub(super) fn waits(&self) -> bool {
        !self.batches.is_empty()
    }

    fn new(writer: Writer<S::Core>) -> Self {
        Self { writer, batches: Vec::new(), scheduled: false }
    }
}

/// How many blocks there were in each attempt to append upon the writer's base that
/// got no answer, the earliest first.
#[derive(Default)]
pub(crate) struct InDoubt(Vec<usize>);

impl InDoubt {
    fn remember(&mut self, count: usize) {
        self.0.retain(|known| *known != count);
        // Each is larger than the last; the newest are the likeliest.
        if self.0.len() >= IN_DOUBT_MAX {
            self.0.remove(0);
        }
        self.0.push(count);
    }
}

impl<S: Corestore> Inner<S> {
    /// Does a batch.
    pub(crate) async fn apply(self: &Arc<Self>, edits: Vec<Edit>) -> Result<(), DriveError> {
        self.view().await?;
        let outcome = Arc::new(OnceLock::new());
        loop {
            let mut guard = self.writing.lock().await;
            let writing = self.writing_of(&mut guard).await?;
            if writing.writer.bytes() + self.content.pending_bytes() < WAITING_MAX {
                self.add(writing, edits, outcome.clone()).await?;
                if let CommitPolicy::Grouped { delay, bytes } = self.options.commit {
                    if !std::mem::replace(&mut writing.scheduled, true) {
                        tokio::spawn(commit_later(self.clone(), delay));
                    }
                    if writing.writer.bytes() + self.content.pending_bytes() >= bytes {
                        self.urgent.notify_one();
                    }
                    return Ok(());
                }
                break;
            }
            drop(guard);
            self.commit().await?;
        }
        let committed = self.commit().await;
        if let Err(error) = &committed {
            self.discard(error).await;
        }
        match outcome.get() {
            Some(error) => Err(error.clone()),
            None => committed,
        }
    }

    async fn writing_of<'w>(
        self: &Arc<Self>,
        writing: &'w mut Option<Writing<S>>,
    ) -> Result<&'w mut Writing<S>, DriveError> {
        if writing.is_none() {
            let version = self.view().await?.version();
            *writing = Some(Writing::new(Writer::new(self.trie.clone(), version)));
        }
        writing.as_mut().ok_or_else(|| DriveError::Invalid("The drive has no writer".into()))
    }

    /// Does a batch upon what waits already, or leaves that as it is.
    async fn add(
        &self,
        writing: &mut Writing<S>,
        mut edits: Vec<Edit>,
        outcome: Arc<OnceLock<DriveError>>,
    ) -> Result<(), DriveError> {
        let mounts_changed = self.run(&mut writing.writer, &mut edits).await?;
        writing.batches.push(Batch { edits, end: writing.writer.len(), outcome });
        self.show(&writing.writer, mounts_changed);
        Ok(())
    }

    /// Does all of `edits` or nothing; tells whether mounts changed.
    async fn run(&self, writer: &mut Writer<S::Core>, edits: &mut [Edit]) -> Result<bool, DriveError> {
        let before = writer.len();
        let mut tree = Tree::new(writer, &self.content);
        for edit in edits {
            if let Err(error) = tree.apply(edit).await {
                self.content.forget(&tree.pended);
                writer.roll_back(before);
                return Err(error);
            }
        }
        Ok(tree.mounts_changed)
    }

    /// Lets everybody see what the writer has.
    fn show(&self, writer: &Writer<S::Core>, mounts_changed: bool) {
        let snapshot = writer.snapshot();
        self.publish(match self.view_now() {
            Some(view) if !mounts_changed => view.with_same_mounts(snapshot),
            _ => View::new(snapshot, self.content.clone()),
        });
    }

    /// Commits what waits now.
    pub(crate) async fn commit(&self) -> Result<(), DriveError> {
        let mut in_doubt = self.committing.lock().await;
        for _ in 0..ATTEMPTS {
            let Some((blocks, base)) = self.waiting_blocks().await else {
                return self.content.commit().await;
            };
            self.content.commit().await?;
            let blocks: Vec<Bytes> = blocks.into_iter().map(|block| self.settled(block)).collect();
            match self.metadata().append(blocks.clone(), Some(base)).await {
                Ok(_) => {
                    self.committed(blocks.len()).await;
                    in_doubt.0.clear();
                }
                Err(CoreError::Conflict { length }) if length < base => {
                    in_doubt.0.clear();
                    self.shorten(length).await?;
                }
                Err(CoreError::Conflict { length }) => {
                    if let Some(count) = self.arrived(&in_doubt, base, &blocks).await? {
                        self.committed(count).await;
                    }
                    let changed = self.rebase(length).await?;
                    in_doubt.0.clear();
                    self.tell(changed).await;
                }
                Err(error) => {
                    in_doubt.remember(blocks.len());
                    return Err(error.into());
                }
            }
        }
        Err(CoreError::Conflict { length: self.metadata().length() }.into())
    }

    /// The nodes that wait, and the length they expect. Batches that came to none are
    /// done.
    async fn waiting_blocks(&self) -> Option<(Vec<Bytes>, u64)> {
        let mut guard = self.writing.lock().await;
        let writing = guard.as_mut()?;
        if writing.writer.is_empty() {
            writing.batches.clear();
            return None;
        }
        Some((writing.writer.blocks().to_vec(), writing.writer.base()))
    }

    /// How many of these blocks an earlier attempt did append, though its answer was
    /// lost.
    async fn arrived(
        &self,
        in_doubt: &InDoubt,
        base: u64,
        blocks: &[Bytes],
    ) -> Result<Option<usize>, CoreError> {
        for &count in in_doubt.0.iter().rev() {
            if let Some(blocks) = blocks.get(..count)
                && self.are_there(base, blocks).await?
            {
                return Ok(Some(count));
            }
        }
        Ok(None)
    }

    /// Commits, and waits for the disk.
    pub(crate) async fn flush(&self) -> Result<(), DriveError> {
        if !self.writable() || self.view_now().is_none() {
            return Ok(());
        }
        self.commit().await?;
        self.content.flush().await?;
        Ok(self.metadata().flush().await?)
    }

    /// A node's block, its content's place no longer provisional.
    fn settled(&self, block: Bytes) -> Bytes {
        let settle = |value: Bytes| {
            let mut stat = Stat::decode(value).ok()?;
            let extent = self.content.committed(stat.extent()).filter(|extent| *extent != stat.extent())?;
            stat.set_extent(extent);
            Some(stat.encode())
        };
        replace_field(&block, VALUE, settle).ok().flatten().unwrap_or(block)
    }

    /// Are exactly these blocks in the core, from `base` on?
    async fn are_there(&self, base: u64, blocks: &[Bytes]) -> Result<bool, CoreError> {
        for (index, block) in (base..).zip(blocks) {
            if index >= self.metadata().length()
                || self.metadata().get(index, self.content.get_options()).await? != block
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first `count` nodes are in the core.
    async fn committed(&self, count: usize) {
        let mut guard = self.writing.lock().await;
        let Some(writing) = guard.as_mut() else { return };
        writing.writer.committed(count);
        writing.batches.retain_mut(|batch| match batch.end.checked_sub(count) {
            Some(0) | None => false,
            Some(left) => {
                batch.end = left;
                true
            }
        });
        self.show(&writing.writer, false);
    }

    /// Takes over what others appended, up to `length`.
    pub(super) async fn follow(&self, length: u64) -> Result<(), DriveError> {
        if !self.writable() {
            // Before the lock: a drive must not have to be waited for to be closed.
            self.arrive(length).await?;
        }
        let mut in_doubt = self.committing.lock().await;
        if !in_doubt.0.is_empty() {
            // What was appended may be ours: the next commit finds out.
            return Ok(());
        }
        let changed = self.rebase(length).await?;
        in_doubt.0.clear();
        drop(in_doubt);
        self.tell(changed).await;
        Ok(())
    }

    /// Takes over what others appended, up to `length`, and does again what waits.
    /// By whoever holds `committing`. The versions between which others changed things.
    async fn rebase(&self, length: u64) -> Result<Range<u64>, DriveError> {
        let mut guard = self.writing.lock().await;
        let Some(writing) = guard.as_mut() else {
            // Nothing ever waited: only readers are to see it.
            return Ok(self.advance(length));
        };
        let length = length.max(self.metadata().length());
        let base = writing.writer.base();
        if length > base {
            self.replay(writing, length).await?;
        }
        Ok(base..length)
    }

    /// Does all waiting batches upon version `length`.
    async fn replay(&self, writing: &mut Writing<S>, length: u64) -> Result<(), DriveError> {
        let mut writer = Writer::new(self.trie.clone(), length);
        let mut ends = Vec::with_capacity(writing.batches.len());
        for batch in &mut writing.batches {
            match self.run(&mut writer, &mut batch.edits).await {
                Ok(_) => ends.push(Ok(writer.len())),
                Err(DriveError::Core(error)) => return Err(error.into()),
                Err(error) => ends.push(Err(error)),
            }
        }
        let mut ends = ends.into_iter();
        writing.batches.retain_mut(|batch| match ends.next() {
            Some(Ok(end)) => {
                batch.end = end;
                true
            }
            Some(Err(error)) => {
                tracing::warn!(drive = %self.metadata().key(), %error,
                    "another writer was faster; a change that is not possible any more is dropped");
                let _ = batch.outcome.set(error);
                false
            }
            None => false,
        });
        writing.writer = writer;
        self.show(&writing.writer, true);
        Ok(())
    }

    /// Gives up all that waits: whoever waits for it is told why.
    async fn discard(&self, error: &DriveError) {
        self.committing.lock().await.0.clear();
        let mut guard = self.writing.lock().await;
        let Some(writing) = guard.as_mut() else { return };
        for batch in writing.batches.drain(..) {
            let _ = batch.outcome.set(error.clone());
        }
        writing.writer.roll_back(0);
        self.show(&writing.writer, true);
    }

    /// The core is shorter than before: its author rewrote history.
    pub(super) async fn truncated(&self, length: u64) -> Result<(), DriveError> {
        self.committing.lock().await.0.clear();
        self.shorten(length).await
    }

    /// Goes back to `length`, and does again what waits. By whoever holds `committing`.
    async fn shorten(&self, length: u64) -> Result<(), DriveError> {
        let mut guard = self.writing.lock().await;
        self.trie.truncated(length);
        let length = length.max(1);
        match guard.as_mut() {
            Some(writing) => self.replay(writing, length).await?,
            None => self.publish(View::new(self.trie.at(length), self.content.clone())),
        }
        self.tell_all();
        Ok(())
    }
}

/// Commits what waits, `delay` after the first of it came, or when that is urgent.
/// Keeps the drive open until then.
async fn commit_later<S: Corestore>(inner: Arc<Inner<S>>, delay: Duration) {
    let mut pause = delay;
    let mut attempts = 0;
    loop {
        let _ = tokio::time::timeout(pause, inner.urgent.notified()).await;
        let result = inner.commit().await;
        if let Some(writing) = inner.writing.lock().await.as_mut()
            && (result.is_ok() && !writing.waits())
        {
            writing.scheduled = false;
            return;
        }
        let Err(error) = result else {
            // More has come in the meantime.
            (pause, attempts) = (delay, 0);
            continue;
        };
        attempts += 1;
        let drive = inner.metadata().key();
        // Nobody but us has it, its registry included.
        if Arc::strong_count(&inner) <= 1 && attempts >= LAST_ATTEMPTS {
            tracing::error!(%drive, %error, "changes are lost: they could not be committed, and the drive was closed");
            return;
        }
        tracing::warn!(%drive, %error, "changes wait: they could not be committed yet");
        pause = (pause * 2).clamp(Duration::from_millis(50), PAUSE_MAX);
    }
}
