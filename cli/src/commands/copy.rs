//! `import` and `export`, once or for ever.

use super::Setup;
use super::stop::Stop;
use crate::progress::Progress;
use hyperdrive_service::mirror::FolderWatch;
use hyperdrive_service::{ImportOptions, Key, ServiceError, Summary};
use std::path::{Path, PathBuf};

pub async fn import(
    setup: &Setup,
    dir: &Path,
    key: Option<Key>,
    seed: bool,
    watch: bool,
    options: &ImportOptions,
) -> anyhow::Result<()> {
    if !dir.is_dir() {
        return Err(ServiceError::Usage(format!("{} is not a folder.", dir.display())).into());
    }
    let client = setup.client().await?;
    let drive = client.import_target(dir, key).await?;
    if seed {
        client.configure(drive.discovery_key(), true, true, true).await?;
    }
    announce(setup, &format!("Importing {} into {}", dir.display(), drive.key()), watch);
    // Watched before the first look, so that no change falls between.
    let mut watching = match watch {
        true => Some((FolderWatch::new(dir)?, Stop::new()?)),
        false => None,
    };
    loop {
        let mut progress = Progress::new(setup.output, "Importing");
        let summary =
            hyperdrive_service::import(&drive, "/", dir, options, &mut |event| progress.event(event)).await?;
        progress.finish();
        client.flush().await?;
        summarise(setup, "Import", &drive.key().to_string(), dir, &summary)?;
        match &mut watching {
            None => return failures(&summary),
            Some((changes, stop)) => tokio::select! {
                () = stop.asked() => return Ok(()),
                () = changes.changed() => {}
            },
        }
    }
}

pub async fn export(
    setup: &Setup,
    key: Option<Key>,
    dir: Option<PathBuf>,
    recursive: bool,
    watch: bool,
) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let (drive, dir) = client.export_target(key, dir).await?;
    announce(setup, &format!("Exporting {} into {}", drive.key(), dir.display()), watch);
    let mut changes = drive.changes();
    let mut stop = watch.then(Stop::new).transpose()?;
    loop {
        let mut progress = Progress::new(setup.output, "Exporting");
        let summary =
            hyperdrive_service::export(&drive, "/", &dir, recursive, &mut |event| progress.event(event))
                .await?;
        progress.finish();
        summarise(setup, "Export", &drive.key().to_string(), &dir, &summary)?;
        let Some(stop) = &mut stop else { return failures(&summary) };
        tokio::select! {
            () = stop.asked() => return Ok(()),
            // Missed changes are changes all the same.
            _ = changes.recv() => {}
        }
    }
}

fn announce(setup: &Setup, what: &str, watch: bool) {
    setup.output.say(&format!("{what}{}...", if watch { " (Ctrl+c to exit)" } else { "" }));
}

fn summarise(setup: &Setup, what: &str, key: &str, dir: &Path, summary: &Summary) -> anyhow::Result<()> {
    let done = serde_json::json!({ "event": "end", "key": key, "dir": dir, "summary": summary });
    setup.output.result(&done, |out| {
        let Summary { written, unchanged, removed, bytes, failed } = summary;
        writeln!(
            out,
            "{what} completed: {written} written ({}), {unchanged} unchanged, {removed} removed, {failed} failed.",
            crate::output::bytes(*bytes)
        )
    })
}

fn failures(summary: &Summary) -> anyhow::Result<()> {
    anyhow::ensure!(summary.failed == 0, "{} entries could not be copied; see above", summary.failed);
    Ok(())
}
