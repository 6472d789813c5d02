//! Mounting: the mountpoint, the session's threads, and a clean end.

use crate::adapter::Adapter;
use crate::fs::Filesystem;
use crate::fs::types::Invalidation;
use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use hyperspace_api::Corestore;
use nix::mount::MntFlags;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How long the kernel may take to end a session whose mount is gone: as long as a
/// program keeps a file of it open, it does not. After that, programs that wait for data
/// are told that it does not come, and have the same time once more to close it.
const GRACE: Duration = Duration::from_millis(500);
/// Invalidations told to the kernel in one go.
const BATCH: usize = 256;

/// How to mount.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Other users may use it too (`/etc/fuse.conf` must allow that for all but root).
    pub allow_other: bool,
    /// The kernel refuses changes.
    pub read_only: bool,
    /// Replace a mount whose process died.
    pub force: bool,
    /// Threads that read requests.
    pub threads: usize,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { allow_other: false, read_only: false, force: false, threads: 4 }
    }
}

/// Why a mount could not be made or undone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The mountpoint is a file.
    #[error("Mountpoint '{}' is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Something is mounted there.
    #[error("Mountpoint '{}' is in use: something is mounted there", .0.display())]
    InUse(PathBuf),
    /// A mount whose process died is there.
    #[error("Mountpoint '{}' has a dead mount; replace it with --force, or remove it with `fusermount3 -u -z {}`", .0.display(), .0.display())]
    Dead(PathBuf),
    /// There is no FUSE.
    #[error("/dev/fuse is missing: load the kernel module with `modprobe fuse`")]
    NoFuse,
    /// The system refused.
    #[error("{doing} '{}': {error}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Not everything could be saved.
    #[error("Not everything could be saved: {0}")]
    Unsaved(crate::Errno),
    /// What the last mount had synced could not be restored; nothing is lost.
    #[error("Changes that the last mount had synced could not be restored: {0}. Is the server well?")]
    Unrecovered(crate::Errno),
}

/// A mount. Dropping it leaves it mounted: call [`unmount`](Self::unmount).
#[derive(Debug)]
pub struct Mounted {
    path: PathBuf,
    stop: mpsc::Sender<oneshot::Sender<Result<(), MountError>>>,
    phase: watch::Receiver<Phase>,
}

/// How far a mount is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Mounted,
    /// What was written is being saved, for the last time.
    Ending,
    Ended,
}

impl Mounted {
    /// Where.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Saves everything, and unmounts. What still has files open there loses them.
    /// Does nothing if it is not mounted any more.
    pub async fn unmount(&self) -> Result<(), MountError> {
        let (send, receive) = oneshot::channel();
        if self.stop.send(send).await.is_err() {
            return Ok(());
        }
        receive.await.unwrap_or(Ok(()))
    }

    /// Returns when it is not mounted any more, whoever unmounted it, and everything
    /// is saved.
    pub async fn wait(&self) {
        self.reached(Phase::Ended).await;
    }

    /// Returns when that begins: from now on, what waits is waited for.
    pub fn ending(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(Phase::Ending)
    }

    fn reached(&self, which: Phase) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.phase.clone();
        async move {
            // An error means that the supervisor is gone: it ended, too.
            let _ = phase.wait_for(|phase| *phase >= which).await;
        }
    }
}

/// Mounts `fs` at `path`, which is created if it does not exist.
pub async fn mount<S: Corestore>(
    fs: Arc<Filesystem<S>>,
    path: &Path,
    options: MountOptions,
) -> Result<Mounted, MountError> {
    let recovered = fs.recover().await.map_err(MountError::Unrecovered)?;
    if recovered > 0 {
        tracing::warn!(files = recovered, "the last mount died: what it had synced was restored");
    }
    let runtime = tokio::runtime::Handle::current();
    let hopeless = CancellationToken::new();
    let adapter = Adapter::new(fs.clone(), runtime, hopeless.clone());
    let given = path.to_owned();
    let session = blocking(move || {
        let path = prepare(&given, options.force)?;
        let session = Session::new(adapter, &path, &config(&options));
        Ok((session.map_err(|error| failed("Could not mount", &path, error))?, path))
    });
    let (session, path) = session.await?;

    let notifier = session.notifier();
    let (done, session_ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("fuse".into()).spawn(move || {
        let _ = done.send(session.run());
    });
    thread.map_err(|error| failed("Could not start the threads of", &path, error))?;
    widen_read_ahead(path.clone());

    let (stop, stopped) = mpsc::channel(1);
    let (tell, phase) = watch::channel(Phase::Mounted);
    let supervised = Supervised { fs, path: path.clone(), notifier, hopeless, session_ended, stopped, tell };
    tokio::spawn(supervise(supervised));
    Ok(Mounted { path, stop, phase })
}

/// Removes whatever FUSE mount is at `path`, also a dead or a busy one.
pub async fn force_unmount(path: &Path) -> Result<(), MountError> {
    let path = path.to_owned();
    blocking(move || detach(&path)).await
}

/// What looks after a mount as long as there is one.
struct Supervised<S: Corestore> {
    fs: Arc<Filesystem<S>>,
    path: PathBuf,
    notifier: Notifier,
    /// Cancelled when data is not waited for any more.
    hopeless: CancellationToken,
    session_ended: oneshot::Receiver<io::Result<()>>,
    stopped: mpsc::Receiver<oneshot::Sender<Result<(), MountError>>>,
    tell: watch::Sender<Phase>,
}

async fn supervise<S: Corestore>(mut this: Supervised<S>) {
    let (invalidations, notifier) = (this.fs.invalidations(), this.notifier.clone());
    let forget = tokio::spawn(async move {
        if let Some(invalidations) = invalidations {
            tell_kernel(notifier, invalidations).await;
        }
    });
    let mut asked = None;
    let mut result = Ok(());
    tokio::select! {
        Some(answer) = this.stopped.recv() => {
            asked = Some(answer);
            this.tell.send_replace(Phase::Ending);
            result = unmount(&mut this).await;
        }
        session = &mut this.session_ended => {
            this.tell.send_replace(Phase::Ending);
            if let Ok(Err(error)) = session {
                tracing::warn!(%error, path = %this.path.display(), "the mount ended");
            }
        }
    }
    forget.abort();
    // What was written since, or by whoever had files open.
    let saved = match this.fs.save().await {
        Ok(true) => {
            this.fs.close_log().await;
            Ok(())
        }
        Ok(false) => {
            tracing::info!(path = %this.path.display(), "the server is away: it has what was written");
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, path = %this.path.display(), "unmounted");
            Err(MountError::Unsaved(error))
        }
    };
    this.tell.send_replace(Phase::Ended);
    if let Some(answer) = asked {
        let _ = answer.send(result.and(saved));
    }
}

async fn unmount<S: Corestore>(this: &mut Supervised<S>) -> Result<(), MountError> {
    // While everybody can still see it; the rest is quick then.
    if let Err(error) = this.fs.save().await {
        tracing::warn!(%error, "before unmounting");
    }
    let at = this.path.clone();
    blocking(move || if nix::mount::umount(&at).is_ok() { Ok(()) } else { detach(&at) }).await?;
    if tokio::time::timeout(GRACE, &mut this.session_ended).await.is_ok() {
        return Ok(());
    }
    this.hopeless.cancel();
    if tokio::time::timeout(GRACE, &mut this.session_ended).await.is_err() {
        tracing::info!(path = %this.path.display(), "unmounted while files were open");
    }
    Ok(())
}

/// Tells the kernel what to forget. In a thread of its own: it may have to wait for an
/// operation that is under way.
async fn tell_kernel(notifier: Notifier, mut invalidations: mpsc::Receiver<Invalidation>) {
    let mut batch = Vec::new();
    while invalidations.recv_many(&mut batch, BATCH).await > 0 {
        let (notifier, now) = (notifier.clone(), std::mem::take(&mut batch));
        let told = tokio::task::spawn_blocking(move || {
            for invalidation in now {
                let told = match &invalidation {
                    Invalidation::Name { parent, name } => {
                        notifier.inval_entry(INodeNo(*parent), OsStr::new(name))
                    }
                    Invalidation::Inode(ino) => notifier.inval_inode(INodeNo(*ino), 0, 0),
                };
                if let Err(error) = told {
                    tracing::debug!(%error, ?invalidation, "the kernel did not take it");
                }
            }
        });
        if told.await.is_err() {
            return;
        }
    }
}

/// Makes sure that `path` is a directory where something can be mounted.
fn prepare(path: &Path, force: bool) -> Result<PathBuf, MountError> {
    if !Path::new("/dev/fuse").exists() {
        return Err(MountError::NoFuse);
    }
    let mut found = path.metadata();
    // The kernel may still know the attributes of a dead mount's root, but not its space.
    if nix::sys::statvfs::statvfs(path) == Err(nix::errno::Errno::ENOTCONN) {
        if !force {
            return Err(MountError::Dead(path.to_owned()));
        }
        detach(path)?;
        found = path.metadata();
    }
    let found = match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = std::fs::create_dir_all(path).and_then(|()| path.metadata());
            made.map_err(|error| failed("Could not create", path, error))?
        }
        found => found.map_err(|error| failed("Could not look at", path, error))?,
    };
    if !found.is_dir() {
        return Err(MountError::NotADirectory(path.to_owned()));
    }
    let path = path.canonicalize().map_err(|error| failed("Could not look at", path, error))?;
    let parent = path.parent().and_then(|parent| parent.metadata().ok());
    if parent.is_some_and(|parent| parent.dev() != found.dev()) {
        return Err(MountError::InUse(path));
    }
    Ok(path)
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("hyperdrive".into()),
        MountOption::Subtype("hyperdrive".into()),
        MountOption::DefaultPermissions,
        MountOption::NoDev,
        // Drives come from strangers.
        MountOption::NoSuid,
        MountOption::NoAtime,
        if options.read_only { MountOption::RO } else { MountOption::RW },
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.max(1));
    config.clone_fd = true;
    config
}

/// Takes the mount away from its name; what has files open there keeps them for now.
fn detach(path: &Path) -> Result<(), MountError> {
    let error = match nix::mount::umount2(path, MntFlags::MNT_DETACH) {
        Ok(()) => return Ok(()),
        Err(nix::errno::Errno::EPERM) => {
            let run = Command::new("fusermount3").args(["-u", "-z", "--"]).arg(path).output();
            match run {
                Ok(output) if output.status.success() => return Ok(()),
                Ok(output) => io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
                Err(error) => io::Error::new(error.kind(), format!("fusermount3: {error}")),
            }
        }
        Err(errno) => errno.into(),
    };
    Err(failed("Could not unmount", path, error))
}

/// The kernel reads ahead 128 KiB on FUSE mounts, whatever we ask for; root may raise it.
fn widen_read_ahead(path: PathBuf) {
    tokio::task::spawn_blocking(move || {
        let Ok(device) = path.metadata().map(|metadata| metadata.dev()) else { return };
        let (major, minor) = (libc::major(device), libc::minor(device));
        let _ = std::fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), "1024");
    });
}

fn failed(doing: &'static str, path: &Path, error: io::Error) -> MountError {
    MountError::Io { doing, path: path.to_owned(), error }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MountError> + Send + 'static,
) -> Result<T, MountError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
