//! The processor time of other processes.

use anyhow::Context;
use std::time::Duration;

/// A tick of the kernel's accounts, in milliseconds: all of Linux's platforms have a hundred a
/// second here.
const TICK: u64 = 10;

/// What a process has taken so far, its own and the kernel's on its behalf.
pub fn time_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // After the name, which may hold anything, come the fields from the third on.
    let fields: Vec<&str> = stat.rsplit(") ").next().context("no fields")?.split(' ').collect();
    let ticks = |field: usize| -> anyhow::Result<u64> {
        Ok(fields.get(field - 3).context("a field is missing")?.parse()?)
    };
    Ok(Duration::from_millis((ticks(14)? + ticks(15)?) * TICK))
}
