//! `bench rpc`: the classic server driven by its own client, ours driven by that same
//! client, and ours driven by the Rust client.

use crate::Plan;
use crate::samples::{Samples, machine, number, ratio, table};
use anyhow::Context;
use hyperspace_e2e::node;
use hyperspace_e2e::process::Process;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::shell;
use serde_json::Value;

const NODE: &str = "Node server, npm client";
const NPM: &str = "our server, npm client";
const RUST: &str = "our server, Rust client";

/// A row's key in the drivers' reports, and what it says.
const ROWS: &[(&str, &str)] = &[
    ("append", "append 100 B one by one, acknowledged (blocks/s)"),
    ("append_batch", "append 100 B in batches of 1,000 (blocks/s)"),
    ("append_large", "append 64 KiB in batches of 16 (MiB/s)"),
    ("read_large", "read back 64 KiB, 16 in flight (MiB/s)"),
    ("get_sequential", "get sequential, one at a time (blocks/s)"),
    ("get_random", "get random, 64 in flight (blocks/s)"),
    ("open", "open 1,000 new named cores (cores/s)"),
];
const RESIDENT: &str = "memory after all (MiB)";
const PEAK: &str = "most memory ever (MiB)";
const DESCRIPTORS: &str = "descriptors after all";

/// Runs it and prints the tables.
pub fn run(plan: Plan) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for turn in 1..=plan.alternations {
        for contestant in [NODE, NPM, RUST] {
            eprintln!("turn {turn} of {}: {contestant}", plan.alternations);
            measure(contestant, plan, &mut samples).context(contestant)?;
        }
    }
    print(plan, &samples);
    Ok(())
}

fn measure(contestant: &'static str, plan: Plan, samples: &mut Samples) -> anyhow::Result<()> {
    let scratch = Scratch::new();
    let report;
    let usage;
    if contestant == NODE {
        let storage = scratch.storage();
        let storage = storage.to_str().context("a path in UTF-8")?;
        let mut server = Process::start(&mut node::command(&scratch, &["classic-server.js", storage]));
        server.wait_for_line("Listening on");
        report = npm(&scratch, plan);
        usage = server.usage();
        server.kill();
    } else {
        let server = Server::start(&scratch);
        report = if contestant == NPM { npm(&scratch, plan) } else { rust(&scratch, plan)? };
        usage = server.usage();
        server.kill();
    }
    let rows: Value = serde_json::from_str(&report).context("the driver's report")?;
    for (key, _) in ROWS {
        samples.add(contestant, *key, rows[key]["rate"].as_f64().with_context(|| format!("no {key}"))?);
        samples.add(contestant, busy(key), rows[key]["busy"].as_f64().unwrap_or_default() * 100.0);
    }
    samples.add(contestant, RESIDENT, usage.resident as f64 / 1024.0);
    samples.add(contestant, PEAK, usage.peak as f64 / 1024.0);
    samples.add(contestant, DESCRIPTORS, usage.descriptors as f64);
    Ok(())
}

/// The row of how busy the client was.
fn busy(key: &str) -> String {
    format!("{key}: busy")
}

fn npm(scratch: &Scratch, plan: Plan) -> String {
    shell::run(&mut node::command(scratch, &["bench-rpc.js", &plan.scale.to_string()]))
}

fn rust(scratch: &Scratch, plan: Plan) -> anyhow::Result<String> {
    let mut driver = scratch.command(std::env::current_exe().context("this program")?);
    driver.arg("rpc-driver").arg(scratch.socket()).args(["--scale", &plan.scale.to_string()]);
    Ok(shell::run(&mut driver))
}

fn print(plan: Plan, samples: &Samples) {
    println!("Medians of {} alternations; {}.\n", plan.alternations, machine());
    let mut rows = Vec::new();
    for (key, label) in ROWS {
        let value = |contestant| samples.median(contestant, key);
        let load = samples.median(NPM, &busy(key)).map_or(String::new(), |load| format!("{load:.0} %"));
        rows.push(vec![
            (*label).to_owned(),
            number(value(NODE)),
            number(value(NPM)),
            ratio(value(NPM), value(NODE), false),
            load,
            number(value(RUST)),
            ratio(value(RUST), value(NODE), false),
        ]);
    }
    for label in [RESIDENT, PEAK, DESCRIPTORS] {
        let value = |contestant| samples.median(contestant, label);
        rows.push(vec![
            label.to_owned(),
            number(value(NODE)),
            number(value(NPM)),
            ratio(value(NPM), value(NODE), true),
            String::new(),
            number(value(RUST)),
            ratio(value(RUST), value(NODE), true),
        ]);
    }
    table(&["", NODE, NPM, "ratio", "npm client busy", RUST, "ratio"], &rows);
}
