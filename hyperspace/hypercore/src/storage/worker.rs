//! The two threads in the background: one folds journals into the database, the other
//! flushes files when somebody waits for that.

use super::compact::compact;
use super::disk::Shared;
use super::engine::{Lsn, Tailed};
use super::error::StoreError;
use super::fold::Fold;
use super::journal::{self, Journal, Record};
use super::op::Op;
use super::reclaim::{forget, reclaim};
use super::tail::JournalId;
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What was committed is folded, and thereby flushed, after this long.
const FOLD_AFTER: Duration = Duration::from_millis(900);

/// A write-ahead log of this size is copied into the database.
const CHECKPOINT_BYTES: u64 = 16 << 20;

type Reply = oneshot::Sender<Result<(), String>>;

/// How a thread is told that there is something to do.
#[derive(Default)]
pub struct Signal {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Default)]
struct Wanted {
    by: Option<Instant>,
    waiting: Vec<Reply>,
    last: Vec<Reply>,
    stop: bool,
}

impl Signal {
    /// To be done within a second.
    pub fn soon(&self) {
        self.within(FOLD_AFTER);
    }

    /// To be done at once.
    pub fn hurry(&self) {
        self.within(Duration::ZERO);
    }

    fn within(&self, time: Duration) {
        let mut state = self.state.lock();
        let by = Instant::now() + time;
        if state.by.is_none_or(|before| by < before) {
            state.by = Some(by);
            self.changed.notify_one();
        }
    }

    /// Has it done, and waits for that.
    pub async fn ask(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.stop {
                return Err(StoreError::Closed(String::new()));
            }
            state.waiting.push(reply);
            self.changed.notify_one();
        }
        wait(answer).await
    }

    /// Has it done for the last time, and waits until the thread has ended.
    pub async fn ask_last(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.stop {
                return Ok(());
            }
            state.stop = true;
            state.last.push(reply);
            self.changed.notify_one();
        }
        wait(answer).await
    }

    /// Ends the thread once it has done what is to be done.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_one();
    }

    /// Waits until there is something to do. Gives those who want to know when it is done,
    /// and whether it is the last time.
    fn next(&self) -> (Vec<Reply>, bool) {
        let mut state = self.state.lock();
        while !state.stop && state.waiting.is_empty() {
            match state.by {
                None => self.changed.wait(&mut state),
                Some(by) if by <= Instant::now() => break,
                Some(by) => {
                    self.changed.wait_until(&mut state, by);
                }
            }
        }
        state.by = None;
        (std::mem::take(&mut state.waiting), state.stop)
    }

    /// Takes those who wait for the end.
    fn take_last(&self) -> Vec<Reply> {
        let mut state = self.state.lock();
        let mut last = std::mem::take(&mut state.last);
        last.append(&mut state.waiting);
        last
    }
}

async fn wait(answer: oneshot::Receiver<Result<(), String>>) -> Result<(), StoreError> {
    match answer.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(StoreError::Io {
            doing: "writing to the disk".into(),
            source: std::io::Error::other(message),
        }),
        Err(_) => Err(StoreError::Closed(String::new())),
    }
}

fn reply(to: Vec<Reply>, result: &Result<(), StoreError>) {
    for reply in to {
        // Who asked may have given up.
        let _ = reply.send(result.as_ref().map(|_| ()).map_err(ToString::to_string));
    }
}

/// A journal that is complete, with what was committed to it.
struct Batch {
    id: JournalId,
    lsn: Lsn,
    bytes: usize,
    ops: Vec<Op>,
    pins: Vec<Arc<dyn Tailed>>,
}

/// The thread that folds.
pub struct Folder {
    shared: Arc<Shared>,
    db: Connection,
    /// What is to be folded; more than one only after a failure.
    batches: Vec<Batch>,
    /// Notes of freed space that were seen to.
    reclaimed: Option<i64>,
    /// The compactor has not done all it could.
    compact_more: bool,
}

impl Folder {
    /// A folder that writes through `db`.
    pub fn new(shared: Arc<Shared>, db: Connection) -> Self {
        Self { shared, db, batches: Vec::new(), reclaimed: None, compact_more: false }
    }

    /// Works until it is told to stop.
    pub fn run(mut self) {
        self.make_spare();
        loop {
            let (waiting, last) = self.shared.fold.next();
            if last {
                reply(waiting, &self.fold());
                break;
            }
            let result = self.fold();
            self.note(&result);
            reply(waiting, &result);
            self.make_spare();
        }
        let shared = self.shared.clone();
        let result = self.finish();
        if let Err(error) = &result {
            tracing::error!("closing the store: {error}");
        }
        // From here on another process may have the directory.
        *shared.lock.lock() = None;
        reply(shared.fold.take_last(), &result);
    }

    /// Lets everybody know how it goes.
    fn note(&self, result: &Result<(), StoreError>) {
        let trouble = result.as_ref().err().map(ToString::to_string);
        if let Some(trouble) = &trouble {
            tracing::error!("the database cannot be written, which is tried again: {trouble}");
            self.shared.fold.soon();
        }
        self.shared.in_trouble.store(trouble.is_some(), Ordering::Release);
        *self.shared.trouble.lock() = trouble;
        self.shared.room.notify_waiters();
    }

    fn fold(&mut self) -> Result<(), StoreError> {
        let settled = self.shared.segments.settled();
        self.rotate()?;
        if let Some(newest) = self.batches.last() {
            let (journal, lsn) = (newest.id, newest.lsn);
            // Blocks come before what refers to them.
            self.shared.segments.sync()?;
            if let Err(error) = self.write(journal) {
                if !self.db.is_autocommit() {
                    self.db.execute_batch("ROLLBACK").map_err(StoreError::sql("undoing what failed"))?;
                }
                return Err(error);
            }
            self.shared.flushed.fetch_max(lsn, Ordering::AcqRel);
            self.release(journal)?;
        }
        let seen = reclaim(&self.db, &self.shared.segments, &settled)?;
        // The notes stay until the next transaction; only new ones are a reason to compact.
        if (seen > self.reclaimed || self.compact_more) && self.shared.segments.cannot_punch() {
            self.compact_more = compact(&self.db, &self.shared.segments, &settled)?;
            if self.compact_more {
                self.shared.fold.soon();
            }
        }
        self.reclaimed = seen.or(self.reclaimed);
        self.checkpoint()
    }

    /// Closes the journal that is written, if there is anything in it.
    fn rotate(&mut self) -> Result<(), StoreError> {
        let mut log = self.shared.log.lock();
        if log.ops.is_empty() {
            return Ok(());
        }
        let Some(id) = log.journal.as_ref().map(Journal::id) else { return Ok(()) };
        let next = match log.spare.take() {
            Some(spare) => spare,
            None => Journal::create(&self.shared.dir, id + 1)?,
        };
        let Some(journal) = log.journal.replace(next) else { return Ok(()) };
        log.closed.push((journal.id(), journal.file().clone()));
        self.batches.push(Batch {
            id: journal.id(),
            lsn: log.lsn,
            bytes: std::mem::take(&mut log.bytes),
            ops: std::mem::take(&mut log.ops),
            pins: log.pins.drain().map(|(_, pin)| pin).collect(),
        });
        Ok(())
    }

    fn write(&mut self, journal: JournalId) -> Result<(), StoreError> {
        let mut fold = Fold::begin(&self.db)?;
        self.reclaimed.map_or(Ok(()), |last| forget(&self.db, last))?;
        self.batches.iter().flat_map(|batch| &batch.ops).try_for_each(|op| fold.apply(op))?;
        fold.commit(journal)?;
        self.reclaimed = None;
        Ok(())
    }

    /// Everything up to `journal` is in the database: memory and files can go.
    fn release(&mut self, journal: JournalId) -> Result<(), StoreError> {
        self.shared.catalog.lock().folded(journal);
        let mut bytes = 0;
        for batch in self.batches.drain(..) {
            batch.pins.iter().for_each(|core| core.folded(journal));
            bytes += batch.bytes;
        }
        self.shared.tail_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let closed: Vec<JournalId> = {
            let mut log = self.shared.log.lock();
            let closed = log.closed.iter().map(|(id, _)| *id).filter(|id| *id <= journal).collect();
            log.closed.retain(|(id, _)| *id > journal);
            closed
        };
        for id in closed {
            let path = journal::path(&self.shared.dir, id);
            std::fs::remove_file(&path).map_err(StoreError::io(format!("removing {}", path.display())))?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        let wal = self.shared.dir.join("hyperspace.db-wal");
        if std::fs::metadata(&wal).map_or(0, |meta| meta.len()) < CHECKPOINT_BYTES {
            return Ok(());
        }
        self.db
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .map_err(StoreError::sql("tidying the database"))
    }

    /// Makes the next journal in advance, so that nobody has to wait for it.
    fn make_spare(&self) {
        let next = {
            let log = self.shared.log.lock();
            match (&log.journal, &log.spare) {
                (Some(journal), None) => journal.id() + 1,
                _ => return,
            }
        };
        let made = Journal::create(&self.shared.dir, next)
            .and_then(|spare| super::lock::sync_dir(&self.shared.dir).map(|()| spare));
        match made {
            // Only this thread rotates: nobody has made that journal meanwhile.
            Ok(spare) => self.shared.log.lock().spare = Some(spare),
            // It is tried again when it is needed; the failure counts then.
            Err(error) => tracing::warn!("making a journal: {error}"),
        }
    }

    /// Leaves the directory as it should be found.
    fn finish(mut self) -> Result<(), StoreError> {
        self.shared.log.lock().failed.get_or_insert_default();
        self.fold()?;
        if !self.batches.is_empty() {
            return Ok(());
        }
        self.shared.db.close();
        if let Some(last) = self.reclaimed.take() {
            forget(&self.db, last)?;
        }
        self.db
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(StoreError::sql("tidying the database"))?;
        let unused: Vec<Journal> = {
            let mut log = self.shared.log.lock();
            let (journal, spare) = (log.journal.take(), log.spare.take());
            journal.into_iter().chain(spare).collect()
        };
        for journal in unused {
            let path = journal::path(&self.shared.dir, journal.id());
            std::fs::remove_file(&path).map_err(StoreError::io(format!("removing {}", path.display())))?;
        }
        Ok(())
    }
}

/// The thread that flushes.
pub fn run_flusher(shared: &Shared) {
    loop {
        let (waiting, last) = shared.flush.next();
        if !waiting.is_empty() {
            let result = flush(shared);
            if let Err(error) = &result {
                // What the system did not write, it may have forgotten: nothing that is
                // built on top of it can be trusted.
                tracing::error!("flushing failed; the store takes no more commits: {error}");
                shared.log.lock().failed = Some(format!(": {error}"));
            }
            reply(waiting, &result);
        }
        if last {
            reply(shared.flush.take_last(), &Err(StoreError::Closed(String::new())));
            return;
        }
    }
}

fn flush(shared: &Shared) -> Result<(), StoreError> {
    let (lsn, files) = {
        let log = shared.log.lock();
        let current = log.journal.iter().map(|journal| (journal.id(), journal.file().clone()));
        (log.lsn, log.closed.iter().cloned().chain(current).collect::<Vec<_>>())
    };
    if shared.flushed.load(Ordering::Acquire) >= lsn {
        return Ok(());
    }
    shared.segments.sync()?;
    for (id, file) in files {
        rustix::fs::fdatasync(&file)
            .map_err(StoreError::io(format!("flushing {}", journal::path(&shared.dir, id).display())))?;
    }
    shared.flushed.fetch_max(lsn, Ordering::AcqRel);
    // See `recover`: what comes before this mark was on the disk.
    let mark = Record::new(&[Op::Flushed])?;
    match &mut shared.log.lock().journal {
        Some(journal) => journal.append(mark),
        None => Ok(()),
    }
}
