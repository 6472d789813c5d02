//! The client of the Hyperdrive service: everything that the `hyperdrive` command
//! does, as a library.
//!
//! It talks to the Hyperspace server only, never to the service process, so all of it
//! works while nothing is mounted. When the root drive *is* mounted, [`HyperdriveClient::settle`]
//! makes what was just written through the mount visible here, and the reverse.

use crate::config::{self, Config};
use crate::traffic::Traffic;
use crate::{ServiceError, others, paths, stats};
use hyperdrive::{Drive, DriveError, DriveOptions, Drives, Located, MountEntry, Op};
use hyperspace_api::{Core, CoreError, DiscoveryKey, Key};
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
    /// Bytes of its two cores.
    pub byte_length: u64,
    /// Of these, those that are on the server's disk.
    pub disk_bytes: u64,
    /// What is exchanged with peers.
    #[serde(flatten)]
    pub traffic: Traffic,
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

/// What commands do, over a connection with the server, to the root drive and others.
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
        let drives = Drives::with_others(
            rpc.corestore(None),
            DriveOptions { timeout: options.timeout, commit: hyperdrive::CommitPolicy::Immediate },
            others::by(rpc.network()),
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

    /// The drive that is meant. Named by its key, none of its data need be here.
    pub async fn drive(&self, target: &Target) -> Result<RemoteDrive, ServiceError> {
        match target {
            Target::Path(_) => Ok(self.locate(target).await?.drive),
            Target::Key(key) => {
                self.settle_target(target).await;
                Ok(self.drives.open(*key, None).await?)
            }
        }
    }

    /// The drive that is meant, and where in it.
    pub async fn locate(&self, target: &Target) -> Result<Located<RemoteCorestore>, ServiceError> {
        self.settle_target(target).await;
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
        self.check_place(&drive_path).await?;
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
        // Of somebody else's drive, versions may come that are not known here yet.
        if let Some(version) = version.filter(|version| drive.writable() && *version > drive.version()) {
            return Err(no_such_version(version, drive.version()));
        }
        self.mount_at(drive_path, &drive, version, seed).await
    }

    /// Can something be mounted there? Asked before a drive is made that would be left
    /// over if not.
    async fn check_place(&self, path: &str) -> Result<(), ServiceError> {
        match self.root.stat(path).await {
            Ok(_) => return Err(DriveError::Exists(path.to_owned()).into()),
            Err(DriveError::NotFound(_)) => {}
            Err(e) => return Err(e.into()),
        }
        let parent =
            path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
        let parent = self.root.locate(parent).await?;
        if !parent.stat.is_dir() {
            return Err(DriveError::NotDir(path.to_owned()).into());
        }
        if !parent.drive.writable() {
            return Err(DriveError::ReadOnly(path.to_owned()).into());
        }
        Ok(())
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
        self.flush_at(&path).await?;
        Ok(Mounted { path, key: drive.key().to_string(), version, seeding: seed })
    }

    /// Takes the mount at `path` away; the drive itself stays as it is.
    pub async fn unmount(&self, path: &Path) -> Result<(), ServiceError> {
        let path = self.in_drive(path)?;
        self.root.apply(vec![Op::Unmount { path: path.clone() }]).await?;
        self.flush_at(&path).await
    }

    /// Everything about the drive that `target` lies in.
    pub async fn info(&self, target: &Target) -> Result<Info, ServiceError> {
        let (path, drive, mount_path, is_mount) = match target {
            Target::Path(path) => {
                let located = self.locate(target).await?;
                let path = self.in_drive(path)?;
                let is_mount = located.is_mountpoint || path == "/";
                (path, located.drive, located.path, is_mount)
            }
            Target::Key(_) => (String::new(), self.drive(target).await?, "/".to_owned(), true),
        };
        let status = self.network().status(drive.discovery_key()).await?;
        let numbers = stats::drive_stats(&drive).await?;
        let content = numbers.content.as_ref();
        let traffic = numbers.metadata.traffic;
        Ok(Info {
            byte_length: numbers.metadata.byte_length + content.map_or(0, |core| core.byte_length),
            disk_bytes: numbers.metadata.disk_bytes + content.map_or(0, |core| core.disk_bytes),
            traffic: content.map_or(traffic, |core| traffic.and(core.traffic)),
            is_mount,
            path,
            key: drive.key().to_string(),
            discovery_key: drive.discovery_key().to_string(),
            mount_path,
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
        let drive = self.drive(target).await?;
        self.configure(drive.discovery_key(), true, true, remember).await?;
        self.info(target).await
    }

    /// Takes that back.
    pub async fn unseed(&self, target: &Target) -> Result<Info, ServiceError> {
        let drive = self.drive(target).await?;
        self.configure(drive.discovery_key(), false, false, true).await?;
        self.info(target).await
    }

    /// All mounts of the root drive.
    pub async fn mounts(&self) -> Result<Vec<MountEntry>, ServiceError> {
        Ok(self.root.mounts(true).await?)
    }
}

pub(crate) fn no_such_version(version: u64, current: u64) -> ServiceError {
    ServiceError::usage(format!("The drive is at version {current}; there is no version {version} yet."))
}

/// Connects, or says how to get a server.
pub(crate) async fn connect(endpoint: Endpoint) -> Result<HyperspaceClient, ServiceError> {
    HyperspaceClient::connect(endpoint).await.map_err(|e| match e {
        CoreError::Disconnected(why) => {
            // Without the advice that it may end with: ours has two ways.
            let why = why.split(';').next().unwrap_or_default();
            let advice = "Start it with: hyperdrive start, or: hyperspace";
            CoreError::Disconnected(format!("{why}. {advice}")).into()
        }
        other => other.into(),
    })
}
