//! Every scenario with every kind of core, for every pair of peers.

use crate::js::JsPeer;
use crate::rust::RustPeer;
use crate::scenarios::{Pair, Scenario};
use crate::side::{Kind, Side};
use std::time::Instant;

async fn js() -> Side {
    Side::Js(JsPeer::start().expect("node starts"))
}

async fn rust() -> Side {
    Side::Rust(RustPeer::start().await.expect("a server starts"))
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
enum Calls {
    Writer,
    Reader,
}

/// Runs all cells of a pair, shows how each went, and fails if one has.
async fn matrix(title: &str, writer: Side, relay: Option<Side>, reader: Side, calls: Calls) {
    if let Some(relay) = &relay {
        let port = writer.listen().await.expect("the writer listens");
        relay.connect(port).await.expect("the relay calls it");
    }
    let server = relay.as_ref().unwrap_or(&writer);
    let (caller, called) = match calls {
        Calls::Writer => (server, &reader),
        Calls::Reader => (&reader, server),
    };
    let port = called.listen().await.expect("a peer listens");
    caller.connect(port).await.expect("a peer calls");
    let pair = Pair { writer: &writer, relay: relay.as_ref(), reader: &reader, caller, port };
    let only = std::env::var("HYPERSPACE_INTEROP_CELL").unwrap_or_default();
    let mut failures = Vec::new();
    for kind in Kind::ALL {
        for scenario in Scenario::ALL {
            let cell = format!("{title}, {kind}, {scenario}");
            if !cell.contains(&only) {
                continue;
            }
            let began = Instant::now();
            let went = pair.run(kind, scenario).await;
            let took = began.elapsed().as_secs_f64();
            let said = match went {
                Ok(Some(())) => "passed".to_owned(),
                Ok(None) => continue,
                Err(error) => format!("FAILED: {error:#}"),
            };
            println!("{title} | {kind:6} | {scenario:15} | {took:5.1} s | {said}");
            if said != "passed" {
                failures.push(cell);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_node_writes_and_call() {
    matrix("node to us, we call", js().await, None, rust().await, Calls::Reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_node_writes_and_are_called() {
    matrix("node to us, we are called", js().await, None, rust().await, Calls::Writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reads_what_we_write_and_we_call() {
    matrix("us to node, we call", rust().await, None, js().await, Calls::Writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reads_what_we_write_and_we_are_called() {
    matrix("us to node, we are called", rust().await, None, js().await, Calls::Reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reads_from_us_what_node_writes_and_we_call() {
    let relay = Some(rust().await);
    matrix("node by us to node, we call", js().await, relay, js().await, Calls::Writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reads_from_us_what_node_writes_and_we_are_called() {
    let relay = Some(rust().await);
    matrix("node by us to node, we are called", js().await, relay, js().await, Calls::Reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_we_write() {
    matrix("us to us, the reader calls", rust().await, None, rust().await, Calls::Reader).await;
    matrix("us to us, the writer calls", rust().await, None, rust().await, Calls::Writer).await;
}
