//! `bench link`: reading over a long line. The first byte of a deep file of a large drive, in
//! round trips; and a large file from front to back, against what one TCP connection reaches
//! over the same line.

use crate::Plan;
use crate::samples::{Samples, machine, number, table};
use hyperspace_e2e::far::{Giver, Reader, plain};
use hyperspace_e2e::link::Line;
use std::time::Duration;

const ROUND_TRIP: Duration = Duration::from_millis(50);
/// Lines, by the bytes a second that they carry.
const LINES: &[(&str, Line)] = &[
    ("100 Mbit/s", Line { round_trip: ROUND_TRIP, rate: Some(100e6 / 8.0) }),
    ("as fast as TCP", Line { round_trip: ROUND_TRIP, rate: None }),
];
const TRIPS: &str = "first byte of a file five folders deep, of 50,000 (round trips from connected)";
const CARRIED: &str = "bytes on the line for that (KiB)";
const OURS: &str = "64 MiB from front to back (s)";
const TCP: &str = "64 MiB over one TCP connection (s)";

/// Runs it and prints the table.
pub fn run(plan: Plan) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    let giver = Giver::new();
    eprintln!("the drives");
    let (deep, (small, giant)) = (giver.deep(), giver.giant());
    for turn in 1..=plan.alternations {
        for (label, line) in LINES {
            eprintln!("turn {turn} of {}: {label}", plan.alternations);
            let reader = Reader::new(&deep, giver.address(), *line);
            samples.add(label, TRIPS, reader.first_byte().div_duration_f64(line.round_trip));
            samples.add(label, CARRIED, reader.carried() as f64 / 1024.0);
            drop(reader);
            samples.add(label, TCP, plain(*line).as_secs_f64());
            let reader = Reader::new(&small, giver.address(), *line);
            // What it takes to get to know the drive is counted above.
            reader.first_byte();
            samples.add(label, OURS, reader.whole(&giant).as_secs_f64());
        }
    }
    print(plan, &samples);
    Ok(())
}

fn print(plan: Plan, samples: &Samples) {
    println!(
        "Medians of {} alternations; {} ms from end to end and back; {}.\n",
        plan.alternations,
        ROUND_TRIP.as_millis(),
        machine()
    );
    let mut head = vec![""];
    head.extend(LINES.iter().map(|(label, _)| *label));
    let mut rows: Vec<Vec<String>> = [TRIPS, CARRIED, OURS, TCP]
        .iter()
        .map(|row| {
            let values = LINES.iter().map(|(label, _)| number(samples.median(label, row)));
            [(*row).to_owned()].into_iter().chain(values).collect()
        })
        .collect();
    let times = LINES.iter().map(|(label, _)| {
        let (ours, tcp) = (samples.median(label, OURS), samples.median(label, TCP));
        number(ours.zip(tcp).map(|(ours, tcp)| ours / tcp))
    });
    rows.push(["times what TCP takes".to_owned()].into_iter().chain(times).collect());
    table(&head, &rows);
}
