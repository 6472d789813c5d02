//! The past of a drive: its log, what changed since a version, and names for versions.

use crate::client::no_such_version;
use crate::{HyperdriveClient, ServiceError, Target, mirror};
use serde::Serialize;
use std::collections::BTreeMap;

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// Its content, attributes or target are others.
    Changed,
    /// It is gone.
    Removed,
}

/// One path that differs between two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path in the drive.
    pub path: String,
    /// What became of it.
    pub kind: ChangeKind,
    /// Its size now, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// One write in a drive's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    /// The drive's version after it.
    pub version: u64,
    /// The path written. (A removal is told by the path beside it that was rewritten:
    /// the format has no mark for what is gone.)
    pub path: String,
    /// Its size then, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl HyperdriveClient {
    /// A version number, or the version that a tag names.
    pub async fn version(&self, target: &Target, text: &str) -> Result<u64, ServiceError> {
        if let Ok(version) = text.parse() {
            return Ok(version);
        }
        self.tags(target).await?.get(text).copied().ok_or_else(|| {
            ServiceError::usage(format!(
                "{text:?} is neither a version number nor a tag. To list tags: hyperdrive tag PATH"
            ))
        })
    }

    /// The newest `limit` writes, the newest first.
    pub async fn log(&self, target: &Target, limit: usize) -> Result<Vec<LogEntry>, ServiceError> {
        let drive = self.drive(target).await?;
        let mut entries = drive.history(limit).await?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.version));
        Ok(entries
            .into_iter()
            .map(|entry| LogEntry {
                version: entry.version,
                path: entry.path,
                size: entry.stat.filter(|stat| stat.is_file()).map(|stat| stat.size),
            })
            .collect())
    }

    /// What is different now from what it was at version `from`, beneath `target`.
    pub async fn diff(&self, target: &Target, from: u64) -> Result<Vec<Change>, ServiceError> {
        let located = self.locate(target).await?;
        let current = located.drive.version();
        if from > current {
            return Err(no_such_version(from, current));
        }
        let mut changes: Vec<Change> = located
            .drive
            .diff(from, &located.path)
            .await?
            .into_iter()
            .filter(|entry| entry.new != entry.old)
            .map(|entry| Change {
                kind: match (&entry.old, &entry.new) {
                    (None, _) => ChangeKind::Added,
                    (Some(_), None) => ChangeKind::Removed,
                    (Some(_), Some(_)) => ChangeKind::Changed,
                },
                size: entry.new.as_ref().filter(|stat| stat.is_file()).map(|stat| stat.size),
                path: mirror::join("/", entry.path.trim_start_matches('/')),
            })
            .collect();
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(changes)
    }

    /// Every tag of the drive, and the version it names.
    pub async fn tags(&self, target: &Target) -> Result<BTreeMap<String, u64>, ServiceError> {
        let drive = self.drive(target).await?;
        Ok(drive.tags().await?.into_iter().collect())
    }

    /// Names a version; without one, the current. Returns the version named.
    pub async fn create_tag(
        &self,
        target: &Target,
        name: &str,
        version: Option<u64>,
    ) -> Result<u64, ServiceError> {
        let drive = self.drive(target).await?;
        let version = version.unwrap_or_else(|| drive.version());
        if version > drive.version() {
            return Err(no_such_version(version, drive.version()));
        }
        drive.create_tag(name, Some(version)).await?;
        self.flush().await?;
        Ok(version)
    }

    /// Takes a name away.
    pub async fn delete_tag(&self, target: &Target, name: &str) -> Result<(), ServiceError> {
        let drive = self.drive(target).await?;
        if !self.tags(target).await?.contains_key(name) {
            return Err(ServiceError::usage(format!("There is no tag {name:?}.")));
        }
        drive.delete_tag(name).await?;
        self.flush().await
    }
}
