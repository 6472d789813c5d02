//! Drives and bees from npm, in cores that we serve.

use crate::js::JsPeer;
use crate::rust::RustPeer;
use bytes::Bytes;
use hyperspace_api::Core;
use serde_json::{Value, json};

/// A Node peer that writes, our server connected with it, and a second Node peer that is
/// connected with our server only.
struct Chain {
    writer: JsPeer,
    server: RustPeer,
    reader: JsPeer,
}

impl Chain {
    async fn new() -> Self {
        let [writer, reader] = [(); 2].map(|()| JsPeer::start().expect("node starts"));
        let server = RustPeer::start().await.expect("a server starts");
        let port = writer.run("listen", json!({})).await.expect("it listens")["port"].as_u64();
        server.connect(port.expect("a port") as u16).expect("it calls");
        let port = server.listen().await.expect("it listens");
        reader.run("connect", json!({ "port": port })).await.expect("it connects");
        Self { writer, server, reader }
    }

    /// Has our server fetch all of the core that the writer has.
    async fn fetch(&self, key: &Value) {
        let key = key.as_str().expect("a key");
        let info = self.writer.run("info", json!({ "key": key })).await.expect("it has the core");
        self.server.open(key).await.expect("it opens");
        self.server.reach(key, info["length"].as_u64().expect("a length"), 0).await.expect("it comes");
    }

    /// What the writer's core has, in a core of ours, appended over the RPC; its key.
    async fn copy(&self, key: &Value, name: &str) -> String {
        let raw = self.writer.run("raw", json!({ "key": key })).await.expect("it has the core");
        let raw = raw["blocks"].as_array().expect("blocks");
        let blocks: Vec<Bytes> = raw.iter().map(|block| unhex(block.as_str().expect("hex"))).collect();
        let ours = self.server.create(crate::side::Kind::V1, name).await.expect("it opens").expect("ours");
        let core = self.server.core(&ours).expect("it is open").remote;
        core.append(blocks, Some(0)).await.expect("it is ours");
        ours
    }

    async fn reads_the_same(&self, what: &str, key: Value, as_writer: &Value) {
        let read = self.reader.run(what, json!({ "key": key })).await.expect("it reads");
        assert!(as_writer["count"].as_u64().is_some_and(|count| count > 50), "{as_writer}");
        assert_eq!(read["count"], as_writer["count"]);
        assert_eq!(read["digest"], as_writer["digest"]);
        for peer in [&self.writer, &self.reader] {
            assert_eq!(peer.faults().await.expect("it answers"), Vec::<String>::new());
        }
    }
}

fn unhex(text: &str) -> Bytes {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_of_node_is_read_from_us() {
    let chain = Chain::new().await;
    let made = chain.writer.run("drive", json!({ "name": "drive", "count": 60 })).await.expect("written");
    chain.fetch(&made["key"]).await;
    chain.fetch(&made["content"]).await;
    chain.reads_the_same("driveFiles", made["key"].clone(), &made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bee_of_node_is_read_from_us() {
    let chain = Chain::new().await;
    let made = chain.writer.run("bee", json!({ "name": "bee", "count": 1000 })).await.expect("written");
    chain.fetch(&made["key"]).await;
    chain.reads_the_same("beeEntries", made["key"].clone(), &made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bee_in_a_core_of_ours_is_read_from_us() {
    let chain = Chain::new().await;
    let made = chain.writer.run("bee", json!({ "name": "bee", "count": 1000 })).await.expect("written");
    let ours = chain.copy(&made["key"], "bee").await;
    chain.reads_the_same("beeEntries", ours.into(), &made).await;
}
