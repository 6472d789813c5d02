//! Running a command beside a throw-away server.

use anyhow::{Context, Result};
use hyperspace::config::SOCKET_VARIABLE;
use hyperspace::simulator;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Runs `command`; exits as it does, as a shell would tell it.
pub(super) async fn run(command: Vec<OsString>) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let simulator = simulator::start().await?;
    let mut child = Command::new(program)
        .args(arguments)
        .env(SOCKET_VARIABLE, simulator.name())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let status = loop {
        let passed_on = tokio::select! {
            status = child.wait() => break status.context("cannot wait for the command")?,
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
        };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), passed_on);
        }
    };
    simulator.shutdown().await.context("cannot stop the server cleanly")?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
