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
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("HYPERSPACE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let output = Output { json: cli.json };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            report(output, &e);
            match e.downcast_ref::<ServiceError>() {
                Some(ServiceError::Usage(_)) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// One line that says what went wrong and what to do.
fn report(output: Output, e: &anyhow::Error) {
    // Lines of a cause are joined: scripts read one.
    let message = format!("{e:#}").replace('\n', " ");
    if output.json {
        let code = e.downcast_ref::<ServiceError>().map_or("FAILED", ServiceError::code);
        eprintln!("{}", serde_json::json!({ "error": { "code": code, "message": message } }));
    } else {
        eprintln!("hyperdrive: {message}");
    }
}

/// `hyperdrive ls | head` ends well.
fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
