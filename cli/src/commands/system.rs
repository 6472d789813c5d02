//! `status`, `force-unmount`, `fuse-setup`, `completions`.

use super::Setup;
use crate::output::{fields, yes};
use clap::CommandFactory;
use hyperdrive_service::{Config, HyperdriveClient, ServiceError, config, paths, setup};
use std::path::Path;

pub async fn status(settings: &Setup) -> anyhow::Result<()> {
    let client = HyperdriveClient::connect(settings.options.clone()).await?;
    let server = client.rpc().status().await.map_err(ServiceError::from)?;
    let mounted = setup::is_mounted(client.mnt())?;
    let all = serde_json::json!({
        "apiVersion": server.api_version,
        "serverVersion": server.version,
        "holepunchable": server.holepunchable,
        "remoteAddress": server.remote_address,
        "rootDriveKey": client.root().key().to_string(),
        "mnt": client.mnt(),
        "mounted": mounted,
    });
    settings.output.result(&all, |out| {
        writeln!(out, "The Hyperspace server is running:")?;
        fields(
            out,
            &[
                ("API Version", server.api_version.clone()),
                ("Server Version", server.version.clone().unwrap_or_default()),
                ("Holepunchable", server.holepunchable.map_or_else(|| "not known".to_owned(), yes)),
                ("Remote Address", server.remote_address.clone().unwrap_or_default()),
                ("Root Drive", client.root().key().to_string()),
                ("Mountpoint", client.mnt().display().to_string()),
                ("Mounted", yes(mounted)),
            ],
        )
    })
}

pub fn force_unmount(settings: &Setup, mnt: Option<&Path>) -> anyhow::Result<()> {
    let mnt = match mnt {
        Some(mnt) => paths::absolute(mnt)?,
        None => match Config::load(&settings.options.config_dir)?.mnt {
            Some(mnt) => mnt,
            None => config::default_mnt()?,
        },
    };
    setup::force_unmount(&mnt)?;
    settings
        .output
        .result(&serde_json::json!({ "unmounted": mnt }), |out| writeln!(out, "Unmounted {}", mnt.display()))
}

pub fn fuse_setup(settings: &Setup) -> anyhow::Result<()> {
    let checks = setup::check();
    settings.output.result(&checks, |out| {
        for check in &checks {
            let mark = match (check.ok, check.optional) {
                (true, _) => "ok",
                (false, true) => "optional",
                (false, false) => "MISSING",
            };
            writeln!(out, "{:12} {mark:8} {}", check.name, check.found)?;
            if let Some(mend) = &check.mend {
                writeln!(out, "{:12} to mend: {mend}", "")?;
            }
        }
        Ok(())
    })?;
    let missing: Vec<_> = checks.iter().filter(|c| !c.ok && !c.optional).map(|c| c.name).collect();
    anyhow::ensure!(missing.is_empty(), "Drives cannot be mounted here yet: {} missing", missing.join(", "));
    Ok(())
}

pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    clap_complete::generate(shell, &mut crate::args::Cli::command(), "hyperdrive", &mut std::io::stdout());
    Ok(())
}
