//! A folder of the computer into a drive: what is new or changed is written, what is
//! gone is removed, the rest is left alone.
//!
//! "Unchanged" means the same kind, size, permissions and modification time (to the
//! millisecond that drives keep). Ignore files (`.gitignore`, `.git/info/exclude`,
//! `.ignore`, `.hyperignore`) are honoured as git does; `.git` and `node_modules` are left out
//! unless asked for. Symbolic links stay links.

use crate::client::RemoteDrive;
use crate::mirror::{self, Event};
use crate::{HyperdriveClient, ServiceError};
use bytes::Bytes;
use hyperdrive::{Attrs, Content, ContentSource, DriveError, Op, Stat, WalkOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a folder remembers the drive it is imported into: the raw 32 bytes of its key.
pub const IMPORT_KEY: &str = ".hyperdrive-import-key";
/// Where a folder remembers the drive it is an export of.
pub const EXPORT_KEY: &str = ".hyperdrive-export-key";
/// Ignore file of our own, in the syntax of `.gitignore`.
const IGNORE_FILE: &str = ".hyperignore";

/// A file up to this size travels inside its operation; a larger one is streamed.
const SMALL: u64 = 512 * 1024;
/// Operations and bytes of one batch.
const BATCH: (usize, u64) = (500, 8 * 1024 * 1024);

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Honour ignore files.
    pub ignore_files: bool,
    /// Take `.git` and `node_modules` too.
    pub all: bool,
    /// Leave in the drive what is not in the folder.
    pub keep: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { ignore_files: true, all: false, keep: false }
    }
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Files, folders and links written.
    pub written: u64,
    /// Left as they were.
    pub unchanged: u64,
    /// Removed.
    pub removed: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// Could not be read or written.
    pub failed: u64,
}

/// Something found in the folder.
struct Found {
    path: PathBuf,
    meta: std::fs::Metadata,
}

/// Brings `at` of `drive` in line with `dir`, once.
///
/// A file that cannot be read is reported as an [`Event::Failed`] and counted, and the
/// rest goes on; a drive that cannot be written ends it.
pub async fn import(
    drive: &RemoteDrive,
    at: &str,
    dir: &Path,
    options: &ImportOptions,
    progress: &mut (dyn FnMut(Event) + Send),
) -> Result<Summary, ServiceError> {
    writable(drive)?;
    let (root, opts) = (dir.to_owned(), options.clone());
    let found = tokio::task::spawn_blocking(move || scan(&root, &opts))
        .await
        .map_err(|e| ServiceError::Mount(format!("The folder could not be read: {e}")))??;
    progress(Event::Total {
        entries: found.len() as u64,
        bytes: found.values().map(|f| size_of(&f.meta)).sum(),
    });

    let mut importer = Importer { drive, at, summary: Summary::default(), ops: Vec::new(), bytes: 0 };
    let mut present: BTreeMap<String, Stat> = match drive.walk(at, WalkOptions { mounts: false }).await {
        Ok(entries) => entries
            .into_iter()
            .filter_map(|(path, stat)| Some((mirror::relative(at, &path)?.to_owned(), stat)))
            .filter(|(path, _)| !path.is_empty())
            .collect(),
        Err(DriveError::NotFound { .. }) => BTreeMap::new(),
        Err(e) => return Err(e.into()),
    };
    // What changed its kind, or went, makes room first; the deepest go first.
    let gone: BTreeSet<String> = present
        .iter()
        .filter(|(path, stat)| match found.get(path.as_str()) {
            Some(new) => mirror::kind(stat.mode) != mirror::kind(new.meta.mode()) && stat.mount.is_none(),
            None => !options.keep && !is_ours(path) && stat.mount.is_none(),
        })
        .map(|(path, _)| path.clone())
        .collect();
    // Nothing beneath a mount was walked, but a folder with a mount in it has to stay.
    let mounts: Vec<String> =
        present.iter().filter(|(_, s)| s.mount.is_some()).map(|(p, _)| p.clone()).collect();
    for path in gone.iter().rev() {
        if mounts.iter().any(|mount| mirror::relative(path, mount).is_some()) {
            continue;
        }
        let Some(stat) = present.remove(path) else { continue };
        importer.remove(path, &stat).await?;
        progress(Event::Removed { path: path.clone() });
    }
    for (path, new) in &found {
        match importer.bring(path, new, present.get(path)).await {
            Ok(true) => progress(Event::Written { path: path.clone(), bytes: size_of(&new.meta) }),
            Ok(false) => progress(Event::Unchanged { path: path.clone(), bytes: size_of(&new.meta) }),
            Err(ServiceError::Io { doing, source }) => {
                importer.summary.failed += 1;
                progress(Event::Failed { path: path.clone(), error: format!("{doing}: {source}") });
            }
            Err(e) => return Err(e),
        }
    }
    importer.commit().await?;
    drive.flush().await?;
    Ok(importer.summary)
}

fn writable(drive: &RemoteDrive) -> Result<(), ServiceError> {
    if drive.writable() {
        return Ok(());
    }
    Err(ServiceError::usage(format!(
        "The target drive is not writable: {} was made elsewhere. Leave the key out for a new drive.",
        drive.key()
    )))
}

struct Importer<'a> {
    drive: &'a RemoteDrive,
    at: &'a str,
    summary: Summary,
    ops: Vec<Op>,
    bytes: u64,
}

impl Importer<'_> {
    async fn push(&mut self, op: Op, bytes: u64) -> Result<(), ServiceError> {
        self.ops.push(op);
        self.bytes += bytes;
        if self.ops.len() >= BATCH.0 || self.bytes >= BATCH.1 {
            self.commit().await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ServiceError> {
        self.bytes = 0;
        let ops = std::mem::take(&mut self.ops);
        if !ops.is_empty() {
            self.drive.apply(ops).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, path: &str, stat: &Stat) -> Result<(), ServiceError> {
        let path = mirror::join(self.at, path);
        self.summary.removed += 1;
        if stat.is_dir() {
            // A folder that was only implied went with the last thing in it.
            self.commit().await?;
            return match self.drive.apply(vec![Op::Rmdir { path }]).await {
                Ok(()) | Err(DriveError::NotFound { .. }) => Ok(()),
                Err(e) => Err(e.into()),
            };
        }
        self.push(Op::Unlink { path }, 0).await
    }

    /// Writes one thing if it differs; tells whether it did.
    async fn bring(&mut self, path: &str, new: &Found, old: Option<&Stat>) -> Result<bool, ServiceError> {
        let meta = &new.meta;
        let attrs = attrs_of(meta);
        let same_attrs =
            |old: &Stat| old.mode & 0o7777 == attrs.mode && old.mtime == attrs.mtime.unwrap_or(0);
        let to = mirror::join(self.at, path);
        if meta.is_dir() {
            match old {
                Some(_) => {
                    self.summary.unchanged += 1;
                    return Ok(false);
                }
                None => self.push(Op::Mkdir { path: to, attrs }, 0).await?,
            }
        } else if meta.is_symlink() {
            let target = std::fs::read_link(&new.path).map_err(|e| reading(&new.path, e))?;
            let target = target.to_str().ok_or_else(|| reading(&new.path, not_utf8()))?.to_owned();
            if old.is_some_and(|old| old.linkname.as_deref() == Some(&target)) {
                self.summary.unchanged += 1;
                return Ok(false);
            }
            if old.is_some() {
                self.push(Op::Unlink { path: to.clone() }, 0).await?;
            }
            self.push(Op::Symlink { path: to, target, attrs }, 0).await?;
        } else {
            if old.is_some_and(|old| old.size == meta.len() && same_attrs(old)) {
                self.summary.unchanged += 1;
                return Ok(false);
            }
            let (content, bytes) = self.content(&new.path, meta.len()).await?;
            self.summary.bytes += bytes;
            self.push(Op::PutFile { path: to, attrs, content }, bytes).await?;
        }
        self.summary.written += 1;
        Ok(true)
    }

    async fn content(&self, path: &Path, size: u64) -> Result<(Content, u64), ServiceError> {
        if size == 0 {
            return Ok((Content::Empty, 0));
        }
        if size <= SMALL {
            let bytes = tokio::fs::read(path).await.map_err(|e| reading(path, e))?;
            let size = bytes.len() as u64;
            // It may have grown meanwhile; then it is streamed as any large file.
            if size <= SMALL {
                return Ok((if size == 0 { Content::Empty } else { Content::Bytes(bytes.into()) }, size));
            }
        }
        let file = std::fs::File::open(path).map_err(|e| reading(path, e))?;
        let size = file.metadata().map_err(|e| reading(path, e))?.len();
        let extent = self.drive.write_content(FileSource(Arc::new(file)), size).await?;
        Ok((Content::Extent(extent), size))
    }
}

/// A file of the computer as the content of a file of a drive.
pub(crate) struct FileSource(pub(crate) Arc<std::fs::File>);

impl ContentSource for FileSource {
    async fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Bytes> {
        let file = self.0.clone();
        tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, offset)?;
            Ok(Bytes::from(buffer))
        })
        .await
        .map_err(std::io::Error::other)?
    }
}

fn reading(path: &Path, e: std::io::Error) -> ServiceError {
    ServiceError::io(format!("Could not read {}", path.display()), e)
}

fn not_utf8() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "not UTF-8, as names in drives are")
}

fn size_of(meta: &std::fs::Metadata) -> u64 {
    if meta.is_file() { meta.len() } else { 0 }
}

fn attrs_of(meta: &std::fs::Metadata) -> Attrs {
    let mtime = meta.mtime().max(0) as u64 * 1000 + meta.mtime_nsec().max(0) as u64 / 1_000_000;
    Attrs {
        mode: meta.permissions().mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: Some(mtime),
        ..Attrs::default()
    }
}

/// Files that this module and the export write into folders, not to be shared.
fn is_ours(path: &str) -> bool {
    path == IMPORT_KEY || path == EXPORT_KEY
}

/// Is a folder above `dir` a git repository?
fn is_in_repository(dir: &Path) -> bool {
    dir.canonicalize().is_ok_and(|dir| dir.ancestors().skip(1).any(|above| above.join(".git").exists()))
}

/// Everything in `dir` that is to be imported, by its path from there with `/`.
fn scan(dir: &Path, options: &ImportOptions) -> Result<BTreeMap<String, Found>, ServiceError> {
    let meta = std::fs::metadata(dir).map_err(|e| reading(dir, e))?;
    if !meta.is_dir() {
        return Err(ServiceError::usage(format!("{} is not a folder.", dir.display())));
    }
    let all = options.all;
    let mut walk = ignore::WalkBuilder::new(dir);
    walk.standard_filters(false)
        .git_ignore(options.ignore_files)
        .git_exclude(options.ignore_files)
        .ignore(options.ignore_files)
        .require_git(false)
        // Those above the folder count for git within a repository only.
        .parents(options.ignore_files && is_in_repository(dir))
        .follow_links(false)
        .filter_entry(move |entry| {
            all || entry.depth() == 0 || !matches!(entry.file_name().to_str(), Some(".git" | "node_modules"))
        });
    if options.ignore_files {
        walk.add_custom_ignore_filename(IGNORE_FILE);
    }
    let mut found = BTreeMap::new();
    for entry in walk.build() {
        let entry = entry.map_err(|e| {
            ServiceError::io(
                format!("Could not read {}", dir.display()),
                std::io::Error::other(e.to_string()),
            )
        })?;
        if entry.depth() == 0 {
            continue;
        }
        let inside = entry.path().strip_prefix(dir).unwrap_or(entry.path());
        let Some(path) = inside.to_str().map(str::to_owned) else {
            return Err(reading(entry.path(), not_utf8()));
        };
        let meta = entry.path().symlink_metadata().map_err(|e| reading(entry.path(), e))?;
        let kind = meta.file_type();
        if is_ours(&path) || !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
            continue;
        }
        found.insert(path, Found { path: entry.path().to_owned(), meta });
    }
    Ok(found)
}

impl HyperdriveClient {
    /// The drive that `dir` is imported into: the one given, else the one it was
    /// imported into before, else a new one.
    pub async fn import_target(
        &self,
        dir: &Path,
        key: Option<hyperspace_api::Key>,
    ) -> Result<RemoteDrive, ServiceError> {
        let drive = match key.map_or_else(|| mirror::read_key(&dir.join(IMPORT_KEY)), |key| Ok(Some(key)))? {
            Some(key) => self.drives().open(key, None).await?,
            None => self.drives().create().await?,
        };
        // Before it is remembered: a mistyped key must not replace the right one.
        writable(&drive)?;
        mirror::write_key(&dir.join(IMPORT_KEY), drive.key())?;
        Ok(drive)
    }
}
