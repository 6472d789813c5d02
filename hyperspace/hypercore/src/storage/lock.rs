//! A store's directory: who has it, and its primary key.

use super::StoreError;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Held while the directory is in use; the system lets go of it if the process dies.
pub struct DirLock(#[allow(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl DirLock {
    /// Makes the directory if need be (0700: it has secrets), and takes it.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(StoreError::io(format!("making {}", dir.display())))?;
        let path = dir.join("LOCK");
        let file = open_private(&path, OFlags::RDWR | OFlags::CREATE)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(dir.to_path_buf())),
            Err(error) => Err(StoreError::io(format!("locking {}", path.display()))(error)),
        }
    }
}

/// Opens a file that only its owner may read, without following a link.
pub fn open_private(path: &Path, flags: OFlags) -> Result<File, StoreError> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(File::from(file)),
        Err(error) => Err(StoreError::io(format!("opening {}", path.display()))(error)),
    }
}

/// Makes a directory's entries survive a loss of power.
pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    let doing = || format!("flushing {}", dir.display());
    let file = File::open(dir).map_err(StoreError::io(doing()))?;
    file.sync_all().map_err(StoreError::io(doing()))
}

/// The store's primary key: the one in the directory, or else `given`, or else a new one.
pub fn primary_key(dir: &Path, given: Option<[u8; 32]>) -> Result<[u8; 32], StoreError> {
    let path = dir.join("primary-key");
    match open_private(&path, OFlags::RDONLY) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(64)
                .read_to_end(&mut bytes)
                .map_err(StoreError::io(format!("reading {}", path.display())))?;
            let stored: [u8; 32] = bytes
                .try_into()
                .map_err(|_| StoreError::Damaged(format!("{} does not have 32 bytes", path.display())))?;
            match given {
                Some(given) if given != stored => Err(StoreError::OtherPrimaryKey(dir.to_path_buf())),
                _ => Ok(stored),
            }
        }
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let key = given.map_or_else(crate::corestore::random, Ok)?;
            write_key(dir, &path, &key)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// Writes the key so that after a crash it is there whole or not at all.
fn write_key(dir: &Path, path: &Path, key: &[u8; 32]) -> Result<(), StoreError> {
    let new: PathBuf = dir.join("primary-key.new");
    let mut file = open_private(&new, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
    let doing = || format!("writing {}", new.display());
    file.write_all(key).map_err(StoreError::io(doing()))?;
    file.sync_all().map_err(StoreError::io(doing()))?;
    std::fs::rename(&new, path).map_err(StoreError::io(doing()))?;
    sync_dir(dir)
}
