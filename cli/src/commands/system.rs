//! `status`, `force-unmount`, `fuse-setup`, `completions`.

use super::Setup;
use crate::output::{bytes, fields, yes};
use clap::CommandFactory;
use hyperdrive_service::setup::{self, MountState};
use hyperdrive_service::{Config, Network, config, paths};
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
        )?;
        status.network.as_ref().map_or(Ok(()), |network| print_network(out, network))
    })
}

/// The server's place in the network, in words.
fn print_network(out: &mut dyn Write, network: &Network) -> std::io::Result<()> {
    match &network.dht {
        None => writeln!(out, "It is not in the swarm (it was started with --bootstrap none)."),
        Some(dht) => {
            writeln!(out, "It is in the swarm:")?;
            let state = match (dht.ready, dht.online) {
                (false, _) => "looking for nodes",
                (true, true) => "online",
                (true, false) => "no node answers",
            };
            fields(
                out,
                &[
                    ("DHT", state.to_owned()),
                    ("Known Nodes", dht.nodes.to_string()),
                    ("NAT", dht.nat.clone()),
                    ("UDP Port", dht.port.to_string()),
                ],
            )
        }
    }?;
    for topic in &network.topics {
        let ways = match (topic.announce, topic.lookup) {
            (true, true) => "announced and looked up",
            (true, false) => "announced",
            _ => "looked up",
        };
        writeln!(out, "Topic {}: {ways}, {} peers", topic.discovery_key, topic.peers)?;
    }
    for peer in &network.peers {
        writeln!(
            out,
            "Peer {} at {} ({}{}): received {} ({}/s), sent {} ({}/s)",
            peer.remote_public_key,
            peer.remote_address,
            peer.kind,
            if peer.is_initiator { ", called by us" } else { "" },
            bytes(peer.received),
            bytes(peer.receive_rate as u64),
            bytes(peer.sent),
            bytes(peer.send_rate as u64),
        )?;
    }
    Ok(())
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
