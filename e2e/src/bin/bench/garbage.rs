//! `bench garbage`: a million datagrams of garbage, at every port of peers that serve others.

use crate::Plan;
use crate::samples::{machine, number, table};
use hyperspace_e2e::garbage::{self, MOST_GROWTH};
use tokio::runtime::Runtime;

const DATAGRAMS: u64 = 1_000_000;
/// A second.
const RATE: u64 = 20_000;

/// Runs it once and prints the tables.
pub fn run(plan: Plan) -> anyhow::Result<()> {
    let report = Runtime::new()?.block_on(garbage::run(plan.scaled(DATAGRAMS), RATE))?;
    println!(
        "{} datagrams, and before them to each port what has brought down others, to {} ports in {:.0} s ({} a \
         second); {} of them thrown away by the kernel; {} streams opened for strangers; {} bytes sent, {} \
         came back; {}.\n",
        thousands(report.datagrams),
        report.ports,
        report.time.as_secs_f64(),
        thousands((report.datagrams as f64 / report.time.as_secs_f64()) as u64),
        thousands(report.dropped),
        thousands(report.streams),
        thousands(report.bytes.0),
        thousands(report.bytes.1),
        machine()
    );
    let rows = [
        ("a core, from the server to its peer", report.served),
        ("there and back by way of the relay", report.relayed),
        ("there and back through a firewall", report.punched),
    ];
    let mib = |rate: f64| number(Some(rate / f64::from(1 << 20)));
    let rows = rows.map(|(name, (before, meanwhile))| {
        vec![name.into(), mib(before), mib(meanwhile), format!("{:.0} %", 100.0 * meanwhile / before)]
    });
    table(&["what goes on (MiB/s)", "before", "meanwhile", "of that"], &rows);
    println!();
    let mb = |kib: u64| number(Some(kib as f64 * 1024.0 / 1e6));
    let rows: Vec<_> = report
        .usage
        .iter()
        .map(|(name, before, after)| {
            vec![(*name).into(), mb(before.resident), mb(after.resident), mb(after.peak)]
        })
        .collect();
    table(&["memory (MB)", "before", "12 s afterwards", "the most ever"], &rows);
    println!("\nNobody fell, and nobody grew by more than {} MiB.", MOST_GROWTH >> 10);
    Ok(())
}

fn thousands(count: u64) -> String {
    if count < 100 { count.to_string() } else { number(Some(count as f64)) }
}
