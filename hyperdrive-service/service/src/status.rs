//! Is the server there, is the root drive mounted?

use crate::client::connect;
use crate::config::{self, Config};
use crate::setup::{self, MountState};
use crate::{ClientOptions, ServiceError, paths};
use serde::Serialize;
use std::path::PathBuf;

/// What [`status`] tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Of the RPC.
    pub api_version: String,
    /// Of the server.
    pub server_version: Option<String>,
    /// Can peers behind routers reach this computer? `None`: not known.
    pub holepunchable: Option<bool>,
    /// As which address peers see this computer.
    pub remote_address: Option<String>,
    /// The root drive, in hex; `None` if the service never ran.
    pub root_drive_key: Option<String>,
    /// Where it is, or would be, mounted.
    pub mnt: PathBuf,
    /// Does the system list a mount there? It may be a dead one.
    pub mounted: bool,
    /// And how it is.
    pub mount_state: MountState,
}

/// Asks the server, the configuration and the system. Needs no root drive.
pub async fn status(options: &ClientOptions) -> Result<Status, ServiceError> {
    let saved = Config::load(&options.config_dir)?;
    let key = match options.key {
        Some(key) => Some(key),
        None => saved.root_drive_key()?,
    };
    let mnt = match options.mnt.clone().or(saved.mnt) {
        Some(mnt) => paths::absolute(&mnt)?,
        None => config::default_mnt()?,
    };
    let server = connect(options.endpoint.clone()).await?.status().await?;
    let mount_state = setup::state(&mnt).await?;
    Ok(Status {
        api_version: server.api_version,
        server_version: server.version,
        holepunchable: server.holepunchable,
        remote_address: server.remote_address.filter(|address| !address.is_empty()),
        root_drive_key: key.map(|key| key.to_string()),
        mnt,
        mounted: mount_state != MountState::NotMounted,
        mount_state,
    })
}
