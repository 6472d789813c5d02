//! A network of DHT nodes in one process and under virtual time: how many nodes a lookup
//! asks as the network grows, and whether it still finds while half of the nodes leave
//! every hour.
//!
//! `cargo run --release -p hyperswarm --example dht_simulation [NODES…]`
//!
//! Recorded on a busy machine of two cores (the run of 10,000 by itself; "asked" counts
//! nodes, each with one question; times are virtual, ways are 5 to 110 ms long):
//!
//! | nodes | asked a lookup | of 20 closest | time | churn: found | asked | time | datagrams | took |
//! |---|---|---|---|---|---|---|---|---|
//! | 100 | 27.6 | 19.80 | 501 ms | 360 of 360 | 26.7 | 671 ms | 0 M | 1 s |
//! | 1000 | 39.0 | 19.97 | 634 ms | 360 of 360 | 35.6 | 1051 ms | 3 M | 14 s |
//! | 10000 | 45.4 | 20.00 | 695 ms | 360 of 360 | 40.9 | 1144 ms | 29 M | 418 s |

#[path = "../tests/dht/lookups.rs"]
#[allow(unused_imports)]
mod lookups;
#[path = "../tests/dht/network.rs"]
#[allow(dead_code)]
mod network;
#[path = "../tests/dht/swarm.rs"]
#[allow(dead_code)]
mod swarm;

use std::time::Instant;

const LOOKUPS: usize = 200;
const MINUTES: u64 = 60;

fn main() {
    let mut sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![100, 1000, 10_000];
    }
    println!("still: {LOOKUPS} lookups of random targets; 1 % loss");
    println!("churn: half of the nodes are replaced in {MINUTES} min; 10 peers announce every 10 min");
    println!(
        "| nodes | asked a lookup | of 20 closest | time | churn: found | asked | time | datagrams | took |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for nodes in sizes {
        let started = Instant::now();
        let mut network = swarm::grown(7, nodes);
        network.loss = 0.01;
        let still = lookups::scored(&mut network, LOOKUPS);
        let churned = lookups::churned(&mut network, MINUTES);
        println!(
            "| {nodes} | {:.1} | {:.2} | {} ms | {} of {} | {:.1} | {} ms | {} M | {} s |",
            still.asked as f64 / still.lookups as f64,
            still.of_twenty as f64 / still.lookups as f64,
            still.time.as_millis() / still.lookups as u128,
            churned.found,
            churned.lookups,
            churned.asked as f64 / churned.lookups as f64,
            churned.time.as_millis() / churned.lookups as u128,
            network.carried.datagrams / 1_000_000,
            started.elapsed().as_secs(),
        );
    }
}
