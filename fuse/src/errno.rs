//! Error numbers, as every operation of the filesystem answers them.

use hyperdrive::DriveError;
use hyperspace_api::CoreError;
use std::fmt;
use std::io;

/// A Linux error number (`libc::E…`), never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

macro_rules! known {
    ($($name:ident)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Self = Self(libc::$name);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $(libc::$name => f.write_str(stringify!($name)),)*
                    other => write!(f, "Errno({other})"),
                }
            }
        }
    };
}
known! {
    E2BIG EACCES EBADF EBUSY EEXIST EFBIG EINVAL EIO EISDIR ELOOP ENAMETOOLONG ENODATA ENOENT ENOSPC
    ENOSYS ENOTDIR ENOTEMPTY ENXIO EOPNOTSUPP EPERM ERANGE EROFS ESTALE ETIMEDOUT EXDEV
}

impl Errno {
    /// The number.
    pub fn code(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

impl From<DriveError> for Errno {
    fn from(error: DriveError) -> Self {
        let errno = error.errno();
        if errno == libc::EIO {
            // The kernel's callers see a bare number: this is the only place that knows more.
            tracing::warn!(%error, "the drive failed");
        }
        Self(if errno > 0 { errno } else { libc::EIO })
    }
}

impl From<CoreError> for Errno {
    fn from(error: CoreError) -> Self {
        DriveError::from(error).into()
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().filter(|code| *code > 0).unwrap_or(libc::EIO))
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}
