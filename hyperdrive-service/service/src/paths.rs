//! Paths of the computer and paths of the drive.
//!
//! Commands take paths of the mounted folder, whether or not it is mounted, and
//! never touch the mount to resolve them: the working is done on the text alone.

use crate::ServiceError;
use std::path::{Component, Path, PathBuf};

/// The folder at the mount's root that shows any drive by its key.
pub const NETWORK: &str = "Network";

/// `path` from the working directory, without `.` and `..`.
pub fn absolute(path: &Path) -> Result<PathBuf, ServiceError> {
    let mut out = if path.is_absolute() {
        PathBuf::from("/")
    } else {
        std::env::current_dir()
            .map_err(|e| ServiceError::usage(format!("The working directory is gone: {e}")))?
    };
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(out)
}

/// Where `path` lies in the drive that is mounted at `mnt` (an absolute path):
/// `/` for `mnt` itself.
pub fn in_drive(mnt: &Path, path: &Path) -> Result<String, ServiceError> {
    let whole = absolute(path)?;
    let inside = whole.strip_prefix(mnt).map_err(|_| {
        ServiceError::usage(format!(
            "Path {} is not contained within the current mountpoint, {}.",
            whole.display(),
            mnt.display()
        ))
    })?;
    let mut out = String::new();
    for part in inside.components() {
        let name = part.as_os_str().to_str().ok_or_else(|| {
            ServiceError::usage(format!("Path {} is not UTF-8, as names in drives are.", whole.display()))
        })?;
        out.push('/');
        out.push_str(name);
    }
    if out.is_empty() {
        out.push('/');
    }
    if out == format!("/{NETWORK}") || out.starts_with(&format!("/{NETWORK}/")) {
        return Err(ServiceError::usage(
            "Hyperdrive commands cannot be run on the Network directory. Mount the drive by its key first."
                .to_owned(),
        ));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_and_outside() {
        let mnt = Path::new("/home/x/Hyperdrive");
        let at = |p: &str| in_drive(mnt, Path::new(p));
        assert_eq!(at("/home/x/Hyperdrive").unwrap(), "/");
        assert_eq!(at("/home/x/Hyperdrive/").unwrap(), "/");
        assert_eq!(at("/home/x/Hyperdrive/a/./b/../c").unwrap(), "/a/c");
        assert_eq!(at("/home/x/Hyperdrive/NetworkFiles").unwrap(), "/NetworkFiles");
        assert!(at("/home/x/Hyperdrive2").is_err());
        assert!(at("/home/x/Hyperdrive/../y").is_err());
        assert!(at("/home/x/Hyperdrive/Network").is_err());
        assert!(at("/home/x/Hyperdrive/Network/abc").is_err());
    }
}
