//! Two thousand open cores on one connection: what they cost while nobody does anything.

use crate::support::soon;
use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
use hyperspace_client::{Endpoint, HyperspaceClient, RemoteHypercore};
use hyperspace_e2e::process::processor_time;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use std::time::Duration;

const CORES: usize = 2000;
/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(10);
/// What a core may take of either side, in KiB: its state, its channel, and its session's part
/// of it.
const MOST_KIB: u64 = 24;
/// The processor time that all of them together may take meanwhile.
const MOST_TIME: Duration = Duration::from_millis(200);

/// The processor time that a while of doing nothing takes both sides.
async fn idle(servers: &mut [&mut Server; 2]) -> [Duration; 2] {
    let mut time =
        || servers.each_mut().map(|server| processor_time(server.process().pid()).expect("it runs"));
    let before = time();
    tokio::time::sleep(IDLE).await;
    let after = time();
    [0, 1].map(|side| after[side] - before[side])
}

/// Opens more cores on both sides, with a block each, until there are so many.
async fn open(
    pairs: &mut Vec<(RemoteHypercore, RemoteHypercore)>,
    [writer, reader]: [&HyperspaceClient; 2],
    many: usize,
) {
    for at in pairs.len()..many {
        let core = writer.corestore(None).open(OpenTarget::Name(format!("core {at}"))).await.expect("ours");
        core.append(vec![format!("block 0 of {at}").into()], None).await.expect("it is ours");
        let copy = reader.corestore(None).open(OpenTarget::Key(core.key())).await.expect("it opens");
        let block = soon("a block", copy.get(0, GetOptions::default())).await.expect("it comes");
        assert_eq!(block, format!("block 0 of {at}"));
        pairs.push((core, copy));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_idle_cores_cost_their_channels_and_no_time() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let mut writer = Server::start_with(&scratch, &["--listen", "127.0.0.1:0"]);
    let line = writer.process().wait_for_line("Listening for peers on ");
    let at = line.rsplit(' ').next().expect("an address").to_owned();
    let mut reader = Server::start_with(&other, &["--peer", &at]);
    let mut clients = Vec::new();
    for scratch in [&scratch, &other] {
        clients.push(HyperspaceClient::connect(Endpoint::Unix(scratch.socket())).await.expect("it listens"));
    }
    let clients = [&clients[0], &clients[1]];
    let mut pairs = Vec::new();
    open(&mut pairs, clients, 1).await;
    let alone = idle(&mut [&mut writer, &mut reader]).await;
    let before = [&writer, &reader].map(|server| server.usage().anonymous);
    open(&mut pairs, clients, CORES).await;
    // What opening has left to do is done.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let together = idle(&mut [&mut writer, &mut reader]).await;
    let after = [&writer, &reader].map(|server| server.usage().anonymous);
    for side in [0, 1] {
        let name = ["writer", "reader"][side];
        let grown = after[side].saturating_sub(before[side]);
        let each = grown as f64 / CORES as f64;
        println!(
            "{name}: {each:.1} KiB a core; {:?} of processor time in {IDLE:?}, and {:?} with one core",
            together[side], alone[side]
        );
        assert!(grown < MOST_KIB * CORES as u64, "{name}: {grown} KiB");
        assert!(together[side] < alone[side] + MOST_TIME, "{name}: {:?}", together[side]);
    }
    // All of them are still in use, both at once and by the same connection.
    for (at, (core, _)) in pairs.iter().enumerate() {
        core.append(vec![format!("block 1 of {at}").into()], None).await.expect("it is ours");
    }
    for (at, (_, copy)) in pairs.iter().enumerate() {
        let block = soon("a block", copy.get(1, GetOptions::default())).await.expect("it comes");
        assert_eq!(block, format!("block 1 of {at}"));
        assert_eq!(copy.peers().len(), 1);
    }
}
