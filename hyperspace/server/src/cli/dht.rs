//! A node of the DHT and nothing else: what a network of one's own is entered through.

use super::{relay, say};
use anyhow::{Context, Result, bail};
use hyperspace::Bootstrap;
use hyperswarm::hyperdht::{Endpoint, Options, PORT};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(clap::Args)]
pub(super) struct Dht {
    /// UDP port; 0 for any.
    #[arg(short, long, default_value_t = PORT)]
    port: u16,
    /// Address to bind. The first node of a network tells others this address, so it has
    /// to be one at which they reach it.
    #[arg(short = 'h', long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    host: Ipv4Addr,
    /// A node of the network to join; may be given several times. Without one, or with
    /// `none`, this is the first node of a network.
    #[arg(short, long, value_name = "HOST:PORT", env = hyperspace::BOOTSTRAP_VARIABLE, value_delimiter = ',')]
    bootstrap: Vec<String>,
    /// Never let others find this node; `--ephemeral=false`, the default, lets them at once.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    ephemeral: bool,
    /// Be a relay as well, for peers who cannot meet: its key is kept in this file, which is
    /// made if it is not there.
    #[arg(long, value_name = "FILE")]
    relay: Option<PathBuf>,
    /// Remember the nodes it knows in this file, for the next start.
    #[arg(long, value_name = "FILE")]
    remember: Option<PathBuf>,
}

/// Runs the node until a signal.
pub(super) async fn run(args: Dht) -> Result<ExitCode> {
    let bootstrap = match args.bootstrap.iter().all(|given| given.trim().is_empty()) {
        true => None,
        false => Bootstrap::parse(&args.bootstrap)?.nodes(),
    };
    let is_first = bootstrap.is_none();
    if is_first && args.ephemeral {
        bail!("the first node of a network cannot be ephemeral: nobody would find the others");
    }
    if is_first && args.host.is_unspecified() {
        tracing::warn!(
            "others on this machine alone can use this node; with --host ADDRESS others can as well"
        );
    }
    let options = Options {
        bootstrap: bootstrap.unwrap_or_default(),
        remember: args.remember,
        host: args.host,
        port: args.port,
        ephemeral: Some(args.ephemeral),
        firewalled: args.ephemeral,
        test_reachability: true,
        is_first,
    };
    let relay = args.relay.as_deref().map(relay::key_pair).transpose()?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let node = Endpoint::bind(options).await.context("cannot bind a UDP socket")?;
    let address = node.local_address();
    if args.port != 0 && address.port() != args.port {
        node.close().await;
        bail!("UDP port {} is taken; choose another with --port", args.port);
    }
    say!("DHT node listening on {address}");
    super::notify(sd_notify::NotifyState::Ready);
    let work = async {
        if node.ready().await {
            say!("DHT node is ready");
        }
        if let Some(pair) = &relay {
            let server = relay::listen(&node, pair).await?;
            server.announced().await;
            say!("Relaying for those who are started with --relay {}", relay::name(pair));
            relay::serve(&node, server).await;
        }
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        failed = work => failed?,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say!("Shutting down...");
    super::notify(sd_notify::NotifyState::Stopping);
    node.close().await;
    Ok(ExitCode::SUCCESS)
}
