//! Messages of programs, by way of the peers of a core or of all peers.

use crate::support::{Node, append, grown, soon};
use hyperspace_api::OpenTarget;
use hyperspace_client::{Extension, ExtensionMessage};
use std::time::Duration;

/// Sends again and again, since what comes before the other side has registered is lost.
async fn received(from: &Extension, to: &mut Extension, text: &str) -> ExtensionMessage {
    let every = Duration::from_millis(20);
    soon("a message", async {
        loop {
            from.broadcast(text.to_owned().into_bytes()).await.unwrap();
            if let Ok(message) = tokio::time::timeout(every, to.recv()).await {
                return message;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_core() {
    let writer = Node::new(&[]).await;
    let core = writer.open(OpenTarget::New).await;
    append(&core, 0, 1).await;
    let reader = Node::new(&[writer.at]).await;
    let copy = reader.same(&core).await;
    soon("the core", grown(&copy, 1)).await;
    let mut ours = core.register_extension("greeting").await.unwrap();
    let mut theirs = copy.register_extension("greeting").await.unwrap();
    let mut other = copy.register_extension("other").await.unwrap();
    let message = received(&ours, &mut theirs, "hello").await;
    assert_eq!(message.data, "hello");
    assert_eq!(message.from, writer.client.network().public_key().await.unwrap());
    let answer = received(&theirs, &mut ours, "and to you").await;
    assert_eq!(answer.data, "and to you");
    assert_eq!(answer.from, reader.client.network().public_key().await.unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(50), other.recv()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_network() {
    let one = Node::new(&[]).await;
    let two = Node::new(&[one.at]).await;
    let three = Node::new(&[one.at]).await;
    let mut a = one.client.network().register_extension("chat").await.unwrap();
    let mut b = two.client.network().register_extension("chat").await.unwrap();
    let mut c = three.client.network().register_extension("chat").await.unwrap();
    // Two sessions of one server, one extension.
    let mut d = three.client.network().register_extension("chat").await.unwrap();
    assert_eq!(received(&b, &mut a, "from two").await.data, "from two");
    assert_eq!(received(&c, &mut a, "from three").await.data, "from three");
    assert_eq!(received(&a, &mut c, "to all").await.data, "to all");
    assert_eq!(soon("the second listener", d.recv()).await.data, "to all");
    // To one alone.
    let key = two.client.network().public_key().await.unwrap();
    while tokio::time::timeout(Duration::from_millis(50), b.recv()).await.is_ok() {}
    a.send(key, "to two").await.unwrap();
    assert_eq!(soon("a message", b.recv()).await.data, "to two");
}
