//! `log`, `diff`, `checkout-mount`, `tag`.

use super::{Setup, at_root};
use crate::output::fields;
use hyperdrive_service::{ChangeKind, Target};
use std::path::Path;

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "added",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
    }
}

pub async fn log(setup: &Setup, target: &Target, root: bool, limit: usize) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let entries = client.log(&at_root(&client, target, root), limit).await?;
    setup.output.result(&entries, |out| {
        for entry in &entries {
            writeln!(out, "{:>8}  {}", entry.version, entry.path)?;
        }
        Ok(())
    })
}

pub async fn diff(setup: &Setup, path: &Path, from: &str) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let target = Target::Path(path.to_owned());
    let version = client.version(&target, from).await?;
    let changes = client.diff(&target, version).await?;
    setup.output.result(&changes, |out| {
        for change in &changes {
            writeln!(out, "{:8} {}", word(change.kind), change.path)?;
        }
        Ok(())
    })
}

pub async fn checkout_mount(setup: &Setup, path: &Path, version: &str, at: &Path) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let target = Target::Path(path.to_owned());
    let version = client.version(&target, version).await?;
    let drive = client.locate(&target).await?.drive;
    let mounted = client.mount(at, drive.key(), Some(version), false).await?;
    setup.output.result(&mounted, |out| {
        writeln!(out, "Mounted a past version, read-only:\n")?;
        fields(
            out,
            &[("Path", mounted.path.clone()), ("Key", mounted.key.clone()), ("Version", version.to_string())],
        )
    })
}

pub async fn tag(
    setup: &Setup,
    path: &Path,
    name: Option<&str>,
    version: Option<u64>,
    delete: bool,
) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let target = Target::Path(path.to_owned());
    match name {
        None => {
            let tags = client.tags(&target).await?;
            setup.output.result(&tags, |out| {
                for (name, version) in &tags {
                    writeln!(out, "{version:>8}  {name}")?;
                }
                Ok(())
            })
        }
        Some(name) if delete => {
            client.delete_tag(&target, name).await?;
            setup.output.result(&serde_json::json!({ "deleted": name }), |_| Ok(()))
        }
        Some(name) => {
            let version = client.create_tag(&target, name, version).await?;
            setup.output.result(&serde_json::json!({ "tag": name, "version": version }), |out| {
                writeln!(out, "Version {version} is now called {name}")
            })
        }
    }
}
