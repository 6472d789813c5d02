//! Peers that come when nobody was there: whoever misses something looks for them.

use crate::support::{Dht, Node, block, core_of, soon};
use hyperspace_api::{Core, CoreError, GetOptions};
use hyperspace_client::RemoteHypercore;
use std::time::{Duration, Instant};

/// A topic is looked up every ten minutes; who reads what is missing waits ten seconds at most
/// for the next time. A machine that is busy takes longer.
const BOUND: Duration = Duration::from_secs(30);

/// Reads until somebody has it; what nobody has is said at once, or soon.
async fn read_again(core: &RemoteHypercore, index: u64) {
    let began = Instant::now();
    loop {
        match soon("an answer", core.get(index, GetOptions { timeout: None, ..GetOptions::default() })).await
        {
            Ok(got) => return assert_eq!(got, block(index)),
            Err(error) => assert_eq!(error, CoreError::NotAvailable),
        }
        assert!(began.elapsed() < BOUND, "nobody is found");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_is_found_when_something_is_missing() {
    let dht = Dht::new().await;
    let (writer, reader) = (Node::new(&dht).await, Node::new(&dht).await);
    let core = core_of(&writer, 3).await;
    let copy = reader.same(&core).await;
    reader.join(core.discovery_key(), false, true).await;
    let error = soon("an answer", copy.get(0, GetOptions::default())).await.unwrap_err();
    assert_eq!(error, CoreError::NotAvailable);
    writer.join(core.discovery_key(), true, false).await;
    read_again(&copy, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_core_without_a_topic_of_its_own_all_topics_are_asked() {
    let dht = Dht::new().await;
    let (writer, reader) = (Node::new(&dht).await, Node::new(&dht).await);
    let (index, content) = (core_of(&writer, 1).await, core_of(&writer, 3).await);
    let copy = reader.same(&content).await;
    reader.join(index.discovery_key(), false, true).await;
    writer.join(index.discovery_key(), true, false).await;
    read_again(&copy, 2).await;
}
