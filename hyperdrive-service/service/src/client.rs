//! The client of the Hyperdrive service: everything that the `hyperdrive` command
//! does, as a library.
//!
//! It talks to the Hyperspace server only, never to the service process, so all of it
//! works while nothing is mounted. When the root drive *is* mounted, [`HyperdriveClient::settle`]
//! makes what was just written through the mount visible here, and the reverse.

use crate::config::{self, Config};
use crate::{ServiceError, paths, setup};
use hyperdrive::{Attrs, Drive, DriveError, DriveOptions, Drives, Entry, Located, MountEntry, Op};
use hyperspace_api::{Core, DiscoveryKey, Key};
use hyperspace_client::{
    Endpoint, HyperspaceClient, NetworkConfig, NetworkStatus, RemoteCorestore, RemoteNetworker,
};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A drive whose cores live in the server.
pub type RemoteDrive = Drive<RemoteCorestore>;

/// How to reach the server and which root drive to use; what is absent comes from
/// the configuration.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The server.
    pub endpoint: Endpoint,
    /// Where `fuse.json` is.
    pub config_dir: PathBuf,
    /// The root drive.
    pub key: Option<Key>,
    /// Where it is (or would be) mounted.
    pub mnt: Option<PathBuf>,
    /// How long to wait for data that only peers have.
    pub timeout: Duration,
}

impl ClientOptions {
    /// The default server, the default configuration.
    pub fn new() -> Result<Self, ServiceError> {
        Ok(Self {
            endpoint: Endpoint::default(),
            config_dir: config::default_dir()?,
            key: None,
            mnt: None,
            timeout: Duration::from_secs(15),
        })
    }
}

/// A drive named by where it is mounted, or by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The drive that the path lies in.
    Path(PathBuf),
    /// The drive itself.
    Key(Key),
}

/// What [`HyperdriveClient::info`] tells of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The path within the root drive; empty for a drive named by its key.
    pub path: String,
    /// The drive that the path lies in.
    pub key: String,
    /// What it is announced under.
    pub discovery_key: String,
    /// Is the path where that drive is mounted?
    pub is_mount: bool,
    /// The path within that drive.
    pub mount_path: String,
    /// May we write it?
    pub writable: bool,
    /// Its version now, or the one it is mounted at.
    pub version: u64,
    /// Is it announced to the swarm?
    pub announce: bool,
    /// Is the swarm searched for it?
    pub lookup: bool,
    /// Is that kept over restarts?
    pub remember: bool,
    /// How many peers have it open.
    pub peers: usize,
}

/// A new mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mounted {
    /// Where, within the root drive.
    pub path: String,
    /// What.
    pub key: String,
    /// At which version, if it stays there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Is it announced?
    pub seeding: bool,
}

/// See the [module](self).
pub struct HyperdriveClient {
    rpc: HyperspaceClient,
    drives: Drives<RemoteCorestore>,
    root: RemoteDrive,
    mnt: PathBuf,
}

impl HyperdriveClient {
    /// Connects to the server and opens the root drive.
    pub async fn connect(options: ClientOptions) -> Result<Self, ServiceError> {
        let saved = Config::load(&options.config_dir)?;
        let key = match options.key {
            Some(key) => key,
            None => saved.root_drive_key()?.ok_or_else(|| {
                ServiceError::config(
                    "There is no root drive yet. Start the service once: hyperdrive start".to_owned(),
                )
            })?,
        };
        let mnt = match options.mnt.or(saved.mnt) {
            Some(mnt) => paths::absolute(&mnt)?,
            None => config::default_mnt()?,
        };
        let rpc = connect(options.endpoint).await?;
        let drives = Drives::new(
            rpc.corestore(None),
            DriveOptions { timeout: options.timeout, commit: hyperdrive::CommitPolicy::Immediate },
        );
        let root = drives.open(key, None).await?;
        Ok(Self { rpc, drives, root, mnt })
    }

    /// The root drive.
    pub fn root(&self) -> &RemoteDrive {
        &self.root
    }

    /// Where the root drive is (or would be) mounted.
    pub fn mnt(&self) -> &Path {
        &self.mnt
    }

    /// The server's status, its place in the swarm.
    pub fn rpc(&self) -> &HyperspaceClient {
        &self.rpc
    }

    /// Every drive that the server can reach.
    pub fn drives(&self) -> &Drives<RemoteCorestore> {
        &self.drives
    }

    fn network(&self) -> RemoteNetworker {
        self.rpc.network()
    }

    /// `path` of the computer as a path of the root drive.
    pub fn in_drive(&self, path: &Path) -> Result<String, ServiceError> {
        paths::in_drive(&self.mnt, path)
    }

    /// Makes the mount, if there is one, commit what was written through it, and see
    /// what was written here. Waits at most five seconds for a mount that is stuck.
    pub async fn settle(&self) {
        if !setup::is_mounted(&self.mnt).unwrap_or(false) {
            return;
        }
        let mnt = self.mnt.clone();
        let sync = tokio::task::spawn_blocking(move || std::fs::File::open(mnt)?.sync_all());
        match tokio::time::timeout(Duration::from_secs(5), sync).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(e))) => tracing::warn!("the mount could not be brought up to date: {e}"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the mount does not answer"),
        }
    }

    /// Commits everything, to the server and to its disk.
    pub async fn flush(&self) -> Result<(), ServiceError> {
        self.drives.flush_all().await?;
        self.settle().await;
        Ok(())
    }

    /// The drive that is meant, and where in it.
    pub async fn locate(&self, target: &Target) -> Result<Located<RemoteCorestore>, ServiceError> {
        match target {
            Target::Path(path) => Ok(self.root.locate(&self.in_drive(path)?).await?),
            Target::Key(key) => {
                let drive = self.drives.open(*key, None).await?;
                Ok(drive.locate("/").await?)
            }
        }
    }

    /// A new drive, mounted at `path`, announced unless `seed` is false.
    pub async fn create(&self, path: &Path, seed: bool) -> Result<Mounted, ServiceError> {
        let drive_path = self.in_drive(path)?;
        self.refuse_existing(&drive_path).await?;
        let drive = self.drives.create().await?;
        drive.flush().await?;
        self.mount_at(drive_path, &drive, None, seed).await
    }

    /// Mounts the drive `key` at `path`.
    pub async fn mount(
        &self,
        path: &Path,
        key: Key,
        version: Option<u64>,
        seed: bool,
    ) -> Result<Mounted, ServiceError> {
        let drive_path = self.in_drive(path)?;
        let drive = self.drives.open(key, None).await?;
        self.mount_at(drive_path, &drive, version, seed).await
    }

    async fn refuse_existing(&self, path: &str) -> Result<(), ServiceError> {
        match self.root.stat(path).await {
            Ok(_) => Err(ServiceError::usage(format!(
                "Path {path} already exists. Choose another, or remove it first."
            ))),
            Err(DriveError::NotFound { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    async fn mount_at(
        &self,
        path: String,
        drive: &RemoteDrive,
        version: Option<u64>,
        seed: bool,
    ) -> Result<Mounted, ServiceError> {
        let op = Op::Mount { path: path.clone(), key: drive.key(), version };
        self.root.apply(vec![op]).await?;
        if seed {
            self.configure(drive.discovery_key(), true, true, true).await?;
        } else if !drive.writable() {
            // Somebody else's drive: its data has to come from somewhere.
            self.configure(drive.discovery_key(), false, true, true).await?;
        }
        self.flush().await?;
        Ok(Mounted { path, key: drive.key().to_string(), version, seeding: seed })
    }

    /// Takes the mount at `path` away; the drive itself stays as it is.
    pub async fn unmount(&self, path: &Path) -> Result<(), ServiceError> {
        let path = self.in_drive(path)?;
        self.root.apply(vec![Op::Unmount { path }]).await?;
        self.flush().await
    }

    /// Everything about the drive that `target` lies in.
    pub async fn info(&self, target: &Target) -> Result<Info, ServiceError> {
        let located = self.locate(target).await?;
        let path = match target {
            Target::Path(path) => self.in_drive(path)?,
            Target::Key(_) => String::new(),
        };
        let drive = &located.drive;
        let status = self.network().status(drive.discovery_key()).await?;
        Ok(Info {
            is_mount: located.is_mountpoint || path == "/" || path.is_empty(),
            path,
            key: drive.key().to_string(),
            discovery_key: drive.discovery_key().to_string(),
            mount_path: located.path.clone(),
            writable: drive.writable(),
            version: drive.version(),
            announce: status.as_ref().is_some_and(|s| s.announce),
            lookup: status.as_ref().is_some_and(|s| s.lookup),
            remember: status.as_ref().is_some_and(|s| s.remember),
            peers: drive.metadata_core().peers().len(),
        })
    }

    /// Tells the server how to be in the swarm for a drive.
    pub async fn configure(
        &self,
        topic: DiscoveryKey,
        announce: bool,
        lookup: bool,
        remember: bool,
    ) -> Result<Option<NetworkStatus>, ServiceError> {
        let config = NetworkConfig {
            announce: Some(announce),
            lookup: Some(lookup),
            remember: Some(remember),
            ..NetworkConfig::new(topic)
        };
        Ok(self.network().configure(config).await?)
    }

    /// Announces the drive that `target` lies in, now and (with `remember`) after
    /// every restart of the server.
    pub async fn seed(&self, target: &Target, remember: bool) -> Result<Info, ServiceError> {
        let drive = self.locate(target).await?.drive;
        self.configure(drive.discovery_key(), true, true, remember).await?;
        self.info(target).await
    }

    /// Takes that back.
    pub async fn unseed(&self, target: &Target) -> Result<Info, ServiceError> {
        let drive = self.locate(target).await?.drive;
        self.configure(drive.discovery_key(), false, false, true).await?;
        self.info(target).await
    }

    /// What is in a folder, by name; a file gives itself.
    pub async fn list(&self, target: &Target) -> Result<Vec<Entry>, ServiceError> {
        let located = self.locate(target).await?;
        if located.stat.is_dir() {
            return Ok(located.drive.readdir(&located.path).await?);
        }
        let name = located.path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(vec![Entry { name, stat: located.stat }])
    }

    /// Removes a file, or with `recursive` a folder and all in it. Mounts in it are
    /// taken away; the mounted drives stay as they are.
    pub async fn remove(&self, path: &Path, recursive: bool) -> Result<(), ServiceError> {
        let path = self.in_drive(path)?;
        if path == "/" {
            return Err(ServiceError::usage("The root of the drive cannot be removed.".to_owned()));
        }
        let stat = self.root.stat(&path).await?;
        let mut ops = Vec::new();
        if stat.mount.is_some() {
            return Err(ServiceError::usage(format!(
                "{path} is a mounted drive. To take it away: hyperdrive unmount PATH"
            )));
        } else if !stat.is_dir() {
            ops.push(Op::Unlink { path });
        } else if !recursive {
            ops.push(Op::Rmdir { path });
        } else {
            let inside = self.root.walk(&path, hyperdrive::WalkOptions { mounts: false }).await?;
            for (at, stat) in inside.into_iter().rev().filter(|(at, _)| *at != path) {
                ops.push(match (&stat.mount, stat.is_dir()) {
                    (Some(_), _) => Op::Unmount { path: at },
                    (None, true) => Op::Rmdir { path: at },
                    (None, false) => Op::Unlink { path: at },
                });
            }
            // An implicit folder is gone with the last thing in it.
            for chunk in ops.chunks(1000) {
                self.root.apply(chunk.to_vec()).await?;
            }
            ops.clear();
            if self.root.stat(&path).await.is_ok() {
                ops.push(Op::Rmdir { path });
            }
        }
        self.root.apply(ops).await?;
        self.flush().await
    }

    /// A new folder; with `parents`, those above it too, and no error if it is there.
    pub async fn mkdir(&self, path: &Path, parents: bool) -> Result<(), ServiceError> {
        let path = self.in_drive(path)?;
        if parents {
            let mut at = String::new();
            for name in path.split('/').filter(|name| !name.is_empty()) {
                at = format!("{at}/{name}");
                match self.root.stat(&at).await {
                    Ok(stat) if stat.is_dir() => {}
                    Ok(_) => return Err(ServiceError::usage(format!("{at} is not a folder."))),
                    Err(DriveError::NotFound { .. }) => {
                        self.root
                            .apply(vec![Op::Mkdir { path: at.clone(), attrs: our_attrs(0o755) }])
                            .await?;
                    }
                    Err(e) => return Err(e.into()),
                }
            }
        } else {
            self.root.apply(vec![Op::Mkdir { path, attrs: our_attrs(0o755) }]).await?;
        }
        self.flush().await
    }

    /// All mounts of the root drive.
    pub async fn mounts(&self) -> Result<Vec<MountEntry>, ServiceError> {
        Ok(self.root.mounts(true).await?)
    }
}

/// Attributes of something made by whoever runs this process.
pub(crate) fn our_attrs(mode: u32) -> Attrs {
    Attrs {
        mode,
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        ..Attrs::default()
    }
}

/// Connects, or says how to get a server.
pub(crate) async fn connect(endpoint: Endpoint) -> Result<HyperspaceClient, ServiceError> {
    let shown = endpoint.to_string();
    HyperspaceClient::connect(endpoint).await.map_err(|e| {
        ServiceError::Core(hyperspace_api::CoreError::Disconnected(format!(
            "nothing answers at {shown} ({e}). Is it running? Start it with: hyperdrive start, or: hyperspace"
        )))
    })
}
