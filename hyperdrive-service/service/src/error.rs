//! What the service and its client tell their users.

use hyperdrive::DriveError;
use hyperspace_api::CoreError;

/// A failure, with a text for people and a kind for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The caller asked for something that makes no sense; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// The configuration is missing or damaged.
    #[error("{0}")]
    Config(String),
    /// The drive refused.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// A core refused, or the server is away.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The computer's own files.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The mount.
    #[error("{0}")]
    Mount(String),
}

impl ServiceError {
    pub(crate) fn usage(text: String) -> Self {
        Self::Usage(text)
    }

    pub(crate) fn config(text: String) -> Self {
        Self::Config(text)
    }

    pub(crate) fn io(doing: impl std::fmt::Display, source: std::io::Error) -> Self {
        Self::Io { doing: doing.to_string(), source }
    }

    /// What to do about it, where that is not in the text.
    pub fn advice(&self) -> Option<&'static str> {
        let core = match self {
            Self::Core(core) | Self::Drive(DriveError::Core(core)) => core,
            Self::Drive(DriveError::NotEmpty(_)) => {
                return Some("With --recursive a folder goes with all that is in it");
            }
            _ => return None,
        };
        match core {
            CoreError::NotDownloaded
            | CoreError::NotAvailable
            | CoreError::SeekNotAvailable
            | CoreError::NoUpdate
            | CoreError::Timeout => {
                Some("Nobody who is connected has this data. Try again later, or wait longer with --timeout")
            }
            _ => None,
        }
    }

    /// A short word for programs: an errno name where there is one.
    pub fn code(&self) -> &'static str {
        let errno = match self {
            Self::Usage(_) => return "USAGE",
            Self::Config(_) => return "CONFIG",
            Self::Mount(_) => return "MOUNT",
            Self::Core(CoreError::Disconnected(_)) => return "NOT_RUNNING",
            Self::Core(_) => return "CORE",
            Self::Drive(e) => e.errno(),
            Self::Io { source, .. } => source.raw_os_error().unwrap_or(0),
        };
        match nix::errno::Errno::from_raw(errno) {
            nix::errno::Errno::UnknownErrno => "UNKNOWN",
            nix::errno::Errno::ENOENT => "ENOENT",
            nix::errno::Errno::EEXIST => "EEXIST",
            nix::errno::Errno::ENOTEMPTY => "ENOTEMPTY",
            nix::errno::Errno::EISDIR => "EISDIR",
            nix::errno::Errno::ENOTDIR => "ENOTDIR",
            nix::errno::Errno::EROFS => "EROFS",
            nix::errno::Errno::EXDEV => "EXDEV",
            nix::errno::Errno::EINVAL => "EINVAL",
            nix::errno::Errno::EPERM => "EPERM",
            nix::errno::Errno::EACCES => "EACCES",
            nix::errno::Errno::ETIMEDOUT => "ETIMEDOUT",
            nix::errno::Errno::ENOSPC => "ENOSPC",
            nix::errno::Errno::ENODATA => "ENODATA",
            nix::errno::Errno::ELOOP => "ELOOP",
            nix::errno::Errno::ENAMETOOLONG => "ENAMETOOLONG",
            nix::errno::Errno::ENOTCONN => "ENOTCONN",
            _ => "EIO",
        }
    }
}
