//! What can go wrong with a core, on either side of the RPC line.

/// Why a core could not do what was asked.
///
/// [`code`](Self::code) and the texts travel in HRPC errors; the texts that npm
/// hyperspace 3.19 has are kept, since its users' programs compare them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The block is not held here, and the caller did not want to ask peers.
    #[error("Block not downloaded")]
    NotDownloaded,
    /// No peer that can be reached has it.
    #[error("Block not available from peers")]
    NotAvailable,
    /// A byte offset beyond what anyone has.
    #[error("Seek not available from peers")]
    SeekNotAvailable,
    /// Nobody has a longer core.
    #[error("No update available from peers")]
    NoUpdate,
    /// The time given was not enough.
    #[error("Timed out")]
    Timeout,
    /// Given up by the caller.
    #[error("Request cancelled")]
    Cancelled,
    /// A download given up by the caller.
    #[error("Download was cancelled")]
    DownloadCancelled,
    /// Somebody else appended first; nothing was appended.
    #[error("The core has {length} blocks, which is not what the append expected")]
    Conflict {
        /// The core's length.
        length: u64,
    },
    /// Its signers have signed two different contents: see [`CoreEvent::Frozen`].
    ///
    /// [`CoreEvent::Frozen`]: crate::CoreEvent::Frozen
    #[error("The core was signed with two different contents, and is frozen")]
    Frozen,
    /// We hold no key that may append.
    #[error("This feed is not writable. Did you create it?")]
    NotWritable,
    /// The core was closed.
    #[error("Feed is closed")]
    Closed,
    /// A block larger than the format allows.
    #[error("A block of {size} bytes is too large; at most {max} are allowed")]
    BlockTooLarge {
        /// Its size.
        size: u64,
        /// What is allowed.
        max: u64,
    },
    /// The caller's arguments make no sense.
    #[error("{0}")]
    Invalid(String),
    /// What is stored here fails its checks.
    #[error("Stored data is damaged: {0}")]
    Corrupt(String),
    /// The disk failed us.
    #[error("{message}")]
    Io {
        /// What was being done, and what the system said.
        message: String,
        /// The system's error number, 0 if there was none.
        errno: i32,
    },
    /// The server is away.
    #[error("The Hyperspace server is not reachable: {0}")]
    Disconnected(String),
    /// The other side failed, and said only this.
    #[error("{message}")]
    Remote {
        /// Its text.
        message: String,
        /// Its code, empty if it gave none.
        code: String,
    },
}

impl CoreError {
    /// A short word for programs, as it travels in an HRPC error; empty for those
    /// errors that have always been told by their text alone.
    pub fn code(&self) -> &str {
        match self {
            Self::Conflict { .. } => "CONFLICT",
            Self::Frozen => "FROZEN",
            Self::Timeout => "ETIMEDOUT",
            Self::DownloadCancelled => "ECANCELED",
            Self::Corrupt(_) => "CORRUPT",
            Self::Io { .. } => "EIO",
            Self::BlockTooLarge { .. } => "TOO_LARGE",
            Self::Disconnected(_) => "ENOTCONN",
            Self::Remote { code, .. } => code,
            _ => "",
        }
    }

    /// Wraps a system error, saying what was being done.
    pub fn io(doing: impl std::fmt::Display, error: std::io::Error) -> Self {
        Self::Io { errno: error.raw_os_error().unwrap_or(0), message: format!("{doing}: {error}") }
    }

    /// May the same call succeed later, once peers or the server are back?
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NotDownloaded
                | Self::NotAvailable
                | Self::SeekNotAvailable
                | Self::NoUpdate
                | Self::Timeout
                | Self::Disconnected(_)
        )
    }
}
