//! What a server costs that announces topics and has peers, while nobody asks it for anything.
//! `scripts/bench idle` measures its processor time, too.

use hyperspace_e2e::idle::Idle;

/// In MB.
const MOST_MEMORY: f64 = 60.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_topics_and_fifty_peers_fit_in_little_memory() {
    let idle = Idle::start(100, 50).await.expect("all are connected");
    let memory = idle.server.memory();
    println!("{memory:.1} MB");
    assert!(memory < MOST_MEMORY, "{memory:.1} MB");
}
