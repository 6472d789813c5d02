//! What is queued for a peer who is gone keeps nobody busy. Alone in its process, whose
//! threads are looked at.

#[path = "network/line.rs"]
#[allow(dead_code)]
mod line;

use hypercore::LocalCore;
use hypercore::hyperspace_api::{Core, GetOptions};
use hypercore::replication::{Answerer, Reply};
use line::{Line, Node};
use std::fs;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

const NAME: &str = "gifts";

/// Keeps the ways back.
struct Keeper(mpsc::SyncSender<Reply>);

impl Answerer for Keeper {
    fn asked(&self, _: &LocalCore, _: bytes::Bytes, reply: Reply) {
        let _ = self.0.send(reply);
    }
}

/// Processor time of the threads that serve peers, in ticks.
fn ticks() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("the threads");
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats
        .filter(|stat| stat.contains("(hypercore-work"))
        .filter_map(|stat| {
            let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn gifts_for_who_is_gone_keep_nobody_busy() {
    let (a, b) = (Node::new(1), Node::new(2));
    let written = a.store.open_name("core").expect("a core");
    written.append(vec!["one".into(), "two".into()], None).await.expect("an append");
    let (keep, kept) = mpsc::sync_channel(8);
    a.replication.answer(NAME, Arc::new(Keeper(keep)));
    let read = b.store.open_key(written.key()).expect("a core");
    let extension = read.extension(NAME).expect("an extension");
    let line = Line::new(&a, &b);
    read.get(0, GetOptions::default()).await.expect("a block");
    extension.broadcast("what have you?").expect("it is sent");
    let reply = tokio::task::spawn_blocking(move || kept.recv_timeout(Duration::from_secs(20)));
    let reply = reply.await.expect("it waits").expect("a question");
    drop(line);
    tokio::time::timeout(Duration::from_secs(20), async {
        while !written.peers().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is gone");
    reply.give(&[0, 1]);
    // However slow the machine is, there comes a tenth of a second in which nothing is done.
    let idle = async {
        loop {
            let before = ticks();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if ticks() == before {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), idle).await.expect("they never rest");
}
