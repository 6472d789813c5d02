//! What can go wrong with the store on the disk.

use crate::encoding::DecodeError;
use hyperspace_api::CoreError;
use std::io;
use std::path::PathBuf;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the directory open.
    #[error("{} is already in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory was made with another primary key.
    #[error("{} has another primary key than the one given", .0.display())]
    OtherPrimaryKey(PathBuf),
    /// The directory was made by a version of this program that is newer than this one.
    #[error("{} has storage format {found}; this program knows formats up to {known}", .path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The system failed us.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The database failed us.
    #[error("{doing}: {source}")]
    Sql {
        /// What was being done.
        doing: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Something stored fails its checks.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The store was closed, or an earlier failure left it unable to write.
    #[error("the store is closed{0}")]
    Closed(String),
    /// The caller's arguments make no sense.
    #[error("{0}")]
    Invalid(String),
}

impl StoreError {
    /// For `map_err`: a system error, and what was being done.
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source: source.into() }
    }

    /// For `map_err`: a database error, and what was being done.
    pub(crate) fn sql(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sql { doing: doing.into(), source }
    }
}

impl From<DecodeError> for StoreError {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<StoreError> for CoreError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io { doing, source } => CoreError::io(doing, source),
            StoreError::Damaged(what) => CoreError::Corrupt(what),
            StoreError::Closed(_) => CoreError::Closed,
            StoreError::Invalid(what) => CoreError::Invalid(what),
            StoreError::Sql { ref source, .. }
                if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) =>
            {
                CoreError::Io { message: error.to_string(), errno: rustix::io::Errno::NOSPC.raw_os_error() }
            }
            other => CoreError::Io { message: other.to_string(), errno: 0 },
        }
    }
}
