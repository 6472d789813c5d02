//! Paths of the computer and paths of the drive.
//!
//! Commands take paths of the mounted folder, whether or not it is mounted, and
//! never touch the mount to resolve them: the working is done on the text, and on the
//! links that lead to the mountpoint.

use crate::ServiceError;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// The folder at the mount's root that shows any drive by its key.
pub const NETWORK: &str = "Network";

/// Is `path` the same as `folder`, or inside it? Both are of one drive.
pub(crate) fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

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

/// `path`, which is absolute and without `..`, with the links in it resolved. What lies
/// beneath `stop` is left as it is, and not looked at.
pub(crate) fn real(path: &Path, stop: Option<&Path>) -> PathBuf {
    /// As the system has it.
    const LINKS: usize = 40;
    let mut todo: Vec<OsString> = names(path);
    let mut done = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            done.pop();
            continue;
        }
        done.push(name);
        if stop == Some(&done) {
            break;
        }
        if links < LINKS
            && let Ok(target) = std::fs::read_link(&done)
        {
            links += 1;
            done.pop();
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            todo.extend(names(&target));
        }
    }
    done.extend(todo.into_iter().rev());
    done
}

/// The parts of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let part = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}

/// Where `path` lies in the drive that is mounted at `mnt` (an absolute path):
/// `/` for `mnt` itself.
pub fn in_drive(mnt: &Path, path: &Path) -> Result<String, ServiceError> {
    let whole = absolute(path)?;
    let inside = match whole.strip_prefix(mnt) {
        Ok(inside) => inside.to_owned(),
        // The working directory has its links resolved, and so may what programs give us.
        Err(_) => {
            let mount = real(mnt, None);
            let resolved = real(&whole, Some(&mount));
            let inside = resolved.strip_prefix(&mount).map(Path::to_owned);
            inside.map_err(|_| {
                ServiceError::usage(format!(
                    "Path {} is not contained within the current mountpoint, {}.",
                    whole.display(),
                    mnt.display()
                ))
            })?
        }
    };
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

    #[test]
    fn links_lead_to_the_mount_and_are_not_looked_for_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, base.join(at)).unwrap();
        std::fs::create_dir_all(base.join("disk/drive")).unwrap();
        link("disk", "home");
        link("home/drive", "short");
        link("round", "round");
        // In the mount: it would lead out of it.
        link("/etc", "disk/drive/l");
        let at = |mnt: &str, path: &str| in_drive(&base.join(mnt), &base.join(path)).unwrap();
        assert_eq!(at("home/drive", "disk/drive/a/b"), "/a/b");
        assert_eq!(at("disk/drive", "home/drive"), "/");
        assert_eq!(at("disk/drive", "short/l/x"), "/l/x");
        assert_eq!(at("short", "disk/drive/l/x"), "/l/x");
        assert_eq!(at("short", "short/l/x"), "/l/x");
        assert_eq!(at("home/new", "disk/new/x"), "/x");
        assert!(in_drive(&base.join("short"), &base.join("round/x")).is_err());
        assert!(in_drive(&base.join("short"), &base.join("disk/other")).is_err());
    }
}
