//! `bench replicate`: a core goes from one peer to another over loopback TCP, from disk to
//! disk, verified; Node's peers, ours, and one of each.

use crate::Plan;
use crate::replicate_peer::{Filled, Kind, Peer};
use crate::samples::{Samples, machine, number, ratio, table};
use anyhow::{Context, ensure};
use hyperspace_e2e::scratch::Scratch;
use std::time::Instant;

/// Who gives, and who takes.
const PAIRS: &[(&str, Kind, Kind)] = &[
    ("Node to Node", Kind::Node, Kind::Node),
    ("ours to ours", Kind::Ours, Kind::Ours),
    ("Node to ours", Kind::Node, Kind::Ours),
    ("ours to Node", Kind::Ours, Kind::Node),
];
/// What the others are compared with.
const NODE: &str = PAIRS[0].0;

/// A core that is replicated.
#[derive(Clone, Copy)]
struct Load {
    label: &'static str,
    blocks: u64,
    size: usize,
    /// The unit of its rate, in blocks.
    per: f64,
}

fn loads(plan: Plan) -> [Load; 2] {
    const LARGE: usize = 64 << 10;
    [
        Load {
            label: "1 GiB in blocks of 64 KiB (MiB/s)",
            blocks: plan.scaled((1 << 30) / LARGE as u64),
            size: LARGE,
            per: LARGE as f64 / f64::from(1 << 20),
        },
        Load {
            label: "200,000 blocks of 100 B (blocks/s)",
            blocks: plan.scaled(200_000),
            size: 100,
            per: 1.0,
        },
    ]
}

/// Runs it and prints the table.
pub fn run(plan: Plan) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    let loads = loads(plan);
    for load in &loads {
        // What is given away is written once, and by a process that is gone by then.
        let sources = [Kind::Node, Kind::Ours].map(|kind| (kind, Scratch::new()));
        let mut filled = Vec::new();
        for (kind, scratch) in &sources {
            eprintln!("{kind:?} writes {}", load.label);
            let core = Peer::start(*kind, scratch)?.fill(load.blocks, load.size)?;
            filled.push((*kind, scratch, core));
        }
        for turn in 1..=plan.alternations {
            for (label, writer, reader) in PAIRS {
                eprintln!("turn {turn} of {}: {label}, {}", plan.alternations, load.label);
                let (_, scratch, core) =
                    filled.iter().find(|(kind, ..)| kind == writer).context("everybody writes")?;
                measure(label, *load, *writer, scratch, core, *reader, &mut samples).context(*label)?;
            }
        }
    }
    print(plan, &loads, &samples);
    Ok(())
}

fn measure(
    label: &'static str,
    load: Load,
    writer: Kind,
    source: &Scratch,
    core: &Filled,
    reader: Kind,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let target = Scratch::new();
    let mut writer = Peer::start(writer, source)?;
    let mut reader = Peer::start(reader, &target)?;
    let port = writer.listen(core)?;
    let began = Instant::now();
    reader.download(port, core)?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(reader.has_all(core)?, "not everything has come");
    samples.add(label, load.label, load.blocks as f64 * load.per / seconds);
    samples.add(label, giving(load), writer.peak());
    samples.add(label, taking(load), reader.peak());
    Ok(())
}

fn giving(load: Load) -> String {
    format!("{}: most memory, giving (MiB)", load.label)
}

fn taking(load: Load) -> String {
    format!("{}: most memory, taking (MiB)", load.label)
}

fn print(plan: Plan, loads: &[Load], samples: &Samples) {
    let scaled = if plan.scale == 1.0 { String::new() } else { format!(", {} of the work", plan.scale) };
    println!("Medians of {} alternations{scaled}; {}.\n", plan.alternations, machine());
    let mut head = vec!["", NODE];
    PAIRS[1..].iter().for_each(|(label, ..)| head.extend([*label, "ratio"]));
    let mut rows = Vec::new();
    for load in loads {
        for (row, less) in [(load.label.to_owned(), false), (giving(*load), true), (taking(*load), true)] {
            let value = |label| samples.median(label, &row);
            let mut cells = vec![row.clone(), number(value(NODE))];
            for (label, ..) in &PAIRS[1..] {
                cells.extend([number(value(label)), ratio(value(label), value(NODE), less)]);
            }
            rows.push(cells);
        }
    }
    table(&head, &rows);
}
