//! The command line of `hyperdrive`.

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Folders in the Hyperswarm: mount, share and mirror hyperdrives.
#[derive(Debug, Parser)]
#[command(name = "hyperdrive", version, arg_required_else_help = true)]
pub struct Cli {
    /// Print the result as JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,

    /// Socket name of the Hyperspace server, or its address when --port is given
    #[arg(long, global = true, env = "HYPERSPACE_HOST", value_name = "NAME")]
    pub host: Option<String>,

    /// TCP port of the Hyperspace server (default: its local socket)
    #[arg(long, global = true, value_name = "PORT")]
    pub port: Option<u16>,

    /// Seconds to wait for data that only peers have
    #[arg(long, global = true, default_value = "15", value_parser = seconds, value_name = "SECONDS")]
    pub timeout: Duration,

    #[command(subcommand)]
    pub command: Command,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service: mount the root drive and keep it mounted (Ctrl+c to stop)
    Start(Start),
    /// Is the server there, is the root drive mounted?
    Status,
    /// Make a new drive and mount it at PATH
    Create {
        /// A path in the mounted folder where nothing is yet
        path: PathBuf,
        /// Keep it off the network
        #[arg(long)]
        no_seed: bool,
    },
    /// Mount the drive KEY as a folder at PATH
    Mount {
        /// A path in the mounted folder where nothing is yet
        path: PathBuf,
        /// The drive's key: hex, z-base-32, or either after hyper:// or pear://
        key: String,
        /// Stay at this version of it
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Help to share it
        #[arg(long)]
        seed: bool,
    },
    /// Take the mount at PATH away; the drive itself stays
    Unmount {
        /// A mounted drive
        path: PathBuf,
    },
    /// What is known of the drive that PATH lies in
    Info(TargetArgs),
    /// Announce a drive to the swarm, and keep doing so
    Seed {
        #[command(flatten)]
        target: TargetArgs,
        /// Only until the server stops
        #[arg(long)]
        no_remember: bool,
    },
    /// Do not announce a drive any longer
    Unseed(TargetArgs),
    /// The cores of a drive and of what is mounted in it, and their peers
    Stats {
        #[command(flatten)]
        target: TargetArgs,
        /// How much of each file is held here, too
        #[arg(long)]
        storage: bool,
    },
    /// The addresses of peers that the server calls
    Peer {
        #[command(subcommand)]
        action: Peer,
    },
    /// Copy a folder of the computer into a drive
    Import {
        /// The folder
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// The drive (default: the one DIR was imported into before, else a new one)
        key: Option<String>,
        /// Keep it off the network
        #[arg(long)]
        no_seed: bool,
        /// Go on: import whatever changes
        #[arg(long)]
        watch: bool,
        /// Import what ignore files name, too
        #[arg(long)]
        no_ignore: bool,
        /// Import .git and node_modules, too
        #[arg(long)]
        all: bool,
        /// Do not remove from the drive what is not in DIR
        #[arg(long)]
        keep: bool,
    },
    /// Copy a drive into a folder of the computer
    Export {
        /// The drive (default: the one the working directory is an export of)
        key: Option<String>,
        /// The folder (default: one named by the key, in the working directory)
        dir: Option<PathBuf>,
        /// Export the drives mounted in it, too
        #[arg(long)]
        recursive: bool,
        /// Go on: export whatever changes
        #[arg(long)]
        watch: bool,
    },
    /// Fetch all of a file, a folder or a drive from peers, to have it when they are away
    Download {
        #[command(flatten)]
        target: TargetArgs,
        /// Give the disk space back instead: what is read later is fetched again
        #[arg(long)]
        clear: bool,
    },
    /// List a folder of a drive
    Ls {
        #[command(flatten)]
        target: TargetArgs,
        /// Sizes, times and permissions, too
        #[arg(short, long)]
        long: bool,
    },
    /// Print a file of a drive
    Cat {
        /// A file in the mounted folder
        path: PathBuf,
    },
    /// Write a file of a drive from standard input, or from FILE
    Put {
        /// Where to, in the mounted folder
        path: PathBuf,
        /// Where from (default: standard input)
        file: Option<PathBuf>,
    },
    /// Remove a file of a drive
    Rm {
        /// What, in the mounted folder
        path: PathBuf,
        /// Remove a folder and all that is in it
        #[arg(short, long)]
        recursive: bool,
    },
    /// Make a folder in a drive
    Mkdir {
        /// Where, in the mounted folder
        path: PathBuf,
        /// Make those above it too; no error if it is there
        #[arg(short, long)]
        parents: bool,
    },
    /// The history of a drive
    Log {
        #[command(flatten)]
        target: TargetArgs,
        /// At most this many entries, the newest
        #[arg(short = 'n', long, default_value = "50", value_name = "N")]
        limit: usize,
    },
    /// What changed in a drive since a version or tag
    Diff {
        /// A path in the drive
        path: PathBuf,
        /// A version number or a tag
        from: String,
    },
    /// Mount a past version of a drive, read-only, at another path
    CheckoutMount {
        /// A path in the drive
        path: PathBuf,
        /// A version number or a tag
        version: String,
        /// Where, in the mounted folder
        at: PathBuf,
    },
    /// Name a version of a drive; without a NAME, list the names
    Tag {
        /// A path in the drive
        path: PathBuf,
        /// The name
        name: Option<String>,
        /// Which version (default: the current one)
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Remove the name
        #[arg(long, requires = "name", conflicts_with = "version")]
        delete: bool,
    },
    /// A pipe to another machine: standard input there is standard output here, and the
    /// other way round
    Beam(Beam),
    /// Detach a mount, however dead it is
    ForceUnmount {
        /// The mount (default: the configured one)
        mnt: Option<PathBuf>,
    },
    /// Is this computer fit to mount drives? If not: what mends it
    FuseSetup,
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// `beam`
#[derive(Debug, Args)]
pub struct Beam {
    /// The phrase that the other side shows (default: make one up, show it, and wait)
    pub phrase: Option<String>,
    /// Wait for the other side with PHRASE, instead of dialling it
    #[arg(long, requires = "phrase")]
    pub wait: bool,
    /// DHT bootstrap node HOST:PORT (repeatable)
    #[arg(long, value_name = "ADDRESS", env = "HYPERSPACE_BOOTSTRAP", value_delimiter = ',')]
    pub bootstrap: Vec<String>,
}

/// `start`
#[derive(Debug, Args)]
pub struct Start {
    /// Where to mount (default: where it was mounted before, else ~/Hyperdrive)
    #[arg(long, value_name = "DIR")]
    pub mnt: Option<PathBuf>,
    /// The root drive (default: the one of before, else a new one)
    #[arg(long)]
    pub key: Option<String>,
    /// Fail when no Hyperspace server is listening, instead of starting one
    #[arg(long)]
    pub no_embedded: bool,
    /// Where an embedded server keeps its cores
    #[arg(long, value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// DHT bootstrap node HOST:PORT for an embedded server (repeatable; `none` for no network)
    #[arg(long, value_name = "ADDRESS", env = "HYPERSPACE_BOOTSTRAP", value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// A relay by its key, at which an embedded server meets peers when there is no direct way
    /// (repeatable)
    #[arg(long, value_name = "KEY")]
    pub relay: Vec<String>,
    /// The UDP port that an embedded server prefers
    #[arg(long, value_name = "PORT")]
    pub network_port: Option<u16>,
    /// Have an embedded server announce nothing, whatever is seeded
    #[arg(long)]
    pub no_announce: bool,
    /// Where an embedded server takes calls of peers, over TCP (repeatable)
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddr>,
    /// Call the peer there, over TCP, as long as the server runs (repeatable)
    #[arg(long, value_name = "HOST:PORT")]
    pub peer: Vec<String>,
    /// Do not mount
    #[arg(long)]
    pub no_fuse: bool,
    /// Let other users of this computer in
    #[arg(long)]
    pub allow_other: bool,
    /// Refuse all writing
    #[arg(long)]
    pub read_only: bool,
    /// Replace a dead mount
    #[arg(long)]
    pub force: bool,
}

/// `peer`
#[derive(Debug, Subcommand)]
pub enum Peer {
    /// Call the peer at HOST:PORT from now on, also after restarts of the server
    Add {
        /// Where it takes calls
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// Only until the server stops
        #[arg(long)]
        once: bool,
    },
    /// Do not call HOST:PORT any longer
    Remove {
        /// As it was added
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Who is called, and how that goes
    List,
}

/// A drive, by a path in it or by its key.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// A path in the mounted folder
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// The drive of this key, instead of a path
    #[arg(long)]
    pub key: Option<String>,
    /// The root drive, instead of a path
    #[arg(long, conflicts_with = "key")]
    pub root: bool,
}
