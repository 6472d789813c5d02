//! `start`: the service in the foreground, with a server of its own when none listens.

use super::stop::Stop;
use super::{Setup, key};
use crate::args::Start;
use anyhow::Context;
use hyperdrive_service::{Endpoint, Peers, Service, ServiceOptions};
use std::path::PathBuf;

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
    let storage = args.storage.clone().unwrap_or_else(hyperspace::config::default_storage);
    options.storage = Some(storage.clone());

    let server = match is_listening(&options.endpoint).await {
        true => {
            if args.storage.is_some() {
                eprintln!(
                    "hyperdrive: --storage is not used: the server that listens at {} has its own",
                    options.endpoint
                );
            }
            if !args.listen.is_empty() {
                eprintln!(
                    "hyperdrive: --listen is not used: the server that listens at {} was started with its own",
                    options.endpoint
                );
            }
            call(&options.endpoint, &args.peer).await?;
            None
        }
        false if args.no_embedded => anyhow::bail!(
            "No Hyperspace server is listening at {}. Start one with: hyperspace, or leave out --no-embedded",
            options.endpoint
        ),
        false => Some(embedded(&options.endpoint, storage, &args).await?),
    };
    let ran = run(setup, options, server.as_ref(), &mut stop).await;
    if let Some(server) = server {
        server.shutdown().await.context("The embedded server did not stop well")?;
    }
    ran
}

/// Runs the service until a signal, or until somebody unmounts the drive.
async fn run(
    setup: &Setup,
    options: ServiceOptions,
    embedded: Option<&hyperspace::RunningServer>,
    stop: &mut Stop,
) -> anyhow::Result<()> {
    let fuse = options.fuse;
    let listening: Vec<_> = embedded.iter().flat_map(|server| server.listening()).collect();
    let service = tokio::select! {
        started = Service::start(options) => started?,
        () = stop.asked() => return Ok(()),
    };
    let root = service.root().key().to_string();
    let facts = serde_json::json!({
        "event": "started",
        "rootDriveKey": root,
        "mnt": service.mnt(),
        "mounted": fuse,
        "embedded": embedded.is_some(),
        "listening": listening,
        "replaced": service.replaced().map(|key| key.to_string()),
    });
    // That nobody reads what we say is no reason to stop.
    let _ = setup.output.result(&facts, |out| {
        if embedded.is_some() {
            writeln!(out, "No Hyperspace server was listening: running one in this process.")?;
        }
        for address in &listening {
            writeln!(out, "Peers may call at {address}")?;
        }
        match fuse {
            true => writeln!(out, "Mounted {root} at {}", service.mnt().display())?,
            false => writeln!(out, "Serving {root}, not mounted")?,
        }
        if let Some(key) = service.replaced() {
            writeln!(out, "The root drive was {key} before. To go back: hyperdrive start --key {key}")?;
        }
        writeln!(out, "Hyperdrive service is running (Ctrl+c to stop)...")
    });
    // Not under systemd, this does nothing.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        () = stop.asked() => {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            setup.output.say("Shutting down...");
        }
        () = service.unmounted() => {
            setup.output.say("The drive was unmounted.");
        }
    }
    service.stop().await?;
    Ok(())
}

/// Does anything accept connections there?
async fn is_listening(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(path) => tokio::net::UnixStream::connect(path).await.is_ok(),
        Endpoint::Tcp(address) => tokio::net::TcpStream::connect(address).await.is_ok(),
    }
}

/// Has a server that runs already call peers. What it calls by itself it goes on to
/// remember.
async fn call(endpoint: &Endpoint, addresses: &[String]) -> anyhow::Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let peers = Peers::connect(endpoint.clone()).await?;
    let known = peers.list().await?;
    for address in addresses.iter().filter(|address| known.iter().all(|peer| peer.address != **address)) {
        peers.add(address, false).await?;
    }
    Ok(())
}

async fn embedded(
    endpoint: &Endpoint,
    storage: PathBuf,
    args: &Start,
) -> anyhow::Result<hyperspace::RunningServer> {
    let listen = match endpoint {
        Endpoint::Unix(path) => hyperspace::Endpoint::Unix(path.clone()),
        Endpoint::Tcp(address) => {
            let resolved =
                tokio::net::lookup_host(address).await.with_context(|| format!("No such host: {address}"))?;
            let first = resolved.into_iter().next().with_context(|| format!("No address of {address}"))?;
            hyperspace::Endpoint::Tcp(first)
        }
    };
    let config = hyperspace::Config {
        storage: hyperspace::Storage::Folder(storage),
        endpoint: Some(listen),
        bootstrap: hyperspace::Bootstrap::parse(&args.bootstrap)?,
        relays: args.relay.iter().map(|relay| key(relay)).collect::<Result<_, _>>()?,
        network_port: args.network_port,
        no_announce: args.no_announce,
        listen: args.listen.clone(),
        peers: args.peer.clone(),
        ..hyperspace::Config::default()
    };
    hyperspace::start(config).await.context("Could not start a Hyperspace server")
}
