//! `status`, `force-unmount`, `fuse-setup`, `completions`.

use super::Setup;
use crate::output::{fields, yes};
use clap::CommandFactory;
use hyperdrive_service::setup::{self, MountState};
use hyperdrive_service::{Config, config, paths};
use std::io::Write;
use std::path::Path;

pub async fn status(settings: &Setup) -> anyhow::Result<()> {
    let status = hyperdrive_service::status(&settings.options).await?;
    let unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".to_owned());
    let root = status.root_drive_key.as_deref().unwrap_or("none yet (hyperdrive start makes one)");
    let mounted = match status.mount_state {
        MountState::NotMounted => "false",
        MountState::Mounted => "true",
        MountState::Dead => "true, but dead (hyperdrive start --force replaces it)",
        MountState::NotAnswering => "true, but it does not answer",
    };
    settings.output.result(&status, |out| {
        writeln!(out, "The Hyperspace server is running:")?;
        fields(
            out,
            &[
                ("API Version", status.api_version.clone()),
                ("Server Version", unknown(&status.server_version)),
                ("Holepunchable", status.holepunchable.map_or_else(|| "not known".to_owned(), yes)),
                ("Remote Address", unknown(&status.remote_address)),
                ("Root Drive", root.to_owned()),
                ("Mountpoint", status.mnt.display().to_string()),
                ("Mounted", mounted.to_owned()),
            ],
        )
    })
}

pub async fn force_unmount(settings: &Setup, mnt: Option<&Path>) -> anyhow::Result<()> {
    let mnt = match mnt {
        Some(mnt) => paths::absolute(mnt)?,
        None => match Config::load(&settings.options.config_dir)?.mnt {
            Some(mnt) => mnt,
            None => config::default_mnt()?,
        },
    };
    setup::force_unmount(&mnt).await?;
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
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::args::Cli::command(), "hyperdrive", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
