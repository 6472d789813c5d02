//! How far an import, export or download is: a bar on a terminal, plain lines elsewhere, JSON
//! objects when asked for.

use crate::output::Output;
use hyperdrive_service::DownloadProgress;
use hyperdrive_service::mirror::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// Shows the events of one run.
pub struct Progress {
    bar: ProgressBar,
    output: Output,
    lines: bool,
}

impl Progress {
    /// `doing` is `Importing` or `Exporting`.
    pub fn new(output: Output, doing: &'static str) -> Self {
        let lines = !has_bar(output);
        let bar = bar(output, "{msg} | {bar:30} | {percent}% | {pos}/{len} Files | {elapsed}");
        bar.set_message(doing);
        Self { bar, output, lines }
    }

    /// Takes one event.
    pub fn event(&mut self, event: Event) {
        match &event {
            Event::Total { entries, .. } => {
                self.bar.set_length(*entries);
                self.bar.set_position(0);
            }
            Event::Removed { .. } => {}
            _ => self.bar.inc(1),
        }
        let said = if self.output.json {
            serde_json::to_string(&event).unwrap_or_default()
        } else {
            match &event {
                Event::Total { .. } | Event::Unchanged { .. } => return,
                Event::Written { path, .. } => format!("+ {path}"),
                Event::Removed { path } => format!("- {path}"),
                Event::Failed { path, error } => format!("! {path}: {error}"),
            }
        };
        let failed = matches!(event, Event::Failed { .. });
        if self.output.json || (self.lines && !failed) {
            // A reader that went away does not stop the copying.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{said}\n").as_bytes());
        } else if failed {
            self.bar.suspend(|| eprintln!("{said}"));
        }
    }

    /// Ends the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Shows how far a download is.
pub struct DownloadBar {
    bar: ProgressBar,
    output: Output,
}

impl DownloadBar {
    /// Nothing is known yet.
    pub fn new(output: Output) -> Self {
        let style =
            "Downloading | {bar:30} | {percent}% | {bytes}/{total_bytes} | {bytes_per_sec} | {elapsed}";
        Self { bar: bar(output, style), output }
    }

    /// So far it is.
    pub fn show(&mut self, progress: &DownloadProgress) {
        self.bar.set_length(progress.bytes);
        self.bar.set_position(progress.held_bytes);
        if self.output.json {
            let line = serde_json::json!({
                "event": "progress", "files": progress.files,
                "blocks": progress.blocks, "heldBlocks": progress.held_blocks,
                "bytes": progress.bytes, "heldBytes": progress.held_bytes,
            });
            // A reader that went away does not stop it.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes());
        }
    }

    /// Ends the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Does somebody look?
fn has_bar(output: Output) -> bool {
    !output.json && std::io::stderr().is_terminal()
}

fn bar(output: Output, style: &str) -> ProgressBar {
    let target = if has_bar(output) { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
