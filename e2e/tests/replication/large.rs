//! A core of five million blocks: what it costs both sides to exchange a few of them.

use crate::support::soon;
use bytes::Bytes;
use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
use hyperspace_client::{Endpoint, HyperspaceClient};
use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;

const BLOCKS: u64 = 5_000_000;
const BATCH: u64 = 20_000;
/// What sharing it may add to either side, in KiB.
const MOST_KIB: u64 = 32 << 10;

fn block(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_le_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_five_million_blocks_takes_little_memory() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let mut writer = Server::start_with(&scratch, &["--listen", "127.0.0.1:0"]);
    let line = writer.process().wait_for_line("Listening for peers on ");
    let at = line.rsplit(' ').next().unwrap().to_owned();
    let client = HyperspaceClient::connect(Endpoint::Unix(scratch.socket())).await.unwrap();
    let core = client.corestore(None).open(OpenTarget::Name("large".into())).await.unwrap();
    for start in (0..BLOCKS).step_by(BATCH as usize) {
        core.append((start..start + BATCH).map(block).collect(), None).await.unwrap();
    }
    core.flush().await.unwrap();
    let before = writer.usage().anonymous;

    let reader = Server::start_with(&other, &["--peer", &at]);
    let idle = reader.usage().anonymous;
    let client = HyperspaceClient::connect(Endpoint::Unix(other.socket())).await.unwrap();
    let copy = client.corestore(None).open(OpenTarget::Key(core.key())).await.unwrap();
    assert!(soon("an update", copy.update(Some(BLOCKS))).await.unwrap());
    let mut random = Random::new(9);
    for _ in 0..1000 {
        let index = random.below(BLOCKS);
        let got = soon("a block", copy.get(index, GetOptions::default())).await.unwrap();
        assert_eq!(got, block(index));
    }
    let (served, read) = (writer.usage().anonymous, reader.usage().anonymous);
    println!("writer: {before} KiB, then {served}; reader: {idle} KiB, then {read}");
    assert!(served < before + MOST_KIB, "the writer: {before} KiB became {served}");
    assert!(read < idle + MOST_KIB, "the reader: {idle} KiB became {read}");
}
