//! What the commands print: lines for people, or one JSON object for programs.

use anyhow::Context;
use serde::Serialize;
use std::io::Write;

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// As JSON.
    pub json: bool,
}

impl Output {
    /// Prints a result: `value` as one line of JSON, or what `text` writes.
    pub fn result<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let printed = if self.json {
            serde_json::to_writer(&mut out, value).map_err(Into::into).and_then(|()| out.write_all(b"\n"))
        } else {
            text(&mut out)
        };
        printed.and_then(|()| out.flush()).context("Could not print the result")
    }

    /// Tells people, not programs, how it goes. That nobody listens is no failure.
    pub fn say(self, what: &str) {
        if !self.json {
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{what}").and_then(|()| out.flush());
        }
    }
}

/// `  Label:   value` lines, the values aligned.
pub fn fields(out: &mut dyn Write, fields: &[(&str, String)]) -> std::io::Result<()> {
    let width = fields.iter().map(|(label, _)| label.len() + 1).max().unwrap_or(0);
    for (label, value) in fields {
        writeln!(out, "  {:width$} {value}", format!("{label}:"))?;
    }
    Ok(())
}

/// `true`, `false`.
pub fn yes(value: bool) -> String {
    value.to_string()
}

/// 1536 → `1.5 KiB`.
pub fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}
