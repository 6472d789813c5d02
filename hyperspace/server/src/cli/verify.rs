//! Checking everything that is stored.

use super::say;
use anyhow::{Context, Result, bail};
use hypercore::storage::StoreOptions;
use hypercore::verify::{MAX_PROBLEMS, verify};
use hypercore::{Corestore, StoreError};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Reads all cores in `folder`, and says what is wrong with them.
pub(super) async fn run(folder: PathBuf) -> Result<ExitCode> {
    if !folder.is_dir() {
        bail!("there is no storage in {}", folder.display());
    }
    let opening = folder.clone();
    let opened =
        tokio::task::spawn_blocking(move || Corestore::open(opening, StoreOptions::default())).await?;
    let store = match opened {
        Err(error @ StoreError::InUse(_)) => bail!("{error}; stop that server first"),
        opened => opened.with_context(|| format!("cannot open the storage in {}", folder.display()))?,
    };
    let report = verify(&store).await.context("cannot read the storage")?;
    store.close().await.context("cannot close the storage")?;
    for problem in &report.problems {
        say!("{problem}");
    }
    let (cores, blocks, bytes) = (report.cores, report.blocks, report.bytes);
    say!("Checked {cores} cores, {blocks} blocks, {bytes} bytes");
    match report.problems.len() {
        0 => {
            say!("Everything is as it was signed");
            Ok(ExitCode::SUCCESS)
        }
        MAX_PROBLEMS => bail!("{MAX_PROBLEMS} problems or more"),
        1 => bail!("1 problem"),
        problems => bail!("{problems} problems"),
    }
}
