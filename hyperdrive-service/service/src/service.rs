//! The service itself: the root drive, mounted and kept mounted.

use crate::client::{RemoteDrive, connect};
use crate::config::{self, Config};
use crate::{ServiceError, others, paths};
use hyperdrive::{CommitPolicy, DriveError, DriveOptions, Drives};
use hyperdrive_fuse::fs::{Filesystem, types::FsOptions};
use hyperdrive_fuse::{MountError, MountOptions, Mounted};
use hyperspace_api::{CoreError, Key};
use hyperspace_client::{Endpoint, HyperspaceClient, RemoteCorestore};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How long a server that is away is waited for at the end, if it is owed something.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// How to run the service.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// The server.
    pub endpoint: Endpoint,
    /// Where `fuse.json` is.
    pub config_dir: PathBuf,
    /// Where to mount; `None`: where it was mounted before, else `~/Hyperdrive`.
    pub mnt: Option<PathBuf>,
    /// The root drive; `None`: the one of before, else a new one.
    pub key: Option<Key>,
    /// Mount at all?
    pub fuse: bool,
    /// Let other users of the computer in.
    pub allow_other: bool,
    /// Refuse all writing.
    pub read_only: bool,
    /// Replace a dead mount.
    pub force: bool,
    /// How long to wait for data that only peers have.
    pub timeout: Duration,
    /// A path on the disk that holds the cores, whose free space the mount reports.
    pub storage: Option<PathBuf>,
}

impl ServiceOptions {
    /// The default server, the default configuration.
    pub fn new() -> Result<Self, ServiceError> {
        Ok(Self {
            endpoint: Endpoint::default(),
            config_dir: config::default_dir()?,
            mnt: None,
            key: None,
            fuse: true,
            allow_other: false,
            read_only: false,
            force: false,
            timeout: Duration::from_secs(15),
            storage: None,
        })
    }
}

/// A running service. Dropped without [`stop`](Self::stop), it leaves the mount to the
/// kernel's mercy: what was not committed is lost.
pub struct Service {
    rpc: HyperspaceClient,
    drives: Drives<RemoteCorestore>,
    root: RemoteDrive,
    mnt: PathBuf,
    mounted: Option<Mount>,
    replaced: Option<Key>,
    _opening: AbortOnDropHandle<()>,
}

/// The root drive as a folder.
struct Mount {
    mounted: Mounted,
    _hurry: AbortOnDropHandle<()>,
}

impl Service {
    /// Opens (or makes) the root drive, mounts it, and remembers both.
    pub async fn start(options: ServiceOptions) -> Result<Self, ServiceError> {
        let saved = Config::load(&options.config_dir)?;
        let mnt = match options.mnt.clone().or(saved.mnt.clone()) {
            Some(mnt) => paths::absolute(&mnt)?,
            None => config::default_mnt()?,
        };
        let key = match options.key {
            Some(key) => Some(key),
            None => saved.root_drive_key()?,
        };
        let rpc = connect(options.endpoint.clone()).await?;
        let drives = Drives::with_others(
            rpc.corestore(None),
            DriveOptions {
                timeout: options.timeout,
                commit: CommitPolicy::Grouped { delay: Duration::from_millis(100), bytes: 8 << 20 },
            },
            others::by(rpc.network()),
        );
        let root = match key {
            Some(key) => drives.open(key, None).await?,
            None => {
                let root = drives.create().await?;
                root.flush().await?;
                // Before the mount: it must not be forgotten because mounting failed.
                saved.clone().with_root(root.key()).save(&options.config_dir)?;
                root
            }
        };
        let mounted = match options.fuse {
            true => Some(mount(&rpc, &drives, &root, &mnt, &options).await?),
            false => None,
        };
        // After it: what did not work must not replace what did.
        let replaced = saved.root_drive_key().ok().flatten().filter(|key| *key != root.key());
        let config = Config::new(root.key(), &mnt);
        if config != saved {
            config.save(&options.config_dir)?;
        }
        let opening = AbortOnDropHandle::new(tokio::spawn(open_mounts(drives.clone(), root.clone())));
        Ok(Self { rpc, drives, root, mnt, mounted, replaced, _opening: opening })
    }

    /// The root drive.
    pub fn root(&self) -> &RemoteDrive {
        &self.root
    }

    /// Where it is mounted, or would be.
    pub fn mnt(&self) -> &Path {
        &self.mnt
    }

    /// The root drive of before, if another took its place. Nothing remembers its key
    /// any more.
    pub fn replaced(&self) -> Option<Key> {
        self.replaced
    }

    /// Returns when somebody unmounted the drive; never if it is not mounted.
    pub async fn unmounted(&self) {
        match &self.mounted {
            Some(mount) => mount.mounted.wait().await,
            None => std::future::pending().await,
        }
    }

    /// Unmounts, and returns when everything written is on the server's disk. A server that
    /// is away is waited for only if it has not got everything yet.
    pub async fn stop(self) -> Result<(), ServiceError> {
        if let Some(mount) = self.mounted {
            let unmounted = mount.mounted.unmount().await;
            unmounted
                .map_err(|e| ServiceError::Mount(format!("Could not unmount {}: {e}", self.mnt.display())))?;
        }
        let owed = self.drives.waits();
        self.rpc.hurry(patience(owed));
        match self.drives.flush_all().await {
            Err(DriveError::Core(CoreError::Disconnected(_))) if !owed => Ok(()),
            flushed => Ok(flushed?),
        }
    }
}

async fn mount(
    rpc: &HyperspaceClient,
    drives: &Drives<RemoteCorestore>,
    root: &RemoteDrive,
    mnt: &Path,
    options: &ServiceOptions,
) -> Result<Mount, ServiceError> {
    let filesystem = Filesystem::new(
        drives.clone(),
        root.clone(),
        FsOptions {
            read_only: options.read_only,
            timeout: options.timeout,
            storage: options.storage.clone().unwrap_or_else(std::env::temp_dir),
            ..FsOptions::default()
        },
    );
    let how = MountOptions {
        allow_other: options.allow_other,
        read_only: options.read_only,
        force: options.force,
        ..MountOptions::default()
    };
    let mounted = hyperdrive_fuse::mount(filesystem.clone(), mnt, how).await.map_err(|e| {
        ServiceError::Mount(format!("Could not mount the root drive. {e}. {}", advice(&e, mnt)))
    })?;
    let hurry = tokio::spawn(hurry(mounted.ending(), rpc.clone(), Arc::downgrade(&filesystem)));
    Ok(Mount { mounted, _hurry: AbortOnDropHandle::new(hurry) })
}

/// Once the mount ends, a server that is away is waited for only if something would be lost.
async fn hurry(
    ending: impl Future<Output = ()>,
    rpc: HyperspaceClient,
    filesystem: Weak<Filesystem<RemoteCorestore>>,
) {
    ending.await;
    let owed = filesystem.upgrade().is_some_and(|filesystem| filesystem.is_unsaved());
    if owed && !rpc.is_connected() {
        tracing::warn!(
            "the server is away and has not got everything that was written: it is waited for, {} seconds",
            LAST_PATIENCE.as_secs()
        );
    }
    rpc.hurry(patience(owed));
}

/// How long a server that is away is waited for at the end: not at all, if it is owed nothing.
fn patience(owed: bool) -> Duration {
    if owed { LAST_PATIENCE } else { Duration::ZERO }
}

/// What to do about it.
fn advice(error: &MountError, mnt: &Path) -> String {
    let mnt = mnt.display();
    match error {
        MountError::NotADirectory(_) => "Choose a folder with --mnt".to_owned(),
        MountError::InUse(_) => {
            format!(
                "Choose another folder with --mnt, or detach what is there: hyperdrive force-unmount {mnt}"
            )
        }
        MountError::Dead(_) => format!("Or: hyperdrive force-unmount {mnt}"),
        MountError::Unsaved(_) | MountError::Unrecovered(_) => {
            "See what it says: hyperdrive status".to_owned()
        }
        _ => "What mounting needs, and what mends it: hyperdrive fuse-setup".to_owned(),
    }
}

/// Opens whatever is mounted in the root drive: that has peers looked for of what others write,
/// unless the user configured them otherwise. Lasts as long as the service.
async fn open_mounts(drives: Drives<RemoteCorestore>, root: RemoteDrive) {
    let mut changes = root.changes();
    loop {
        match root.mounts(false).await {
            Ok(mounts) => {
                for mount in mounts {
                    if let Err(e) = drives.open(mount.key, None).await {
                        tracing::debug!("the drive {} cannot be opened: {e}", mount.key);
                    }
                }
            }
            Err(e) => tracing::debug!("the mounts of the root drive are not known: {e}"),
        }
        if let Err(tokio::sync::broadcast::error::RecvError::Closed) = changes.recv().await {
            return;
        }
    }
}
