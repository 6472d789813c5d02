//! `beam`: a pipe between two machines by a phrase.

use super::Setup;
use super::stop::Stop;
use crate::args::Beam;
use anyhow::{Context, bail};
use hyperdrive_service::ServiceError;
use hyperspace::Bootstrap;
use hyperspace::beam::{self, Phrase, Until};
use std::io::IsTerminal;

pub async fn run(setup: &Setup, args: &Beam) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    let usage = |error: &dyn std::error::Error| ServiceError::Usage(error.to_string());
    let bootstrap = Bootstrap::parse(&args.bootstrap).map_err(|error| usage(&error))?;
    let (phrase, wait) = match &args.phrase {
        None => (Phrase::random()?, true),
        Some(text) => (Phrase::parse(text).map_err(|error| usage(&error))?, args.wait),
    };
    let beam = beam::Beam::new(&phrase, &bootstrap).await?;
    let meeting =
        async { if wait { beam.wait(|| tell_phrase(setup, &phrase)).await } else { beam.dial().await } };
    let dialed = tokio::select! {
        dialed = meeting => dialed,
        () = stop.asked() => {
            beam.close().await;
            bail!("Stopped before anybody was at the other end");
        }
    };
    let dialed = match dialed {
        Ok(dialed) => dialed,
        Err(error) => {
            beam.close().await;
            return Err(error).context("No pipe");
        }
    };
    eprintln!("hyperdrive: connected, from end to end encrypted");
    // Who sits at a terminal has nothing to add once the other side is gone.
    let until = if std::io::stdin().is_terminal() { Until::OtherEnds } else { Until::BothEnd };
    tokio::select! {
        piped = beam.run(dialed, tokio::io::stdin(), tokio::io::stdout(), until) => Ok(piped?),
        () = stop.asked() => bail!("Stopped before the end"),
    }
}

/// Results of the pipe go to stdout, so this does not.
fn tell_phrase(setup: &Setup, phrase: &Phrase) {
    if setup.output.json {
        eprintln!("{}", serde_json::json!({ "event": "waiting", "phrase": phrase.to_string() }));
    } else {
        eprintln!(
            "hyperdrive: waiting. On the other machine, run: hyperdrive beam {}",
            quoted(&phrase.to_string())
        );
    }
}

/// As a shell takes it as one word.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric()) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
