//! The command line of `hyperspace`.

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Parser, Subcommand};
use hyperspace::config::{default_storage, socket_path};
use hyperspace::listen::ListenError;
use hyperspace::{ClientChange, Config, Endpoint, StartError, Storage};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Hypercores in one place, for every program on this machine.
#[derive(Parser)]
#[command(name = "hyperspace", version, disable_help_flag = true)]
struct Cli {
    /// Name of the socket to listen on; with --port, the address.
    #[arg(short = 'h', long)]
    host: Option<String>,
    /// Listen on TCP instead, on this port; on the loopback address unless --host
    /// says otherwise. Anyone who can connect has full access.
    #[arg(short, long)]
    port: Option<u16>,
    /// Folder of the data [default: ~/.hyperspace/storage].
    #[arg(short, long, global = true)]
    storage: Option<PathBuf>,
    /// A node through which to enter the swarm, as HOST:PORT; may be repeated.
    #[arg(short, long, env = "HYPERSPACE_BOOTSTRAP", value_delimiter = ',')]
    bootstrap: Vec<String>,
    /// Preferred UDP port.
    #[arg(short, long)]
    network_port: Option<u16>,
    /// Keep everything in memory, and nothing after the end.
    #[arg(long)]
    memory_only: bool,
    /// Never announce anything, whatever clients ask for.
    #[arg(long)]
    no_announce: bool,
    /// Print help.
    #[arg(long, action = ArgAction::Help, global = true)]
    help: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {}

pub(crate) fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hyperspace: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hyperspace: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    println!(
        "Running hyperspace/{} {}-{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let config = Config {
        storage: if cli.memory_only {
            Storage::Memory
        } else {
            Storage::Folder(cli.storage.unwrap_or_else(default_storage))
        },
        endpoint: Some(endpoint(cli.host.as_deref(), cli.port)?),
        no_announce: cli.no_announce,
        bootstrap: cli.bootstrap,
        network_port: cli.network_port,
        on_client: Some(Arc::new(|change| match change {
            ClientChange::Opened => println!("Remote client opened"),
            ClientChange::Closed => println!("Remote client closed"),
        })),
        ..Config::default()
    };
    // Before the first line that tells somebody to send one.
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut server = hyperspace::start(config).await?;
    println!("Listening on {}", server.endpoint());
    tokio::select! {
        stopped = server.wait() => {
            stopped.context("cannot stop cleanly")?;
            return Ok(ExitCode::SUCCESS);
        }
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("Shutting down...");
    server.shutdown().await.context("cannot stop cleanly")?;
    Ok(ExitCode::SUCCESS)
}

fn endpoint(host: Option<&str>, port: Option<u16>) -> Result<Endpoint> {
    let Some(port) = port else {
        return Ok(Endpoint::Unix(socket_path(host)));
    };
    let Some(host) = host else {
        return Ok(Endpoint::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
    };
    let mut addresses =
        (host, port).to_socket_addrs().with_context(|| format!("cannot find the address of {host}"))?;
    match addresses.next() {
        Some(address) => Ok(Endpoint::Tcp(address)),
        None => bail!("{host} has no address"),
    }
}
