//! One server has a core, the other wants it.

use crate::support::{Node, append, block, grown, soon};
use hyperspace_api::{Core, GetOptions, OpenTarget};

#[tokio::test(flavor = "multi_thread")]
async fn blocks_come_from_the_peer_that_is_called() {
    let writer = Node::new(&[]).await;
    let core = writer.open(OpenTarget::Name("log".into())).await;
    append(&core, 0, 100).await;
    let reader = Node::new(&[writer.at]).await;
    let copy = reader.same(&core).await;
    // Right after the start: the peer has not even been called yet.
    let got = soon("the first block", copy.get(7, GetOptions::default())).await.unwrap();
    assert_eq!(got, block(7));
    assert_eq!(copy.length(), 100);
    assert!(copy.has(7).await.unwrap() && !copy.has(8).await.unwrap());
    soon("a download", copy.download(0, 100)).await.unwrap();
    for index in 0..100 {
        assert_eq!(copy.get(index, GetOptions::LOCAL).await.unwrap(), block(index));
    }
    assert_eq!(copy.peers().len(), 1);
    assert_eq!(core.peers().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_is_called_may_be_the_reader() {
    let reader = Node::new(&[]).await;
    let writer = Node::new(&[reader.at]).await;
    let core = writer.open(OpenTarget::New).await;
    append(&core, 0, 10).await;
    let copy = reader.same(&core).await;
    let waiting = GetOptions { if_available: false, ..GetOptions::default() };
    assert_eq!(soon("a block", copy.get(9, waiting)).await.unwrap(), block(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_is_told() {
    let writer = Node::new(&[]).await;
    let core = writer.open(OpenTarget::Name("log".into())).await;
    append(&core, 0, 3).await;
    let reader = Node::new(&[writer.at]).await;
    let copy = reader.same(&core).await;
    assert!(soon("an update", copy.update(Some(3))).await.unwrap());
    append(&core, 3, 20).await;
    soon("the growth", grown(&copy, 20)).await;
    assert_eq!(soon("a block", copy.get(19, GetOptions::default())).await.unwrap(), block(19));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_it() {
    let writer = Node::new(&[]).await;
    let core = writer.open(OpenTarget::Name("log".into())).await;
    append(&core, 0, 3).await;
    core.clear(1, 2).await.unwrap();
    let reader = Node::new(&[writer.at]).await;
    let copy = reader.same(&core).await;
    assert_eq!(soon("a block", copy.get(0, GetOptions::default())).await.unwrap(), block(0));
    let missing = soon("an answer", copy.get(1, GetOptions::default())).await;
    assert!(missing.is_err(), "{missing:?}");
    // A core that nobody has ever heard of.
    let unknown = reader.open(OpenTarget::Key(hyperspace_api::Key::from([9; 32]))).await;
    let missing = soon("an answer", unknown.get(0, GetOptions::default())).await;
    assert!(missing.is_err(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_serves_what_it_has_while_the_writer_is_away() {
    let writer = Node::new(&[]).await;
    let core = writer.open(OpenTarget::Name("log".into())).await;
    append(&core, 0, 50).await;
    let one = Node::new(&[writer.at]).await;
    let copy = one.same(&core).await;
    soon("an update", copy.update(Some(50))).await.unwrap();
    soon("a download", copy.download(0, 50)).await.unwrap();
    let key = core.key();
    drop(core);
    let stopped = writer.stop().await;

    let two = Node::new(&[one.at]).await;
    let second = two.open(OpenTarget::Key(key)).await;
    assert_eq!(soon("a block", second.get(33, GetOptions::default())).await.unwrap(), block(33));

    // And it comes back.
    let writer = stopped.start().await;
    let core = writer.open(OpenTarget::Name("log".into())).await;
    append(&core, 50, 60).await;
    soon("the first reader hears of it", grown(&copy, 60)).await;
    soon("a download", copy.download(50, 60)).await.unwrap();
    soon("the second reader hears of it", grown(&second, 60)).await;
    assert_eq!(soon("a block", second.get(59, GetOptions::default())).await.unwrap(), block(59));
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_added_and_removed_at_run_time() {
    let writer = Node::new(&[]).await;
    let core = writer.open(OpenTarget::Name("log".into())).await;
    append(&core, 0, 5).await;
    let reader = Node::new(&[]).await;
    let copy = reader.same(&core).await;
    let network = reader.client.network();
    network.add_peer(&writer.at.to_string(), true).await.unwrap();
    let waiting = GetOptions { if_available: false, ..GetOptions::default() };
    assert_eq!(soon("a block", copy.get(2, waiting)).await.unwrap(), block(2));
    let addresses = network.peer_addresses().await.unwrap();
    assert_eq!(addresses.len(), 1);
    assert_eq!(addresses[0].connected, Some(writer.client.network().public_key().await.unwrap()));
    assert!(addresses[0].remember);

    // It is called again after a restart.
    let reader = reader.stop().await.start().await;
    let copy = reader.open(OpenTarget::Key(core.key())).await;
    assert_eq!(soon("a block", copy.get(4, GetOptions::default())).await.unwrap(), block(4));
    let network = reader.client.network();
    network.remove_peer(&writer.at.to_string()).await.unwrap();
    assert!(network.peer_addresses().await.unwrap().is_empty());
    assert!(network.remove_peer(&writer.at.to_string()).await.is_err());
    assert!(network.add_peer("nowhere", false).await.is_err());
}
