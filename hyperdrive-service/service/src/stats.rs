//! The numbers of a drive and of everything mounted in it.

use crate::client::{RemoteDrive, Target};
use crate::traffic::Traffic;
use crate::{HyperdriveClient, ServiceError};
use futures::{StreamExt, TryStreamExt, stream};
use hyperspace_api::{Core, CoreInfo, Peer};
use hyperspace_client::RemoteHypercore;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Drives that are looked at side by side.
const DRIVES_AT_ONCE: usize = 64;

/// What [`HyperdriveClient::stats`] tells; as JSON, in the shape of npm
/// `@hyperspace/hyperdrive` 1.0.11, with more fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// A file's path in the drive → how much of it is held here. Empty unless asked for.
    pub storage: BTreeMap<String, FileStorage>,
    /// A mount's path in the drive (`/` is the drive itself) → its cores.
    pub network: BTreeMap<String, DriveStats>,
}

/// How much of a file is held here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileStorage {
    /// Blocks of its content.
    pub blocks: u64,
    /// Bytes of its content.
    pub size: u64,
    /// Blocks held.
    pub downloaded_blocks: u64,
}

/// The two cores of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DriveStats {
    /// Names and attributes.
    pub metadata: CoreStats,
    /// Content; absent while the drive's first block is not here.
    pub content: Option<CoreStats>,
}

/// One core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreStats {
    /// Its key.
    pub key: String,
    /// What it is announced under.
    pub discovery_key: String,
    /// May we append?
    pub writable: bool,
    /// Blocks.
    pub length: u64,
    /// Bytes.
    pub byte_length: u64,
    /// Every block below this one is held.
    pub contiguous_length: u64,
    /// Bytes on the server's disk.
    pub disk_bytes: u64,
    /// Blocks that are held.
    pub downloaded_blocks: u64,
    /// What was exchanged with peers.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Who has it open.
    pub peers: Vec<PeerStats>,
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStats {
    /// The transport.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its address.
    pub remote_address: String,
    /// Its Noise public key, in hex.
    pub remote_public_key: String,
}

impl From<Peer> for PeerStats {
    fn from(peer: Peer) -> Self {
        Self {
            kind: peer.kind,
            remote_address: peer.remote_address,
            remote_public_key: peer.remote_public_key.to_string(),
        }
    }
}

/// How long peers have to say what a drive's content is called, and twice as long to say what is
/// mounted in it. What is here is told anyway.
const BRIEFLY: Duration = Duration::from_secs(1);

async fn core_stats(core: &impl Core) -> Result<CoreStats, ServiceError> {
    let info = core.info().await?;
    let CoreInfo { length, byte_length, contiguous_length, disk_bytes, .. } = info;
    Ok(CoreStats {
        downloaded_blocks: core.downloaded(0, length).await?,
        traffic: Traffic::of(core, info).await?,
        key: core.key().to_string(),
        discovery_key: core.discovery_key().to_string(),
        writable: core.writable(),
        length,
        byte_length,
        contiguous_length,
        disk_bytes,
        peers: core.peers().into_iter().map(Into::into).collect(),
    })
}

pub(crate) async fn drive_stats(drive: &RemoteDrive) -> Result<DriveStats, ServiceError> {
    let content = content_core(drive).await?;
    let content = async {
        match &content {
            Some(core) => Ok(Some(core_stats(core).await?)),
            None => Ok(None),
        }
    };
    let (metadata, content) = tokio::try_join!(core_stats(drive.metadata_core()), content)?;
    Ok(DriveStats { metadata, content })
}

/// `None` for a drive that nobody has sent us yet (its content has no name), and for a
/// core that holds none.
async fn content_core(drive: &RemoteDrive) -> Result<Option<RemoteHypercore>, ServiceError> {
    match tokio::time::timeout(BRIEFLY, drive.content_core()).await {
        Ok(Ok(core)) => Ok(Some(core)),
        Ok(Err(e)) if matches!(e.errno(), libc::ETIMEDOUT | libc::EOPNOTSUPP) => Ok(None),
        Ok(Err(e)) => Err(e.into()),
        Err(_) => Ok(None),
    }
}

impl HyperdriveClient {
    /// The cores of the drive that `target` lies in, and of every drive mounted in it;
    /// with `storage`, also how much of each file beneath `target` is held here.
    pub async fn stats(&self, target: &Target, storage: bool) -> Result<Stats, ServiceError> {
        let located = self.locate(target).await?;
        let drive = &located.drive;
        let mut stats = Stats::default();
        let mut drives = vec![("/".to_owned(), drive.clone())];
        let mounts = match tokio::time::timeout(2 * BRIEFLY, drive.mounts(true)).await {
            Ok(Ok(mounts)) => mounts,
            Ok(Err(e)) if e.errno() == libc::ETIMEDOUT => Vec::new(),
            Ok(Err(e)) => return Err(e.into()),
            Err(_) => Vec::new(),
        };
        if let Target::Path(path) = target {
            let path = self.in_drive(path)?;
            let top = path.strip_suffix(located.path.as_str()).unwrap_or(&path).trim_end_matches('/');
            let writable = mounts.iter().filter(|mount| mount.version.is_none());
            let paths: Vec<_> = writable.map(|mount| format!("{top}{}", mount.path)).collect();
            self.settle_mounts(paths.iter().map(String::as_str)).await;
        }
        for mount in mounts {
            drives.push((mount.path, self.drives().open(mount.key, mount.version).await?));
        }
        // At once: what is measured takes its time.
        let asked = stream::iter(drives)
            .map(async |(path, drive)| drive_stats(&drive).await.map(|stats| (path, stats)));
        stats.network = asked
            .buffer_unordered(DRIVES_AT_ONCE)
            .try_collect::<BTreeMap<_, _>>()
            .await
            .map_err(|e: ServiceError| e)?;
        if storage {
            for file in drive.stats(&located.path).await? {
                stats.storage.insert(
                    file.path,
                    FileStorage {
                        blocks: file.blocks,
                        size: file.size,
                        downloaded_blocks: file.downloaded_blocks,
                    },
                );
            }
        }
        Ok(stats)
    }
}
