//! A network of DHT nodes in one process and under virtual time: what a lookup costs as the
//! network grows, and whether it still finds while half of the nodes leave every hour.
//! `doc/PERFORMANCE.md` has what it printed.
//!
//! `cargo run --release -p hyperswarm --example dht_simulation [NODES…]`

#[path = "../tests/dht/lookups.rs"]
#[allow(unused_imports)]
mod lookups;
#[path = "../tests/dht/network.rs"]
#[allow(dead_code)]
mod network;
#[path = "../tests/dht/swarm.rs"]
#[allow(dead_code)]
mod swarm;

use lookups::Cost;
use std::time::Instant;

const LOOKUPS: usize = 200;
const MINUTES: u64 = 60;

fn row(nodes: usize, replaced: usize, succeeded: usize, cost: &Cost) {
    let (median, most) = cost.asked();
    println!(
        "| {nodes} | {replaced} | {} | {succeeded} | {median} | {most} | {:.1} | {} ms |",
        cost.lookups(),
        cost.messages(),
        cost.time().as_millis(),
    );
}

fn main() {
    let mut sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![100, 1000, 10_000];
    }
    println!(
        "| nodes | replaced in {MINUTES} min | lookups | succeeded | nodes asked, median | most | messages a lookup | time |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for nodes in sizes {
        let started = Instant::now();
        let mut network = swarm::grown(7, nodes);
        network.loss = 0.01;
        let still = lookups::scored(&mut network, LOOKUPS);
        row(nodes, 0, still.best, &still.cost);
        let churned = lookups::churned(&mut network, MINUTES);
        row(nodes, churned.replaced, churned.found, &churned.cost);
        let (datagrams, took) = (network.carried.datagrams, started.elapsed().as_secs());
        eprintln!(
            "{nodes} nodes: {datagrams} datagrams, {} of 20 closest found, {took} s",
            still.of_twenty as f64 / LOOKUPS as f64
        );
    }
}
