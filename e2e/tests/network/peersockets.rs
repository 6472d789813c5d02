//! Messages between programs of peers, ours and npm's.

use crate::support::{Dht, Node, soon};
use hyperspace_api::{DiscoveryKey, Key};
use hyperspace_client::{ExtensionMessage, Peersocket, Peersockets};
use hyperspace_e2e::node;
use hyperspace_e2e::process::Process;
use hyperspace_e2e::scratch::Scratch;
use std::time::Duration;

/// Sends again and again, since what comes before the other side has joined is lost.
async fn received(from: &Peersocket, to: &mut Peersocket, text: &str) -> ExtensionMessage {
    soon("a message", async {
        loop {
            from.broadcast(text.to_owned()).await.unwrap();
            let every = Duration::from_millis(20);
            if let Ok(message) = tokio::time::timeout(every, to.recv()).await {
                return message;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn between_programs_of_ours() {
    let dht = Dht::new().await;
    let (one, two) = (Node::new(&dht).await, Node::new(&dht).await);
    let topic = DiscoveryKey::from([5; 32]);
    one.join(topic, true, false).await;
    two.join(topic, false, true).await;
    let (ours, theirs) = (Peersockets::new(one.client.network()), Peersockets::new(two.client.network()));
    let mut a = ours.join("chat").await.unwrap();
    let mut also = ours.join("chat").await.unwrap();
    let mut b = theirs.join("chat").await.unwrap();
    let mut other = theirs.join("other").await.unwrap();
    assert_eq!(b.topic(), "chat");
    let message = received(&b, &mut a, "hello").await;
    assert_eq!(message.data, "hello");
    assert_eq!(*message.from.as_bytes(), two.key().await);
    assert_eq!(soon("the same", also.recv()).await.data, "hello");
    // To one alone.
    let key = Key::from(two.key().await);
    a.send(key, "to you").await.unwrap();
    assert_eq!(soon("an answer", b.recv()).await.data, "to you");
    assert!(tokio::time::timeout(Duration::from_millis(50), other.recv()).await.is_err());
    // Who has left is told nothing; who stays is.
    drop(a);
    while tokio::time::timeout(Duration::from_millis(50), also.recv()).await.is_ok() {}
    assert_eq!(received(&b, &mut also, "still here?").await.data, "still here?");
    assert_eq!(b.missed() + also.missed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_program_of_npm() {
    let dht = Dht::new().await;
    let (one, two) = (Node::new(&dht).await, Node::new(&dht).await);
    let topic = DiscoveryKey::from([6; 32]);
    one.join(topic, true, false).await;
    two.join(topic, false, true).await;
    // A Node program at the other server, which it finds as it finds any.
    let scratch = Scratch::new();
    std::os::unix::fs::symlink(two.socket(), scratch.socket()).expect("a link");
    let node = Process::start(&mut node::command(&scratch, &["net/peersockets-peer.js"]));
    tokio::task::block_in_place(|| node.wait_for_line("joined"));
    let ours = Peersockets::new(one.client.network());
    let mut chat = ours.join("chat").await.unwrap();
    let answer = received_back(&mut chat, "hello").await;
    assert_eq!(answer.data, "HELLO");
    assert_eq!(*answer.from.as_bytes(), two.key().await);
}

/// Sends again and again until there is an answer.
async fn received_back(socket: &mut Peersocket, text: &str) -> ExtensionMessage {
    soon("an answer", async {
        loop {
            socket.broadcast(text.to_owned()).await.unwrap();
            let every = Duration::from_millis(20);
            if let Ok(message) = tokio::time::timeout(every, socket.recv()).await {
                return message;
            }
        }
    })
    .await
}
