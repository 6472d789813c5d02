//! The command line of `hyperspace`. What it prints, other programs may read: the
//! lines are those of npm hyperspace. The log goes to stderr.

mod dht;
mod relay;
mod running;
mod simulator;
mod verify;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Parser, Subcommand};
use hyperspace::config::{default_storage, socket_path};
use hyperspace::listen::ListenError;
use hyperspace::{Bootstrap, ClientChange, Config, Endpoint, StartError, Storage};
use hyperspace_api::Key;
use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Prints a line; that nobody reads them is no reason to stop.
macro_rules! say {
    ($($arg:tt)*) => {{
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, $($arg)*).and_then(|()| out.flush());
    }};
}
pub(crate) use say;

/// Keeps this machine's hypercores, and lends them to every local program.
#[derive(Parser)]
#[command(name = "hyperspace", version, disable_help_flag = true, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    serve: Serve,
    /// Print help.
    #[arg(long, action = ArgAction::Help, global = true)]
    help: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Args)]
struct Serve {
    /// Name of the socket [default: $HYPERSPACE_SOCKET, else hyperspace]; with --port
    /// the address to listen on.
    #[arg(short = 'h', long, value_name = "NAME")]
    host: Option<String>,
    /// Listen on TCP instead, on the loopback address unless --host says otherwise.
    /// Whoever can connect has full access.
    #[arg(short, long)]
    port: Option<u16>,
    /// Folder of the data [default: ~/.hyperspace/storage].
    #[arg(short, long, value_name = "FOLDER")]
    storage: Option<PathBuf>,
    /// A node through which to enter the swarm; may be given several times. `none`: no swarm
    /// at all [default: the public network].
    #[arg(short, long, value_name = "HOST:PORT", env = hyperspace::BOOTSTRAP_VARIABLE, value_delimiter = ',')]
    bootstrap: Vec<String>,
    /// Take calls of peers there, over TCP; may be given several times.
    #[arg(short, long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Call the peer there, over TCP; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    peer: Vec<String>,
    /// A relay to meet at with peers when there is no direct way, by its key; may be given
    /// several times.
    #[arg(long, value_name = "KEY")]
    relay: Vec<Key>,
    /// UDP port to prefer.
    #[arg(short, long, value_name = "PORT")]
    network_port: Option<u16>,
    /// Keep everything in memory, and nothing when it ends.
    #[arg(long, conflicts_with = "storage")]
    memory_only: bool,
    /// Announce nothing, whatever clients ask for.
    #[arg(long)]
    no_announce: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Read and check everything in the storage: checksums, trees, signatures. Exits
    /// with 1 if anything is wrong.
    Verify {
        /// Folder of the data [default: ~/.hyperspace/storage].
        #[arg(short, long, value_name = "FOLDER")]
        storage: Option<PathBuf>,
    },
    /// Run a node of the DHT and nothing else: what a network of one's own is entered
    /// through, with --bootstrap HOST:PORT.
    Dht(dht::Dht),
    /// Run a command with a throw-away server, which its clients find by
    /// HYPERSPACE_SOCKET. Exits as the command does.
    Simulator {
        /// The command and its arguments.
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

pub(crate) fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| {
            runtime.block_on(async {
                match cli.command {
                    None => serve(cli.serve).await,
                    Some(Command::Verify { storage }) => {
                        verify::run(storage.unwrap_or_else(default_storage)).await
                    }
                    Some(Command::Dht(args)) => dht::run(args).await,
                    Some(Command::Simulator { command }) => simulator::run(command).await,
                }
            })
        });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hyperspace: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Serve) -> Result<ExitCode> {
    let (version, system, machine) =
        (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    say!("Running hyperspace/{version} {system}-{machine}");
    let storage = match args.storage {
        _ if args.memory_only => Storage::Memory,
        Some(folder) => Storage::Folder(folder),
        None => Storage::Folder(default_storage()),
    };
    let config = Config {
        storage,
        endpoint: Some(endpoint(args.host.as_deref(), args.port)?),
        no_announce: args.no_announce,
        bootstrap: Bootstrap::parse(&args.bootstrap)?,
        network_port: args.network_port,
        relays: args.relay,
        listen: args.listen,
        peers: args.peer,
        on_client: Some(Arc::new(|change| match change {
            ClientChange::Opened => say!("Remote client opened"),
            ClientChange::Closed => say!("Remote client closed"),
        })),
        ..Config::default()
    };
    // Before anybody learns that there is something to send signals to.
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut server = match hyperspace::start(config).await {
        Err(StartError::Listen(ListenError::InUse(endpoint))) => {
            running::report(&endpoint).await?;
            return Ok(ExitCode::FAILURE);
        }
        started => started?,
    };
    for address in server.listening() {
        say!("Listening for peers on {address}");
    }
    say!("Listening on {}", server.endpoint());
    notify(sd_notify::NotifyState::Ready);
    tokio::select! {
        stopped = server.wait() => {
            say!("Shutting down...");
            stopped.context("cannot stop cleanly")?;
            return Ok(ExitCode::SUCCESS);
        }
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say!("Shutting down...");
    notify(sd_notify::NotifyState::Stopping);
    tokio::select! {
        stopped = server.shutdown() => stopped.context("cannot stop cleanly")?,
        // What was acknowledged survives this as well.
        _ = interrupt.recv() => bail!("interrupted again; not waiting any longer"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells systemd, if it started us.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify systemd");
    }
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
