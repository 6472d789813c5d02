//! `peer`: the addresses that the server calls.

use super::Setup;
use crate::args::Peer;
use hyperdrive_service::{PeerAddress, Peers};

pub async fn run(setup: &Setup, action: &Peer) -> anyhow::Result<()> {
    // The server's own business: it needs no root drive.
    let peers = Peers::connect(setup.options.endpoint.clone()).await?;
    match action {
        Peer::Add { address, once } => {
            let added = peers.add(address, !once).await?;
            setup.output.result(&added, |out| {
                writeln!(
                    out,
                    "The server calls {address} from now on{}.",
                    if *once { ", until it stops" } else { "" }
                )
            })
        }
        Peer::Remove { address } => {
            peers.remove(address).await?;
            let done = serde_json::json!({ "removed": address });
            setup.output.result(&done, |out| writeln!(out, "The server no longer calls {address}."))
        }
        Peer::List => {
            let list = peers.list().await?;
            setup.output.result(&list, |out| {
                if list.is_empty() {
                    writeln!(out, "No peers are called. To call one: hyperdrive peer add HOST:PORT")?;
                }
                list.iter().try_for_each(|peer| writeln!(out, "{}", line(peer)))
            })
        }
    }
}

/// One address, in words.
fn line(peer: &PeerAddress) -> String {
    let state = match (&peer.remote_public_key, &peer.error) {
        (Some(key), _) => format!("connected with {key}"),
        (None, Some(error)) => format!("not connected: {error}"),
        (None, None) => "being called".to_owned(),
    };
    format!("{}: {state}{}", peer.address, if peer.remember { "" } else { " (until the server stops)" })
}
