//! What can go wrong with a drive, in the terms of POSIX.

use hyperspace_api::CoreError;

/// Why a drive could not do what was asked. The text names the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// `ENOENT`
    #[error("No such file or directory: '{0}'")]
    NotFound(String),
    /// `EEXIST`
    #[error("'{0}' exists already")]
    Exists(String),
    /// `ENOTEMPTY`
    #[error("Directory '{0}' is not empty")]
    NotEmpty(String),
    /// `EISDIR`
    #[error("'{0}' is a directory")]
    IsDir(String),
    /// `ENOTDIR`
    #[error("'{0}' is not a directory")]
    NotDir(String),
    /// `EROFS`: a drive of somebody else, or an old version.
    #[error("The drive that holds '{0}' is read-only")]
    ReadOnly(String),
    /// `EXDEV`: what was asked spans two drives.
    #[error("'{0}' is in another drive")]
    CrossDrive(String),
    /// `EINVAL`
    #[error("{0}")]
    Invalid(String),
    /// `ENAMETOOLONG`
    #[error("The name '{0}' is too long: a name has at most 255 bytes")]
    NameTooLong(String),
    /// `ELOOP`
    #[error("Too many levels of symbolic links or mounts: '{0}'")]
    Loop(String),
    /// `ENODATA`: no such extended attribute.
    #[error("No such attribute: {0}")]
    NoAttr(String),
    /// `EPERM`
    #[error("Not permitted: {0}")]
    NotPermitted(String),
    /// `EOPNOTSUPP`: a core that holds something else than a drive.
    #[error("{0}")]
    Unsupported(String),
    /// `EIO`: what the drive's author stored makes no sense.
    #[error("The drive is damaged: {0}")]
    Damaged(String),
    /// What was to be stored could not be read.
    #[error("{message}")]
    Source {
        /// What the system said.
        message: String,
        /// Its error number, `EIO` if it gave none.
        errno: i32,
    },
    /// A core failed us; [`errno`](Self::errno) tells data that nobody has now
    /// (`ETIMEDOUT`) from a server that is away (`EIO`). Never `ENOENT`.
    #[error(transparent)]
    Core(#[from] CoreError),
}

/// Linux's error numbers, by name; the same everywhere this crate runs.
mod number {
    pub const EPERM: i32 = 1;
    pub const ENOENT: i32 = 2;
    pub const EIO: i32 = 5;
    pub const EEXIST: i32 = 17;
    pub const EXDEV: i32 = 18;
    pub const ENOTDIR: i32 = 20;
    pub const EISDIR: i32 = 21;
    pub const EINVAL: i32 = 22;
    pub const EFBIG: i32 = 27;
    pub const EROFS: i32 = 30;
    pub const ENAMETOOLONG: i32 = 36;
    pub const ENOTEMPTY: i32 = 39;
    pub const ELOOP: i32 = 40;
    pub const ENODATA: i32 = 61;
    pub const EOPNOTSUPP: i32 = 95;
    pub const ETIMEDOUT: i32 = 110;
    pub const ECANCELED: i32 = 125;
}

impl DriveError {
    /// The error number that a system call would give (Linux's numbering).
    pub fn errno(&self) -> i32 {
        use number::*;
        match self {
            Self::NotFound(_) => ENOENT,
            Self::Exists(_) => EEXIST,
            Self::NotEmpty(_) => ENOTEMPTY,
            Self::IsDir(_) => EISDIR,
            Self::NotDir(_) => ENOTDIR,
            Self::ReadOnly(_) => EROFS,
            Self::CrossDrive(_) => EXDEV,
            Self::Invalid(_) => EINVAL,
            Self::NameTooLong(_) => ENAMETOOLONG,
            Self::Loop(_) => ELOOP,
            Self::NoAttr(_) => ENODATA,
            Self::NotPermitted(_) => EPERM,
            Self::Unsupported(_) => EOPNOTSUPP,
            Self::Damaged(_) => EIO,
            Self::Source { errno, .. } => *errno,
            Self::Core(error) => core_errno(error),
        }
    }

    /// Is it that the path is not there?
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// May the same call succeed later, once peers or the server are back?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Core(error) if error.is_transient())
    }
}

impl From<std::io::Error> for DriveError {
    fn from(error: std::io::Error) -> Self {
        Self::Source { message: error.to_string(), errno: error.raw_os_error().unwrap_or(number::EIO) }
    }
}

fn core_errno(error: &CoreError) -> i32 {
    use number::*;
    match error {
        CoreError::NotDownloaded
        | CoreError::NotAvailable
        | CoreError::SeekNotAvailable
        | CoreError::NoUpdate
        | CoreError::Timeout => ETIMEDOUT,
        CoreError::Cancelled | CoreError::DownloadCancelled => ECANCELED,
        CoreError::NotWritable => EROFS,
        CoreError::BlockTooLarge { .. } => EFBIG,
        CoreError::Invalid(_) => EINVAL,
        CoreError::Io { errno, .. } if *errno > 0 => *errno,
        _ => EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unavailable_data_is_never_enoent() {
        for error in [CoreError::NotAvailable, CoreError::NotDownloaded, CoreError::Timeout] {
            assert_eq!(DriveError::from(error).errno(), 110);
        }
        assert_eq!(DriveError::from(CoreError::Disconnected("gone".into())).errno(), 5);
        assert_eq!(DriveError::NotFound("/a".into()).errno(), 2);
    }
}
