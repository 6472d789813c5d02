//! The `hyperdrive` command: folders in the Hyperswarm.
//!
//! One module a group of commands; everything they do is in `hyperdrive_service`, a
//! library. Results go to stdout, everything else to stderr; the exit code is 0, 1 for
//! a failure, 2 for wrong use.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod output;
mod progress;

use clap::Parser;
use hyperdrive_service::ServiceError;
use output::Output;
use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return misused(&e),
    };
    // The mount tells of its own end; what its library thinks of that is no news.
    let filter = tracing_subscriber::EnvFilter::try_from_env("HYPERSPACE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,fuser::session=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let output = Output { json: cli.json };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            let service = e.downcast_ref::<ServiceError>();
            let mut message = chain(&e);
            if let Some(advice) = service.and_then(ServiceError::advice) {
                message = format!("{message}. {advice}");
            }
            report(output.json, service.map_or("FAILED", ServiceError::code), &message);
            match service {
                Some(ServiceError::Usage(_)) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// An error and its causes, but for those that it tells of itself.
fn chain(e: &anyhow::Error) -> String {
    let mut causes = e.chain().map(ToString::to_string);
    let mut message = causes.next().unwrap_or_default();
    for cause in causes {
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// One line that says what went wrong and what to do.
fn report(json: bool, code: &str, message: &str) {
    // Lines of a cause are joined: scripts read one.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if json {
        eprintln!("{}", serde_json::json!({ "error": { "code": code, "message": message } }));
    } else {
        eprintln!("hyperdrive: {message}");
    }
}

/// The arguments are not understood, or help was asked for.
fn misused(e: &clap::Error) -> ExitCode {
    use clap::error::{ContextKind, ErrorKind};
    if matches!(
        e.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // That nobody reads it is no failure.
        let _ = e.print();
        return if e.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    let text = e.to_string();
    let what = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let usage = e.get(ContextKind::Usage).map(|usage| usage.to_string().replace("Usage:", ". Usage:"));
    let message = format!("{what}{}. See: hyperdrive --help", usage.unwrap_or_default());
    let json = std::env::args_os().any(|argument| argument == "--json");
    report(json, "USAGE", &message.replace(" . Usage", ". Usage"));
    ExitCode::from(2)
}

/// `hyperdrive ls | head` ends well.
fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_make_sense() {
        super::args::Cli::command().debug_assert();
    }
}
