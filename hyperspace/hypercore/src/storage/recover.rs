//! What is done when a store is opened that was not closed.

use super::StoreError;
use super::fold::Fold;
use super::journal::{self, Contents};
use super::op::Op;
use super::segment;
use super::tail::JournalId;
use rusqlite::Connection;
use std::path::Path;

/// Puts what is in the journals into the database, and removes them. Returns the number of
/// the next journal.
///
/// The journals are believed up to the first record that is damaged, or whose blocks are not
/// in their segment as they should be. Such blocks can only be missing after a loss of power,
/// and only if they were never flushed: ending there keeps what happened before, and nothing
/// of what happened after. If a later record says that everything was flushed, it must be the
/// medium that lost the block; then only that block is lost.
pub fn recover(
    dir: &Path,
    segments: &Path,
    db: &Connection,
    folded: JournalId,
) -> Result<JournalId, StoreError> {
    let ids = journal::list(dir)?;
    let Some(newest) = ids.last().copied() else { return Ok(folded + 1) };
    let next = newest.max(folded) + 1;
    if let Some(oldest) = ids.iter().find(|id| **id > folded)
        && *oldest > folded + 1
    {
        tracing::error!(folded, oldest, "the database is older than the oldest journal: something was lost");
    }
    let mut commits = read_all(dir, ids.iter().copied().filter(|id| *id > folded))?;
    let flushed = commits.iter().rposition(|commit| commit.contains(&Op::Flushed)).unwrap_or(0);
    let torn = commits
        .iter()
        .enumerate()
        .skip(flushed)
        .find(|(_, commit)| commit.iter().any(|op| !is_sound(segments, op)))
        .map(|(at, _)| at);
    if let Some(at) = torn {
        tracing::warn!(lost = commits.len() - at, "blocks of unflushed commits did not survive");
        commits.truncate(at);
    }
    let count = commits.iter().filter(|commit| !commit.contains(&Op::Flushed)).count();
    if count > 0 {
        tracing::info!(commits = count, "the store was not closed; recovering");
    }
    // An interrupted recovery is simply begun anew.
    let mut fold = Fold::begin(db)?;
    commits.iter().flatten().try_for_each(|op| fold.apply(op))?;
    fold.commit(next - 1)?;
    for id in ids {
        let path = journal::path(dir, id);
        std::fs::remove_file(&path).map_err(StoreError::io(format!("removing {}", path.display())))?;
    }
    Ok(next)
}

fn read_all(dir: &Path, ids: impl Iterator<Item = JournalId>) -> Result<Vec<Vec<Op>>, StoreError> {
    let mut all = Vec::new();
    let mut ids = ids.peekable();
    while let Some(id) = ids.next() {
        let Contents { commits, cut } = journal::read(dir, id)?;
        all.extend(commits);
        if cut > 0 {
            tracing::warn!(journal = id, bytes = cut, "a journal has a torn end");
            if ids.peek().is_some() {
                // What follows may depend on what is lost.
                tracing::warn!("later journals are left out");
            }
            break;
        }
    }
    Ok(all)
}

fn is_sound(segments: &Path, op: &Op) -> bool {
    match op {
        Op::Extent { extent, .. } => segment::is_sound(segments, extent),
        _ => true,
    }
}
