//! Where a filesystem cannot punch holes: copying what is still needed out of segments that
//! are mostly unused, so that those can be removed.

use super::StoreError;
use super::db::{core_of, read_extent, write_extent};
use super::extent::Place;
use super::segment::{SegmentId, Segments, Settled};
use rusqlite::Connection;

/// Segments below this size are left alone.
const MIN_BYTES: u64 = 1 << 20;

fn sql() -> impl FnOnce(rusqlite::Error) -> StoreError {
    StoreError::sql("compacting")
}

/// Copies what is needed of the emptiest segment that is less than half in use, if there is
/// one, and removes it. Readers who looked where it was look again. One segment a call: the
/// next commits should not have to wait for more. Tells whether there may be another.
pub fn compact(db: &Connection, segments: &Segments, settled: &Settled) -> Result<bool, StoreError> {
    let mut again = false;
    let mut emptiest: Option<(f64, SegmentId)> = None;
    for (id, size) in segments.list()? {
        let used: i64 = db
            .prepare_cached("SELECT coalesce(sum(size), 0) FROM extents WHERE segment = ?")
            .and_then(|mut query| query.query_row([id], |row| row.get(0)))
            .map_err(sql())?;
        let share = used as f64 / size.max(1) as f64;
        if size < MIN_BYTES || share >= 0.5 {
            continue;
        }
        if segments.is_active(id) {
            // From the next time on it can be a candidate.
            segments.seal(id);
            again = true;
        } else if settled.limit(id) == u64::MAX && emptiest.is_none_or(|(least, _)| share < least) {
            emptiest = Some((share, id));
        }
    }
    let Some((_, id)) = emptiest else { return Ok(again) };
    tracing::debug!(segment = id, "compacting");
    db.execute_batch("BEGIN IMMEDIATE").map_err(sql())?;
    let moved = move_extents(db, segments, id).and_then(|()| {
        // The copies come before the rows that refer to them.
        segments.sync()?;
        db.execute_batch("COMMIT").map_err(sql())
    });
    if let Err(error) = moved {
        if !db.is_autocommit() {
            db.execute_batch("ROLLBACK").map_err(sql())?;
        }
        return Err(error);
    }
    segments.remove(id)?;
    Ok(true)
}

fn move_extents(db: &Connection, segments: &Segments, id: SegmentId) -> Result<(), StoreError> {
    let mut query =
        db.prepare("SELECT id, count, segment, offset, body FROM extents WHERE segment = ?").map_err(sql())?;
    let mut rows = query.query([id]).map_err(sql())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql())? {
        let number: i64 = row.get(0).map_err(sql())?;
        match read_extent(row) {
            Ok(extent) => found.push((core_of(number), extent)),
            // It cannot be read anyway.
            Err(StoreError::Damaged(what)) => tracing::error!("{what}"),
            Err(error) => return Err(error),
        }
    }
    for (core, extent) in found {
        let Place::Segment { offset, .. } = extent.place() else { continue };
        let (to, offset, _reservation) = segments.copy(id, *offset, extent.size())?;
        write_extent(db, core, &extent.at(to, offset))?;
    }
    Ok(())
}
