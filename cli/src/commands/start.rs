//! `start`: the service in the foreground, with a server of its own when none listens.

use super::{Setup, key};
use crate::args::Start;
use anyhow::Context;
use hyperdrive_service::{Endpoint, Service, ServiceOptions};
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub async fn start(setup: &Setup, args: Start) -> anyhow::Result<()> {
    // Installed first: a signal during the start must not leave a mount behind.
    let mut stop = Stop::new()?;
    let mut options = ServiceOptions::new()?;
    options.endpoint = setup.options.endpoint.clone();
    options.timeout = setup.options.timeout;
    options.mnt = args.mnt.clone();
    options.key = args.key.as_deref().map(key).transpose()?;
    options.fuse = !args.no_fuse;
    options.allow_other = args.allow_other;
    options.read_only = args.read_only;
    options.force = args.force;
    let storage = match &args.storage {
        Some(dir) => dir.clone(),
        None => hyperspace::config::default_storage().context("Where to keep the cores is not known")?,
    };
    options.storage = Some(storage.clone());

    let server = match options.endpoint.is_listening().await {
        true => None,
        false if args.no_embedded => anyhow::bail!(
            "No Hyperspace server is listening at {}. Start one with: hyperspace, or leave out --no-embedded",
            options.endpoint
        ),
        false => Some(embedded(&options.endpoint, storage, args.bootstrap).await?),
    };
    let ran = run(setup, options, server.is_some(), &mut stop).await;
    if let Some(server) = server {
        server.shutdown().await.context("The embedded server did not stop well")?;
    }
    ran
}

/// Runs the service until a signal, or until somebody unmounts the drive.
async fn run(setup: &Setup, options: ServiceOptions, embedded: bool, stop: &mut Stop) -> anyhow::Result<()> {
    let fuse = options.fuse;
    let mut service = tokio::select! {
        started = Service::start(options) => started?,
        () = stop.asked() => return Ok(()),
    };
    let root = service.root().key().to_string();
    let facts = serde_json::json!({
        "event": "started",
        "rootDriveKey": root,
        "mnt": service.mnt(),
        "mounted": fuse,
        "embedded": embedded,
    });
    setup.output.result(&facts, |out| {
        if embedded {
            writeln!(out, "No Hyperspace server was listening: running one in this process.")?;
        }
        match fuse {
            true => writeln!(out, "Mounted {root} at {}", service.mnt().display())?,
            false => writeln!(out, "Serving {root}, not mounted")?,
        }
        writeln!(out, "Hyperdrive service is running (Ctrl+c to stop)...")
    })?;
    // Not under systemd, this does nothing.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        () = stop.asked() => {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            if !setup.output.json {
                println!("Shutting down...");
            }
        }
        () = service.unmounted() => {
            if !setup.output.json {
                println!("The drive was unmounted.");
            }
        }
    }
    service.stop().await?;
    Ok(())
}

async fn embedded(
    endpoint: &Endpoint,
    storage: PathBuf,
    bootstrap: Vec<String>,
) -> anyhow::Result<hyperspace::RunningServer> {
    let config = hyperspace::Config {
        storage: Some(storage),
        bootstrap,
        ..hyperspace::Config::new(listen_on(endpoint))
    };
    hyperspace::start(config).await.context("Could not start a Hyperspace server")
}

/// The server's word for where the client would have connected.
fn listen_on(endpoint: &Endpoint) -> hyperspace::Listen {
    match endpoint {
        Endpoint::Unix(path) => hyperspace::Listen::Unix(path.clone()),
        Endpoint::Tcp(address) => hyperspace::Listen::Tcp(address.clone()),
    }
}

/// SIGINT and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("Could not wait for signals");
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
