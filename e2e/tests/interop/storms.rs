//! npm hypercore, when it looks for a byte in what its peer has only parts of, asks which parts
//! those are, is answered, and asks the same again: 28,000 times a second with a peer of its
//! own kind, which keeps both of them from anything else.

use crate::js::JsPeer;
use crate::rust::RustPeer;
use crate::side::block;
use hyperspace_api::{Core, CoreError, GetOptions};
use serde_json::{Value, json};
use std::time::Duration;

const BLOCKS: u64 = 4000;
/// What a seek may take, of either side.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A few questions are in order; a storm has some 40,000 in that time.
const FEW: u64 = 100;

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Where a block begins.
fn start(of: u64) -> u64 {
    (0..of).map(|index| block(index, 0).len() as u64).sum()
}

async fn port_of(peer: &JsPeer) -> u16 {
    peer.run("listen", json!({})).await.expect("it listens")["port"].as_u64().expect("a port") as u16
}

/// A Node writer with a core of so many blocks, of which our server knows, and has a few.
async fn written() -> (JsPeer, RustPeer, String) {
    let writer = JsPeer::start().expect("node starts");
    let server = RustPeer::start().await.expect("a server starts");
    let made = writer.run("create", json!({ "kind": "v1", "name": "core" })).await.expect("it opens");
    let key = made["key"].as_str().expect("a key").to_owned();
    let append = json!({ "key": key, "from": 0, "to": BLOCKS, "history": 0, "batch": 500 });
    writer.run("append", append).await.expect("written");
    server.connect(port_of(&writer).await).expect("it calls");
    server.open(&key).await.expect("it opens");
    let core = server.core(&key).expect("it is open").remote;
    assert!(core.update(Some(BLOCKS)).await.expect("it hears of it"));
    for at in (0..BLOCKS).step_by(500) {
        core.download(at, at + 20).await.expect("they come");
    }
    (writer, server, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn we_calm_node_down() {
    let (writer, server, key) = written().await;
    // Whoever has the rest is gone: nobody can answer.
    server.disconnect().expect("it hangs up");
    drop(writer);
    let reader = JsPeer::start().expect("node starts");
    let port = server.listen().await.expect("it listens");
    reader.run("connect", json!({ "port": port })).await.expect("it connects");
    reader.run("open", json!({ "key": key })).await.expect("it opens");
    reader.run("get", json!({ "key": key, "blocks": [510] })).await.expect("it comes");
    let seek = json!({ "key": key, "at": start(777) + 1, "timeout": PATIENCE.as_millis() as u64 });
    let seeking = reader.run("seekFor", seek);
    let tried = tokio::time::timeout(PATIENCE * 4, seeking).await.expect("it gives up in time");
    let tried = tried.expect("it answers");
    println!("{tried}");
    assert!((1..FEW).contains(&number(&tried, "wantsSent")) && number(&tried, "haveCame") < FEW, "{tried}");
    // It is not beside itself, and neither are we.
    let seek = json!({ "key": key, "bytes": [start(510) + 3] });
    let found = tokio::time::timeout(PATIENCE * 4, reader.run("seek", seek)).await.expect("at once");
    assert_eq!(found.expect("it finds it")["found"], json!([[510, 3]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn we_ask_no_storm_of_questions() {
    let (writer, server, key) = written().await;
    // The writer has forgotten the middle of it.
    writer.run("clear", json!({ "key": key, "start": 600, "end": 900 })).await.expect("cleared");
    let before = writer.run("said", json!({ "key": key })).await.expect("it answers");
    let core = server.core(&key).expect("it is open").remote;
    let patient = GetOptions { wait: true, if_available: false, timeout: Some(PATIENCE) };
    assert_eq!(core.seek(start(777) + 1, patient).await, Err(CoreError::Timeout));
    let after = writer.run("said", json!({ "key": key })).await.expect("it answers");
    for what in ["wantsCame", "requestsCame"] {
        let asked = number(&after, what) - number(&before, what);
        assert!(asked < FEW, "{what}: {asked} in {PATIENCE:?}");
    }
    // What is there is found.
    let found = core.seek(start(1234) + 5, patient).await.expect("it is there");
    assert_eq!((found.index, found.offset), (1234, 5));
    assert_eq!(writer.faults().await.expect("it answers"), Vec::<String>::new());
}
