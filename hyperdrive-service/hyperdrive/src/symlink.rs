//! Symbolic links, resolved as POSIX does: relative to the link's own directory, an
//! absolute one from the drive's root, `..` at the root staying there.

use crate::path::{join, key_of, path_of, split};
use crate::{Drive, DriveError};
use hyperspace_api::Corestore;

/// Links on the way to one path.
const LINKS_MAX: usize = 40;
/// Names still to go through: each link may add some.
const NAMES_MAX: usize = 16 * 1024;

impl<S: Corestore> Drive<S> {
    /// `path` with every link in it resolved, the last one too. Nothing need be at the
    /// end of it.
    ///
    /// # Errors
    /// `ELOOP` after 40 links; `ENOTDIR`.
    pub async fn follow(&self, path: &str) -> Result<String, DriveError> {
        let mut done = String::new();
        let mut names: Vec<String> = key_of(path)?.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = names.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    done.truncate(split(&done).map_or(0, |(dir, _)| dir.len()));
                    continue;
                }
                _ => done = join(&done, &name),
            }
            let target = match self.stat(&path_of(&done)).await {
                Ok(stat) if stat.is_symlink() => stat.linkname.unwrap_or_default(),
                Ok(_) => continue,
                Err(DriveError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            links += 1;
            if links > LINKS_MAX || names.len() + target.len() / 2 > NAMES_MAX {
                return Err(DriveError::Loop(path.into()));
            }
            match target.starts_with('/') {
                true => done.clear(),
                false => done.truncate(split(&done).map_or(0, |(dir, _)| dir.len())),
            }
            names.extend(target.split('/').rev().map(str::to_owned));
        }
        Ok(path_of(&done))
    }
}
