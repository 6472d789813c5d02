//! A drive into a folder of the computer: what is new or changed is written, nothing
//! is ever removed.
//!
//! The drive may be a stranger's. A name that is no plain name (`..`, empty, with NUL)
//! is left out and reported, and nothing is ever written through a symbolic link.

use crate::client::RemoteDrive;
use crate::import::{EXPORT_KEY, Summary};
use crate::mirror::{self, Event};
use crate::{HyperdriveClient, ServiceError, paths};
use hyperdrive::{Stat, WalkOptions};
use hyperspace_api::Key;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes that are read from the drive and written to the disk at a time.
const PIECE: usize = 1024 * 1024;

/// Brings `dir` in line with `at` of `drive`, once; with `mounts`, the drives mounted
/// in it as well.
pub async fn export(
    drive: &RemoteDrive,
    at: &str,
    dir: &Path,
    mounts: bool,
    progress: &mut (dyn FnMut(Event) + Send),
) -> Result<Summary, ServiceError> {
    std::fs::create_dir_all(dir).map_err(|e| writing(dir, e))?;
    let entries = drive.walk(at, WalkOptions { mounts }).await?;
    let bytes = entries.iter().filter(|(_, stat)| stat.is_file()).map(|(_, stat)| stat.size).sum();
    progress(Event::Total { entries: entries.len() as u64, bytes });
    let mut summary = Summary::default();
    // Folders get their times last: filling them changes them.
    let mut folders = Vec::new();
    for (path, stat) in entries {
        let Some(inside) = mirror::relative(at, &path).filter(|inside| !inside.is_empty()) else { continue };
        let inside = inside.to_owned();
        match one(drive, &path, &stat, dir, &inside).await {
            Ok(true) => {
                summary.written += 1;
                summary.bytes += if stat.is_file() { stat.size } else { 0 };
                progress(Event::Written { path: inside.clone(), bytes: stat.size });
            }
            Ok(false) => {
                summary.unchanged += 1;
                progress(Event::Unchanged { path: inside.clone(), bytes: stat.size });
            }
            Err(e) => {
                summary.failed += 1;
                progress(Event::Failed { path: inside.clone(), error: e.to_string() });
                continue;
            }
        }
        if stat.is_dir() {
            folders.push((dir.join(&inside), stat));
        }
    }
    for (path, stat) in folders.into_iter().rev() {
        // The folder is there; that its time could not be set is not worth a failure.
        let _ = std::fs::File::open(&path).and_then(|folder| folder.set_modified(time(&stat)));
    }
    Ok(summary)
}

async fn one(
    drive: &RemoteDrive,
    path: &str,
    stat: &Stat,
    dir: &Path,
    inside: &str,
) -> Result<bool, ServiceError> {
    let to = safe_path(dir, inside)?;
    let there = to.symlink_metadata().ok();
    if there.as_ref().is_some_and(|there| mirror::kind(there.mode()) != mirror::kind(stat.mode)) {
        return Err(ServiceError::usage(format!(
            "{} is in the way: it is of another kind. Move it away and export again.",
            to.display()
        )));
    }
    if stat.is_dir() {
        if there.is_none() {
            std::fs::create_dir(&to).map_err(|e| writing(&to, e))?;
        }
        return Ok(there.is_none());
    }
    if stat.is_symlink() {
        let target = stat.linkname.as_deref().unwrap_or_default();
        if there.is_some() && std::fs::read_link(&to).is_ok_and(|old| old == Path::new(target)) {
            return Ok(false);
        }
        if there.is_some() {
            std::fs::remove_file(&to).map_err(|e| writing(&to, e))?;
        }
        std::os::unix::fs::symlink(target, &to).map_err(|e| writing(&to, e))?;
        return Ok(true);
    }
    if !stat.is_file() {
        return Err(ServiceError::usage(format!("{path} is of a kind that has no content.")));
    }
    if there.is_some_and(|there| there.len() == stat.size && there.modified().is_ok_and(|t| t == time(stat)))
    {
        return Ok(false);
    }
    write_file(drive, path, &to).await?;
    Ok(true)
}

/// Writes a file beside its place, then moves it there: a reader sees the old one or
/// the new one.
async fn write_file(drive: &RemoteDrive, path: &str, to: &Path) -> Result<(), ServiceError> {
    let located = drive.locate(path).await?;
    let reader = located.drive.reader(&located.stat);
    let parent = to.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new()
        .prefix(".hyperdrive-export-")
        .tempfile_in(parent)
        .map_err(|e| writing(to, e))?;
    let mut offset = 0;
    while offset < located.stat.size {
        let bytes = reader.read(offset, PIECE).await?;
        if bytes.is_empty() {
            return Err(ServiceError::usage(format!("{path} ends before its size says.")));
        }
        offset += bytes.len() as u64;
        new = tokio::task::spawn_blocking(move || new.write_all(&bytes).map(|()| new))
            .await
            .map_err(|e| writing(to, std::io::Error::other(e)))?
            .map_err(|e| writing(to, e))?;
    }
    let mode = located.stat.mode & 0o777;
    new.as_file().set_permissions(PermissionsExt::from_mode(mode)).map_err(|e| writing(to, e))?;
    new.as_file().set_modified(time(&located.stat)).map_err(|e| writing(to, e))?;
    new.persist(to).map_err(|e| writing(to, e.error))?;
    Ok(())
}

/// `dir/inside`, once every part of it is known to be a plain name and every folder
/// on the way a real one, made if it is missing.
fn safe_path(dir: &Path, inside: &str) -> Result<PathBuf, ServiceError> {
    let mut path = dir.to_owned();
    let mut parts = inside.split('/').peekable();
    while let Some(name) = parts.next() {
        if matches!(name, "" | "." | "..") || name.contains('\0') {
            return Err(ServiceError::usage(format!("{inside:?} has a name that no folder can have.")));
        }
        path.push(name);
        if parts.peek().is_none() {
            break;
        }
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                return Err(ServiceError::usage(format!(
                    "{} is in the way: it is no folder. Move it away and export again.",
                    path.display()
                )));
            }
            Err(_) => std::fs::create_dir(&path).map_err(|e| writing(&path, e))?,
        }
    }
    Ok(path)
}

impl HyperdriveClient {
    /// The drive to export and the folder to export it into: those given, else the
    /// ones that the working directory is an export of, else a folder named by the key.
    pub async fn export_target(
        &self,
        key: Option<Key>,
        dir: Option<PathBuf>,
    ) -> Result<(RemoteDrive, PathBuf), ServiceError> {
        let here = paths::absolute(Path::new("."))?;
        let resumed = mirror::read_key(&dir.as_deref().unwrap_or(&here).join(EXPORT_KEY))?;
        let key = key.or(resumed).ok_or_else(|| {
            ServiceError::usage(
                "If you are not resuming a previous download, a key must be specified.".to_owned(),
            )
        })?;
        let dir = match dir {
            Some(dir) => paths::absolute(&dir)?,
            None if resumed == Some(key) => here,
            None => here.join(key.to_string()),
        };
        std::fs::create_dir_all(&dir).map_err(|e| writing(&dir, e))?;
        mirror::write_key(&dir.join(EXPORT_KEY), key)?;
        Ok((self.drives().open(key, None).await?, dir))
    }
}

fn writing(path: &Path, e: std::io::Error) -> ServiceError {
    ServiceError::io(format!("Could not write {}", path.display()), e)
}

fn time(stat: &Stat) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(stat.mtime)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_outside() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["..", "../x", "a/../../x", "a//b", "", "a/\0", "./a"] {
            assert!(safe_path(dir.path(), bad).is_err(), "{bad:?}");
        }
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        assert!(safe_path(dir.path(), "link/passwd").is_err());
        assert_eq!(safe_path(dir.path(), "new/x").unwrap(), dir.path().join("new/x"));
        assert!(dir.path().join("new").is_dir());
    }
}
