//! From arguments to calls of the service library.

mod beam;
mod copy;
mod download;
mod drives;
mod files;
mod history;
mod peers;
mod start;
mod stop;
mod system;

use crate::args::{Cli, Command, TargetArgs};
use crate::output::Output;
use anyhow::Context;
use hyperdrive_service::Key;
use hyperdrive_service::{ClientOptions, Endpoint, HyperdriveClient, ServiceError, Target};

/// What every command has at hand.
pub struct Setup {
    pub output: Output,
    pub options: ClientOptions,
}

impl Setup {
    /// Connects; what was written through the mount before is visible from here on.
    pub async fn client(&self) -> anyhow::Result<HyperdriveClient> {
        let client = HyperdriveClient::connect(self.options.clone()).await?;
        client.settle().await;
        Ok(client)
    }
}

/// Runs one command to its end.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let output = Output { json: cli.json };
    if let Command::Completions { shell } = cli.command {
        return system::completions(shell);
    }
    let mut options = ClientOptions::new()?;
    options.endpoint = Endpoint::resolve(cli.host.as_deref(), cli.port);
    options.timeout = cli.timeout;
    let setup = Setup { output, options };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("Could not start the threads")?;
    let done = runtime.block_on(dispatch(&setup, cli.command));
    // A thread that is stuck in the system must not keep the command from ending.
    runtime.shutdown_background();
    done
}

async fn dispatch(setup: &Setup, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Start(args) => start::start(setup, args).await,
        Command::Status => system::status(setup).await,
        Command::Create { path, no_seed } => drives::create(setup, &path, !no_seed).await,
        Command::Mount { path, key, version, seed } => {
            drives::mount(setup, &path, self::key(&key)?, version, seed).await
        }
        Command::Unmount { path } => drives::unmount(setup, &path).await,
        Command::Info(target) => drives::info(setup, &self::target(&target)?, target.root).await,
        Command::Seed { target, no_remember } => {
            drives::seed(setup, &self::target(&target)?, target.root, !no_remember).await
        }
        Command::Unseed(target) => drives::unseed(setup, &self::target(&target)?, target.root).await,
        Command::Stats { target, storage } => {
            drives::stats(setup, &self::target(&target)?, target.root, storage).await
        }
        Command::Peer { action } => peers::run(setup, &action).await,
        Command::Import { dir, key, no_seed, watch, no_ignore, all, keep } => {
            let key = key.as_deref().map(self::key).transpose()?;
            let options = hyperdrive_service::ImportOptions { ignore_files: !no_ignore, all, keep };
            copy::import(setup, &dir, key, !no_seed, watch, &options).await
        }
        Command::Export { key, dir, recursive, watch } => {
            let key = key.as_deref().map(self::key).transpose()?;
            copy::export(setup, key, dir, recursive, watch).await
        }
        Command::Download { target, clear } => {
            let (at, root) = (self::target(&target)?, target.root);
            if clear {
                download::clear(setup, &at, root).await
            } else {
                download::download(setup, &at, root).await
            }
        }
        Command::Ls { target, long } => files::ls(setup, &self::target(&target)?, target.root, long).await,
        Command::Cat { path } => files::cat(setup, &path).await,
        Command::Put { path, file } => files::put(setup, &path, file.as_deref()).await,
        Command::Rm { path, recursive } => files::rm(setup, &path, recursive).await,
        Command::Mkdir { path, parents } => files::mkdir(setup, &path, parents).await,
        Command::Log { target, limit } => {
            history::log(setup, &self::target(&target)?, target.root, limit).await
        }
        Command::Diff { path, from } => history::diff(setup, &path, &from).await,
        Command::CheckoutMount { path, version, at } => {
            history::checkout_mount(setup, &path, &version, &at).await
        }
        Command::Tag { path, name, version, delete } => {
            history::tag(setup, &path, name.as_deref(), version, delete).await
        }
        Command::Beam(args) => beam::run(setup, &args).await,
        Command::ForceUnmount { mnt } => system::force_unmount(setup, mnt.as_deref()).await,
        Command::FuseSetup => system::fuse_setup(setup),
        Command::Completions { shell } => system::completions(shell),
    }
}

/// A key as people give it.
fn key(text: &str) -> Result<Key, ServiceError> {
    text.parse().map_err(|e: hyperdrive_service::KeyError| {
        ServiceError::Usage(format!("{text:?} is no drive key. {e}"))
    })
}

/// The drive that the arguments name; `--root` is settled once the client knows the root.
fn target(args: &TargetArgs) -> Result<Target, ServiceError> {
    Ok(match &args.key {
        Some(text) => Target::Key(key(text)?),
        None => Target::Path(args.path.clone()),
    })
}

/// `--root` replaces whatever else was given.
fn at_root(client: &HyperdriveClient, target: &Target, root: bool) -> Target {
    if root { Target::Path(client.mnt().to_owned()) } else { target.clone() }
}
