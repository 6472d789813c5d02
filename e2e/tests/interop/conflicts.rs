//! Writers who have signed two histories of one core, between us and npm hypercore: whoever
//! finds it out, both freeze the core.

use crate::js::JsPeer;
use crate::rust::RustPeer;
use crate::side::{Kind, Side};
use std::time::Duration;

async fn js() -> Side {
    Side::Js(JsPeer::start().expect("node starts"))
}

async fn rust() -> Side {
    Side::Rust(RustPeer::start().await.expect("a server starts"))
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(30), future).await;
    within.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// Has it been told of two histories?
async fn frozen(side: &Side, key: &str) {
    let wait = async {
        loop {
            match side {
                Side::Rust(rust) if rust.core(key).expect("it is open").local.is_frozen() => return,
                Side::Js(js) => {
                    let faults = js.faults().await.expect("it answers");
                    if faults.iter().any(|fault| fault == "conflict") {
                        return;
                    }
                }
                Side::Rust(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("freezing", wait).await;
}

/// Two writers with the same keys, of which each has a history of its own; a reader that has
/// the first one's, and meets the second.
async fn two_histories(writers: [Side; 2], reader: Side) {
    let mut key = String::new();
    for (history, (writer, length)) in writers.iter().zip([10, 13]).enumerate() {
        key = writer.create(Kind::V0, "two tongues").await.expect("it opens").expect("it can sign");
        writer.append(&key, 0, length, history as u64, 5).await.expect("it is its own");
    }
    reader.open(&key).await.expect("it opens");
    reader.connect(writers[0].listen().await.expect("it listens")).await.expect("it connects");
    reader.live(&key).await.expect("it follows");
    soon("the first history", reader.reach(&key, 10, 0)).await.expect("it comes");
    reader.disconnect().await.expect("it hangs up");
    reader.connect(writers[1].listen().await.expect("it listens")).await.expect("it connects");
    frozen(&reader, &key).await;
    frozen(&writers[1], &key).await;
    if let Side::Rust(rust) = &reader {
        assert_eq!(rust.core(&key).expect("it is open").local.traffic().lies, 0, "the peer is no liar");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_find_out_that_node_has_two() {
    two_histories([js().await, js().await], rust().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_finds_out_that_we_have_two() {
    two_histories([rust().await, rust().await], js().await).await;
}
