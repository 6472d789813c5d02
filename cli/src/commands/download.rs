//! `download`: local copies of what peers have.

use super::{Setup, at_root};
use crate::output::bytes;
use crate::progress::DownloadBar;
use hyperdrive_service::Target;
use serde_json::json;

pub async fn download(setup: &Setup, target: &Target, root: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let mut bar = DownloadBar::new(setup.output);
    let done = client.download(&at_root(&client, target, root), |progress| bar.show(&progress)).await;
    bar.finish();
    let done = done?;
    let facts = json!({ "event": "end", "files": done.files, "blocks": done.blocks, "bytes": done.bytes });
    setup
        .output
        .result(&facts, |out| writeln!(out, "All of {} files is here ({}).", done.files, bytes(done.bytes)))
}

pub async fn clear(setup: &Setup, target: &Target, root: bool) -> anyhow::Result<()> {
    let client = setup.client().await?;
    let cleared = client.clear(&at_root(&client, target, root)).await?;
    let facts = json!({ "files": cleared.files, "blocks": cleared.blocks, "bytes": cleared.bytes });
    setup.output.result(&facts, |out| {
        writeln!(
            out,
            "The content of {} files is no longer here ({} given back).",
            cleared.files,
            bytes(cleared.bytes)
        )
    })
}
