//! `create`, `mount`, `unmount`, `info`, `seed`, `unseed`, `stats`.

use super::{Setup, at_root};
use crate::output::{bytes, fields, yes};
use hyperdrive_service::{Info, Key, Mounted, Target};
use std::io::Write;
use std::path::Path;

fn mounted(setup: &Setup, what: &str, mounted: &Mounted) -> anyhow::Result<()> {
    setup.output.result(mounted, |out| {
        writeln!(out, "{what} a drive with the following info:\n")?;
        let mut lines = vec![("Path", mounted.path.clone()), ("Key", mounted.key.clone())];
        lines.extend(mounted.version.map(|version| ("Version", version.to_string())));
        lines.push(("Seeding", yes(mounted.seeding)));
        fields(out, &lines)?;
        if !mounted.seeding {
            writeln!(out, "\nThis drive is private by default. To publish it: hyperdrive seed PATH")?;
        }
        Ok(())
    })
}

pub async fn create(setup: &Setup, path: &Path, seed: bool) -> anyhow::Result<()> {
    let made = setup.client().await?.create(path, seed).await?;
    mounted(setup, "Created", &made)
}

pub async fn mount(
    setup: &Setup,
    path: &Path,
    key: Key,
    version: Option<u64>,
    seed: bool,
) -> anyhow::Result<()> {
    let made = setup.client().await?.mount(path, key, version, seed).await?;
    mounted(setup, "Mounted", &made)
}

pub async fn unmount(setup: &Setup, path: &Path) -> anyhow::Result<()> {
    let client = setup.client().await?;
    client.unmount(path).await?;
    let done = serde_json::json!({ "unmounted": client.in_drive(path)? });
    setup.output.result(&done, |out| writeln!(out, "Successfully unmounted the drive."))
}

/// How much of something there is here.
fn here(part: u64, whole: u64) -> String {
    let percent = if whole == 0 { 100 } else { u128::from(part) * 100 / u128::from(whole) };
    format!("{} of {} ({percent}%)", bytes(part), bytes(whole))
}

/// What was exchanged, and how fast that goes.
fn moved(all: u64, rate: u64) -> String {
    format!("{}, {}/s now", bytes(all), bytes(rate))
}

fn info_lines(out: &mut dyn Write, info: &Info) -> std::io::Result<()> {
    writeln!(out, "Drive Info:")?;
    fields(
        out,
        &[
            ("Key", info.key.clone()),
            ("Discovery Key", info.discovery_key.clone()),
            ("Is Mount", yes(info.is_mount)),
            ("Path in Drive", info.mount_path.clone()),
            ("Writable", yes(info.writable)),
            ("Version", info.version.to_string()),
            ("Announce", yes(info.announce)),
            ("Lookup", yes(info.lookup)),
            ("Remember", yes(info.remember)),
            ("Peers", info.peers.to_string()),
            ("Here", here(info.disk_bytes, info.byte_length)),
            ("Downloaded", moved(info.traffic.received_bytes, info.traffic.download_rate)),
            ("Uploaded", moved(info.traffic.uploaded_bytes, info.traffic.upload_rate)),
        ],
    )
}

pub async fn info(setup: &Setup, target: &Target, root: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let info = client.info(&at_root(&client, target, root)).await?;
    setup.output.result(&info, |out| info_lines(out, &info))
}

pub async fn seed(setup: &Setup, target: &Target, root: bool, remember: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let info = client.seed(&at_root(&client, target, root), remember).await?;
    setup.output.result(&info, |out| writeln!(out, "Seeding the drive with key {}", info.key))
}

pub async fn unseed(setup: &Setup, target: &Target, root: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let info = client.unseed(&at_root(&client, target, root)).await?;
    setup.output.result(&info, |out| writeln!(out, "Unseeded the drive with key {}", info.key))
}

pub async fn stats(setup: &Setup, target: &Target, root: bool, storage: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let stats = client.stats(&at_root(&client, target, root), storage).await?;
    setup.output.result(&stats, |out| {
        for (mount, drive) in &stats.network {
            writeln!(out, "{mount}")?;
            for (name, core) in [("Metadata", Some(&drive.metadata)), ("Content", drive.content.as_ref())] {
                let Some(core) = core else { continue };
                writeln!(
                    out,
                    "  {name}: {} of {} blocks here, {}; {} peers{}",
                    core.downloaded_blocks,
                    core.length,
                    here(core.disk_bytes, core.byte_length),
                    core.peers.len(),
                    if core.writable { ", writable" } else { "" },
                )?;
                let traffic = &core.traffic;
                writeln!(out, "    Downloaded:    {}", moved(traffic.received_bytes, traffic.download_rate))?;
                writeln!(out, "    Uploaded:      {}", moved(traffic.uploaded_bytes, traffic.upload_rate))?;
                for peer in &core.peers {
                    writeln!(
                        out,
                        "    Peer:          {} at {}",
                        peer.remote_public_key, peer.remote_address
                    )?;
                }
                writeln!(out, "    Key:           {}", core.key)?;
                writeln!(out, "    Discovery Key: {}", core.discovery_key)?;
            }
        }
        for (path, file) in &stats.storage {
            writeln!(
                out,
                "{path}: {}, {} of {} blocks here",
                bytes(file.size),
                file.downloaded_blocks,
                file.blocks
            )?;
        }
        Ok(())
    })
}
