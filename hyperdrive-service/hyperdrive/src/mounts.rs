//! The mounts of one drive.
//!
//! A mount is two nodes: the mountpoint, which everybody sees, and a hidden record at
//! `mounts/<path>`, which says what is mounted. The original may leave the record
//! behind when the mountpoint goes; such a one counts for nothing.

use crate::DriveError;
use crate::path::{self, below, join};
use crate::proto::MountRecord;
use crate::trie::{ListOptions, Snapshot, flags};
use crate::view::MOUNT;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hyperspace_api::Core;
use std::collections::BTreeMap;

/// Where the records are.
pub(crate) const RECORDS: &str = "mounts";
/// Mounts one drive may have; more are a stranger's joke.
const MOUNTS_MAX: usize = 65_536;
/// Mountpoints that are looked at at the same time.
const AT_ONCE: usize = 64;

/// The flags of a mountpoint's node.
pub(crate) fn visible_flags() -> u64 {
    flags(MOUNT, false)
}

/// The key and value of the hidden record for a mountpoint.
pub(crate) fn record(key: &str, record: &MountRecord) -> (String, Bytes) {
    (join(RECORDS, key), record.encode())
}

/// The flags of a hidden record.
pub(crate) fn record_flags() -> u64 {
    flags(MOUNT, true)
}

/// What is mounted where.
#[derive(Clone, Debug, Default)]
pub(crate) struct MountTable {
    by_key: BTreeMap<String, MountRecord>,
}

impl MountTable {
    /// Reads the records, and sees whether their mountpoints are there.
    pub(crate) async fn read<C: Core>(snapshot: &Snapshot<C>) -> Result<Self, DriveError> {
        let options = ListOptions { hidden: true, gt: true, ..ListOptions::default() };
        let mut iter = snapshot.iter(RECORDS, options).await?;
        let mut records = Vec::new();
        let mut seen = 0;
        while let Some(node) = iter.next().await? {
            seen += 1;
            if seen > MOUNTS_MAX {
                return Err(DriveError::Damaged(format!("it has more than {MOUNTS_MAX} mounts")));
            }
            let Some(key) = below(node.key(), RECORDS).filter(|key| path::is_key(key)) else { continue };
            let record = node.value.clone().map(MountRecord::decode);
            let Some(Ok(record)) = record else { continue };
            records.push((key.to_owned(), record));
        }
        let points = stream::iter(records).map(async |(key, record)| {
            let point = snapshot.get(&key, false).await?;
            let mounted = point.is_some_and(|point| point.user_flags() & MOUNT != 0);
            Ok::<_, DriveError>(mounted.then_some((key, record)))
        });
        let by_key = points.buffer_unordered(AT_ONCE).try_filter_map(async |point| Ok(point)).try_collect();
        Ok(Self { by_key: by_key.await? })
    }

    /// The outermost mountpoint on the way to `key` (which may be one itself), what is
    /// mounted there, and what is left of the way.
    pub(crate) fn find<'k>(&self, key: &'k str) -> Option<(&'k str, &MountRecord, &'k str)> {
        if self.by_key.is_empty() {
            return None;
        }
        let ends = key.match_indices('/').map(|(at, _)| at).chain([key.len()]);
        ends.filter(|end| *end > 0).find_map(|end| {
            let point = &key[..end];
            Some((point, self.by_key.get(point)?, below(key, point)?))
        })
    }

    /// All mounts at or below `key`, sorted by path.
    pub(crate) fn under<'t>(&'t self, key: &'t str) -> impl Iterator<Item = (&'t str, &'t MountRecord)> {
        self.by_key
            .iter()
            .map(|(at, record)| (at.as_str(), record))
            .filter(move |(at, _)| below(at, key).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_counts() {
        let record = |n| MountRecord {
            key: [n; 32].into(),
            local_path: String::new(),
            version: None,
            remote_path: None,
        };
        let by_key = [("a/b", 1), ("a/b/c", 2), ("x", 3)].map(|(key, n)| (key.to_owned(), record(n)));
        let table = MountTable { by_key: by_key.into() };
        let found = |key| table.find(key).map(|(at, record, rest)| (at, record.key.as_bytes()[0], rest));
        assert_eq!(found("a/b/c/d"), Some(("a/b", 1, "c/d")));
        assert_eq!(found("a/b"), Some(("a/b", 1, "")));
        assert_eq!(found("a/bc"), None);
        assert_eq!(found("x/y"), Some(("x", 3, "y")));
        assert_eq!(found(""), None);
        assert_eq!(table.under("a").count(), 2);
        assert_eq!(table.under("").count(), 3);
    }
}
