//! Giving disk space back.
//!
//! A fold notes which ranges of segments are no longer needed, in the same transaction that
//! drops the rows; only when that is on the disk are the ranges punched out of their files.
//! What a crash leaves undone is done when the store is opened again.

use super::StoreError;
use super::segment::{SegmentId, Segments, Settled};
use rusqlite::{Connection, OptionalExtension, params};
use std::ops::Range;

fn sql() -> impl FnOnce(rusqlite::Error) -> StoreError {
    StoreError::sql("giving space back")
}

/// Gives back what is noted. Returns the number of the last note that was seen to, which
/// [`forget`] is to be told when convenient.
pub fn reclaim(db: &Connection, segments: &Segments, settled: &Settled) -> Result<Option<i64>, StoreError> {
    let mut query = db
        .prepare_cached("SELECT id, segment, offset, size FROM freed ORDER BY segment, offset")
        .map_err(sql())?;
    let mut rows = query.query([]).map_err(sql())?;
    let mut last = None;
    let mut ranges: Vec<(SegmentId, Range<u64>)> = Vec::new();
    while let Some(row) = rows.next().map_err(sql())? {
        last = last.max(Some(row.get::<_, i64>(0).map_err(sql())?));
        let id: SegmentId = row.get(1).map_err(sql())?;
        let offset = row.get::<_, i64>(2).map_err(sql())? as u64;
        let end = offset + row.get::<_, i64>(3).map_err(sql())? as u64;
        match ranges.last_mut() {
            Some((before, range)) if *before == id && range.end >= offset => range.end = range.end.max(end),
            _ => ranges.push((id, offset..end)),
        }
    }
    let mut at = 0;
    while let Some((id, _)) = ranges.get(at) {
        let id = *id;
        let count = ranges[at..].iter().take_while(|(other, _)| *other == id).count();
        let sealed = settled.limit(id) == u64::MAX && !segments.is_active(id);
        if sealed && is_empty(db, id)? {
            segments.remove(id)?;
        } else {
            for (_, range) in &ranges[at..at + count] {
                segments.punch(id, widen(db, id, range.clone(), settled.limit(id))?)?;
            }
        }
        at += count;
    }
    Ok(last)
}

/// Forgets the notes up to `last`. Runs within the caller's transaction, or as its own.
pub fn forget(db: &Connection, last: i64) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM freed WHERE id <= ?")
        .and_then(|mut delete| delete.execute([last]))
        .map(drop)
        .map_err(sql())
}

fn is_empty(db: &Connection, id: SegmentId) -> Result<bool, StoreError> {
    db.prepare_cached("SELECT 1 FROM extents WHERE segment = ? LIMIT 1")
        .and_then(|mut query| query.query_row([id], |_| Ok(())).optional())
        .map(|row| row.is_none())
        .map_err(sql())
}

/// Files give space back in whole pages: takes in what is unused on either side, so that a
/// page which two neighbours shared goes with the second of them.
fn widen(db: &Connection, id: SegmentId, range: Range<u64>, limit: u64) -> Result<Range<u64>, StoreError> {
    if range.end > limit {
        // Something that was just written may lie next to it.
        return Ok(range);
    }
    let before: Option<i64> = db
        .prepare_cached(
            "SELECT offset + size FROM extents
             WHERE segment = ? AND offset < ? ORDER BY segment DESC, offset DESC LIMIT 1",
        )
        .and_then(|mut query| query.query_row(params![id, range.start as i64], |row| row.get(0)).optional())
        .map_err(sql())?;
    let after: Option<i64> = db
        .prepare_cached(
            "SELECT offset FROM extents
             WHERE segment = ? AND offset >= ? ORDER BY segment, offset LIMIT 1",
        )
        .and_then(|mut query| query.query_row(params![id, range.end as i64], |row| row.get(0)).optional())
        .map_err(sql())?;
    let start = before.map_or(0, |end| end as u64);
    let end = after.map_or(range.end.next_multiple_of(4096).min(limit), |start| (start as u64).min(limit));
    Ok(start.min(range.start)..end.max(range.end))
}
