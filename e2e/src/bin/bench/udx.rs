//! `bench udx`: one stream of UDX that carries bytes one way, over loopback and over a long
//! line that loses datagrams; npm's, ours, and one of each.

use crate::Plan;
use crate::samples::{Samples, machine, number, ratio, table};
use crate::udp_line::{Properties, UdpLine};
use crate::udx_peer::{Kind, Peer, Side};
use anyhow::{Context, ensure};
use hyperspace_e2e::scratch::Scratch;
use std::time::{Duration, Instant};

/// Who gives, and who takes.
const PAIRS: &[(&str, Kind, Kind)] = &[
    ("npm to npm", Kind::Npm, Kind::Npm),
    ("ours to ours", Kind::Ours, Kind::Ours),
    ("npm to ours", Kind::Npm, Kind::Ours),
    ("ours to npm", Kind::Ours, Kind::Npm),
];
/// What the others are compared with.
const NPM: &str = PAIRS[0].0;

/// 50 ms there and back, and as much again where the queue is full.
const LINE: Properties = Properties {
    delay: Duration::from_millis(25),
    loss: 0,
    rate: 200e6 / 8.0,
    queue: Duration::from_millis(50),
};

/// A way between them.
struct Way {
    label: &'static str,
    line: Option<Properties>,
    bytes: u64,
}

fn ways(plan: Plan) -> Vec<Way> {
    let far =
        |label, loss| Way { label, line: Some(Properties { loss, ..LINE }), bytes: plan.scaled(64 << 20) };
    vec![
        Way { label: "loopback (MB/s)", line: None, bytes: plan.scaled(512 << 20) },
        far("25 ms each way, nothing lost (MB/s)", 0),
        far("25 ms each way, 1 % lost (MB/s)", 1),
        far("25 ms each way, 5 % lost (MB/s)", 5),
    ]
}

const GIVING: &str = "loopback: processor time of who gives (s/GB)";
const TAKING: &str = "loopback: processor time of who takes (s/GB)";
const BOTH: &str = "loopback: processor time of both (s/GB)";

/// Runs it and prints the table.
pub fn run(plan: Plan) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    let ways = ways(plan);
    for turn in 1..=plan.alternations {
        for way in &ways {
            for (label, gives, takes) in PAIRS {
                let rate = measure(label, *gives, *takes, way, turn as u64, &mut samples)
                    .with_context(|| format!("{label}, {}", way.label))?;
                eprintln!("turn {turn} of {}: {}: {label}: {rate:.1}", plan.alternations, way.label);
            }
        }
    }
    print(plan, &ways, &samples);
    Ok(())
}

/// One transfer, from when who gives is told to when who takes has everything; MB/s.
fn measure(
    label: &'static str,
    gives: Kind,
    takes: Kind,
    way: &Way,
    seed: u64,
    samples: &mut Samples,
) -> anyhow::Result<f64> {
    let scratch = Scratch::new();
    let mut giver = Peer::start(gives, Side::Gives, way.bytes, &scratch)?;
    let mut taker = Peer::start(takes, Side::Takes, way.bytes, &scratch)?;
    let line = way.line.map(|line| UdpLine::new([giver.port, taker.port], line, seed)).transpose()?;
    let [to_taker, to_giver] = match &line {
        Some(line) => line.ports()?,
        None => [taker.port, giver.port],
    };
    taker.connect(to_giver)?;
    let before = [giver.processor_time()?, taker.processor_time()?];
    let began = Instant::now();
    giver.connect(to_taker)?;
    let took: u64 = taker.hear("Took ")?.parse()?;
    let seconds = began.elapsed().as_secs_f64();
    let after = [giver.processor_time()?, taker.processor_time()?];
    ensure!(took == way.bytes, "{took} of {} bytes have come", way.bytes);
    let rate = way.bytes as f64 / 1e6 / seconds;
    samples.add(label, way.label, rate);
    match line {
        Some(line) => {
            let overflowed = line.overflowed()?;
            if overflowed > 0 {
                eprintln!("{label}, {}: the line has lost {overflowed} datagrams more", way.label);
            }
        }
        None => {
            let each = [0, 1].map(|at| (after[at] - before[at]).as_secs_f64() / (way.bytes as f64 / 1e9));
            samples.add(label, GIVING, each[0]);
            samples.add(label, TAKING, each[1]);
            samples.add(label, BOTH, each[0] + each[1]);
        }
    }
    Ok(rate)
}

fn print(plan: Plan, ways: &[Way], samples: &Samples) {
    println!(
        "Medians of {} alternations; {} MiB over loopback, {} MiB over the line of {} Mbit/s, before which {} ms of it may wait; {}.\n",
        plan.alternations,
        ways[0].bytes >> 20,
        ways[1].bytes >> 20,
        LINE.rate * 8.0 / 1e6,
        LINE.queue.as_millis(),
        machine()
    );
    let mut head = vec!["", NPM];
    PAIRS[1..].iter().for_each(|(label, ..)| head.extend([*label, "ratio"]));
    let rates = ways.iter().map(|way| (way.label, false));
    let rows: Vec<Vec<String>> = rates
        .chain([GIVING, TAKING, BOTH].map(|row| (row, true)))
        .map(|(row, less)| {
            let value = |label| samples.median(label, row);
            let mut cells = vec![row.to_owned(), number(value(NPM))];
            for (label, ..) in &PAIRS[1..] {
                cells.extend([number(value(label)), ratio(value(label), value(NPM), less)]);
            }
            cells
        })
        .collect();
    table(&head, &rows);
}
