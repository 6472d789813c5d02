//! `ls`, `cat`, `put`, `rm`, `mkdir`: with or without a mount.

use super::{Setup, at_root};
use anyhow::Context;
use hyperdrive_service::{ServiceError, Target};
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Bytes read from a drive at a time.
const PIECE: usize = 1024 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    name: String,
    kind: &'static str,
    mode: u32,
    size: u64,
    mtime: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount: Option<String>,
}

pub async fn ls(setup: &Setup, target: &Target, root: bool, long: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let entries = client.list(&at_root(&client, target, root)).await?;
    let lines: Vec<Line> = entries
        .into_iter()
        .map(|entry| Line {
            kind: match &entry.stat {
                stat if stat.mount.is_some() => "mount",
                stat if stat.is_dir() => "directory",
                stat if stat.is_symlink() => "symlink",
                _ => "file",
            },
            name: entry.name,
            mode: entry.stat.mode & 0o7777,
            size: if entry.stat.is_file() { entry.stat.size } else { 0 },
            mtime: entry.stat.mtime,
            target: entry.stat.linkname.clone(),
            mount: entry.stat.mount.as_ref().map(|mount| mount.key.to_string()),
        })
        .collect();
    setup.output.result(&lines, |out| {
        for line in &lines {
            let slash = if matches!(line.kind, "directory" | "mount") { "/" } else { "" };
            if long {
                write!(out, "{:9} {:04o} {:>12} {:>13} ", line.kind, line.mode, line.size, line.mtime)?;
            }
            write!(out, "{}{slash}", line.name)?;
            match (long, &line.target, &line.mount) {
                (true, Some(target), _) => writeln!(out, " -> {target}")?,
                (true, _, Some(key)) => writeln!(out, " = {key}")?,
                _ => writeln!(out)?,
            }
        }
        Ok(())
    })
}

pub async fn cat(setup: &Setup, path: &Path) -> anyhow::Result<()> {
    let client = setup.client().await?;
    client.settle_target(&Target::Path(path.to_owned())).await;
    let inside = client.root().follow(&client.in_drive(path)?).await.map_err(ServiceError::from)?;
    let located = client.root().locate(&inside).await.map_err(ServiceError::from)?;
    if located.stat.is_dir() {
        return Err(ServiceError::Usage(format!(
            "{} is a folder. To list it: hyperdrive ls",
            path.display()
        ))
        .into());
    }
    let reader = located.drive.reader(&located.stat);
    let mut offset = 0;
    while offset < located.stat.size {
        let bytes = reader.read(offset, PIECE).await.map_err(ServiceError::from)?;
        anyhow::ensure!(!bytes.is_empty(), "{} ends before its size says", path.display());
        offset += bytes.len() as u64;
        std::io::stdout().write_all(&bytes)?;
    }
    std::io::stdout().flush()?;
    Ok(())
}

pub async fn put(setup: &Setup, path: &Path, file: Option<&Path>) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let failed = |from: &Path| format!("Could not read {}", from.display());
    let (size, mode) = match file {
        Some(from) => {
            let file = File::open(from).with_context(|| failed(from))?;
            let kind = file.metadata().with_context(|| failed(from))?.file_type();
            if kind.is_dir() {
                let text = format!("{} is a folder. To copy it: hyperdrive import", from.display());
                return Err(ServiceError::Usage(text).into());
            }
            let file = if kind.is_file() { file } else { spooled(file).with_context(|| failed(from))? };
            client.put(path, file).await?
        }
        None => {
            let copy = spooled(std::io::stdin().lock()).context("Could not read standard input")?;
            client.put(path, copy).await?
        }
    };
    let done = serde_json::json!({ "path": client.in_drive(path)?, "size": size, "mode": mode });
    setup.output.result(&done, |out| writeln!(out, "Wrote {size} bytes to {}", path.display()))
}

/// A pipe can be of any length and cannot be read twice: it goes by a file.
fn spooled(mut from: impl Read) -> std::io::Result<File> {
    let mut copy = tempfile::tempfile()?;
    std::io::copy(&mut from, &mut copy)?;
    Ok(copy)
}

pub async fn rm(setup: &Setup, path: &Path, recursive: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    client.remove(path, recursive).await?;
    setup.output.result(&serde_json::json!({ "removed": client.in_drive(path)? }), |_| Ok(()))
}

pub async fn mkdir(setup: &Setup, path: &Path, parents: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    client.mkdir(path, parents).await?;
    setup.output.result(&serde_json::json!({ "made": client.in_drive(path)? }), |_| Ok(()))
}
