//! A relay on a DHT node: it passes on what two peers send each other who cannot meet, and
//! cannot read it.

use anyhow::{Context, Result, bail};
use hyperspace_api::Key;
use hyperswarm::blind_relay::{Limits, Server as Relay};
use hyperswarm::hyperdht::{Endpoint, ListenOptions, Server};
use hyperswarm::{KeyPair, Options};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tokio::task::JoinSet;

/// The key pair whose seed is in `file`, which is made if it is not there: who uses a relay
/// knows it by its key.
pub(super) fn key_pair(file: &Path) -> Result<KeyPair> {
    let describe = || format!("the key of the relay in {}", file.display());
    match std::fs::File::open(file) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(33).read_to_end(&mut bytes).with_context(describe)?;
            match bytes.try_into() {
                Ok(seed) => Ok(KeyPair::from_seed(&seed)),
                Err(_) => bail!("{}: 32 bytes are expected there", describe()),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let pair = KeyPair::generate().context("no random numbers")?;
            let mut new = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(file)
                .with_context(describe)?;
            new.write_all(pair.seed()).and_then(|()| new.sync_all()).with_context(describe)?;
            Ok(pair)
        }
        Err(error) => Err(error).with_context(describe),
    }
}

/// Waits for those who use the relay.
pub(super) async fn listen(node: &Endpoint, pair: &KeyPair) -> Result<Server> {
    node.listen(pair, ListenOptions::default()).await.context("the relay cannot listen")
}

/// Serves them, until the node is closed. Their number is bounded by the relay.
pub(super) async fn serve(node: &Endpoint, mut server: Server) {
    let relay = Relay::new(node.udx().clone(), Limits::default());
    let mut users = JoinSet::new();
    loop {
        tokio::select! {
            dialed = server.accept() => {
                let Some(dialed) = dialed else { return };
                let (relay, address) = (relay.clone(), dialed.remote_address.ip());
                users.spawn(async move {
                    match dialed.connect(Options::default()).await {
                        Ok(connection) => relay.serve(connection, Some(address)).await,
                        Err(error) => tracing::debug!(%address, %error, "a user of the relay does not come"),
                    }
                });
            }
            Some(_) = users.join_next() => {}
        }
    }
}

/// As it is given to those who use it.
pub(super) fn name(pair: &KeyPair) -> Key {
    Key::from(pair.public_key())
}
