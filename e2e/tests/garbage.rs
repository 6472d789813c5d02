//! Garbage at every port of real processes: nobody falls, nobody grows, and whoever is
//! connected goes on. `scripts/bench garbage` sends a million datagrams, and says how fast the
//! rest goes on; so does `HYPERSPACE_GARBAGE=1000000` here.

use hyperspace_e2e::garbage;

/// Datagrams, and how many of them a second.
const MANY: u64 = 30_000;
const RATE: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_falls_or_grows_and_whoever_is_connected_goes_on() {
    let many = std::env::var("HYPERSPACE_GARBAGE").map_or(MANY, |many| many.parse().expect("a number"));
    let report = garbage::run(many, RATE).await.expect("all goes on");
    println!("{report:#?}");
    // Two of the server, two of the relay, and of the third that at which it is found, and one
    // that was opened for a connection.
    assert!(report.ports >= 6, "{report:?}");
    assert!(report.streams > 0, "packets for streams that there are: {report:?}");
    assert_eq!(report.datagrams, many);
    // The kernel's losses test nothing.
    assert!(report.dropped < many / 10, "{report:?}");
}
