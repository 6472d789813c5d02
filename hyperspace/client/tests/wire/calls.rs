//! Calls: in flight, given up, and answered in any order.

use crate::common::{Listening, block, in_memory, open_core, plain, serve_blocks};
use futures::FutureExt;
use futures::future::join_all;
use hyperspace_api::{Core, CoreError, GetOptions};
use hyperspace_client::{ClientOptions, DownloadRange};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::{hypercore, hyperspace};
use proptest::prelude::*;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_dropped_get_is_cancelled_and_its_id_waits_for_the_reply() {
    let (client, mut peer) = in_memory(plain()).await;
    let core = open_core(&client, &mut peer, 9).await;
    let mut get = Box::pin(core.get(3, GetOptions::default()));
    assert!(get.as_mut().now_or_never().is_none());
    let (id, request) = peer.expect::<hypercore::Get>().await;
    drop(get);
    let (no_id, cancel) = peer.expect::<hypercore::Cancel>().await;
    assert_eq!((no_id, cancel.id, cancel.resource_id), (0, request.id.into(), request.resource_id));
    // The reply has not come, so the next call has another id.
    let mut has = Box::pin(core.has(1));
    assert!(has.as_mut().now_or_never().is_none());
    let (other, _) = peer.expect::<hypercore::Has>().await;
    assert_ne!(other, id);
    peer.queue_error::<hypercore::Get>(id, "Request cancelled");
    peer.reply::<hypercore::Has>(other, &m::HasResponse { has: true }).await;
    assert!(has.await.unwrap());
    // Both ids are free; the one freed last is used first.
    let mut has = Box::pin(core.has(1));
    assert!(has.as_mut().now_or_never().is_none());
    assert_eq!(peer.expect::<hypercore::Has>().await.0, other);
}

#[tokio::test]
async fn a_get_that_takes_too_long_is_cancelled() {
    let (client, mut peer) = in_memory(plain()).await;
    let core = open_core(&client, &mut peer, 9).await;
    let options = GetOptions { timeout: Some(Duration::from_millis(20)), ..GetOptions::default() };
    assert_eq!(core.get(3, options).await, Err(CoreError::Timeout));
    peer.expect::<hypercore::Get>().await;
    peer.expect::<hypercore::Cancel>().await;
}

#[tokio::test]
async fn a_dropped_download_is_given_up() {
    let (client, mut peer) = in_memory(plain()).await;
    let core = open_core(&client, &mut peer, 9).await;
    let mut download = core.download_range(DownloadRange::of(vec![5, 3]));
    assert!((&mut download).now_or_never().is_none());
    let (_, request) = peer.expect::<hypercore::Download>().await;
    assert_eq!((request.start, request.end, request.blocks), (Some(3), Some(6), vec![5, 3]));
    assert_eq!(request.live, None);
    drop(download);
    let (id, undownload) = peer.expect::<hypercore::Undownload>().await;
    assert_eq!((id, undownload.resource_id), (0, request.resource_id));

    let mut live = core.download_range(DownloadRange::live(2));
    assert!((&mut live).now_or_never().is_none());
    let (id, request) = peer.expect::<hypercore::Download>().await;
    assert_eq!((request.start, request.end, request.live), (Some(2), None, Some(true)));
    peer.reply::<hypercore::Download>(id, &m::Void {}).await;
    live.await.unwrap();
    // Nothing to do, so nothing is said: an end of 0 would mean "no end".
    core.download(4, 4).await.unwrap();
    core.download_range(DownloadRange::of(Vec::new())).await.unwrap();
    assert_eq!(core.downloaded(0, 0).await, Ok(0));
    assert!(peer.hears_nothing().await);
}

#[tokio::test]
async fn a_lock_that_nobody_waits_for_any_more_is_released_when_granted() {
    let (client, mut peer) = in_memory(plain()).await;
    let core = open_core(&client, &mut peer, 0).await;
    let mut lock = Box::pin(core.lock());
    assert!(lock.as_mut().now_or_never().is_none());
    let (id, request) = peer.expect::<hypercore::AcquireLock>().await;
    drop(lock);
    assert!(peer.hears_nothing().await);
    peer.reply::<hypercore::AcquireLock>(id, &m::Void {}).await;
    let (id, release) = peer.expect::<hypercore::ReleaseLock>().await;
    assert_eq!((id, release), (0, request));

    // Within one client the second waits for the first.
    let acquired = async {
        let (id, _) = peer.expect::<hypercore::AcquireLock>().await;
        peer.reply::<hypercore::AcquireLock>(id, &m::Void {}).await;
    };
    let (lock, ()) = tokio::join!(core.lock(), acquired);
    assert!(core.lock().now_or_never().is_none());
    assert!(peer.hears_nothing().await);
    drop(lock.unwrap());
    peer.expect::<hypercore::ReleaseLock>().await;
}

#[tokio::test]
async fn only_so_many_calls_are_in_flight() {
    let options = ClientOptions { max_in_flight: 3, ..plain() };
    let (client, mut peer) = in_memory(options).await;
    let core = open_core(&client, &mut peer, 100).await;
    let calls: Vec<_> = (0..10)
        .map(|index| {
            let core = core.clone();
            tokio::spawn(async move { core.get(index, GetOptions::default()).await })
        })
        .collect();
    for _ in 0..3 {
        let mut three = Vec::new();
        for _ in 0..3 {
            three.push(peer.expect::<hypercore::Get>().await);
        }
        assert!(peer.hears_nothing().await);
        for (id, request) in three {
            peer.queue::<hypercore::Get>(id, &block(request.seq));
        }
        peer.flush().await;
    }
    let (id, request) = peer.expect::<hypercore::Get>().await;
    peer.reply::<hypercore::Get>(id, &block(request.seq)).await;
    for (index, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), format!("block {index}"));
    }
}

#[tokio::test]
async fn large_appends_are_written_as_protobuf_and_wait_for_a_slow_server() {
    let listening = Listening::new();
    let options = ClientOptions { max_queued: 1 << 20, ..plain() };
    let (client, mut peer) = listening.connect(options).await;
    let core = open_core(&client, &mut peer, 0).await;
    let batches: Vec<Vec<bytes::Bytes>> = (0..20_u8)
        .map(|n| [0, 100, 5000, 300_000, 1, 70_000].map(|size| vec![n; size].into()).to_vec())
        .collect();
    let appends: Vec<_> = batches
        .iter()
        .cloned()
        .enumerate()
        .map(|(n, batch)| {
            let core = core.clone();
            // One after the other starts, since each is polled when spawned.
            tokio::spawn(async move { core.append(batch, (n % 2 == 0).then_some(n as u64)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut seen = vec![false; batches.len()];
    for _ in 0..batches.len() {
        let (id, request) = peer.expect::<hypercore::Append>().await;
        let n = request.blocks[1][0] as usize;
        assert!(request.blocks == batches[n], "batch {n}");
        assert_eq!(request.expected_length, n.is_multiple_of(2).then_some(n as u64));
        assert!(!std::mem::replace(&mut seen[n], true));
        let answer = m::AppendResponse { length: 6, byte_length: 6, seq: 0 };
        peer.reply::<hypercore::Append>(id, &answer).await;
    }
    for append in appends {
        append.await.unwrap().unwrap();
    }
}

/// Many threads at once, over a real socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_a_connection() {
    let listening = Listening::new();
    let (client, mut peer) = listening.connect(plain()).await;
    let core = open_core(&client, &mut peer, 1 << 40).await;
    let server = tokio::spawn(async move { serve_blocks(&mut peer).await });
    join_all((0..32_u64).map(|task| {
        let core = core.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                let index = task * 1000 + n;
                let got = core.get(index, GetOptions::default()).await.unwrap();
                assert_eq!(got, format!("block {index}"));
                if n % 16 == task % 16 {
                    // Some change their mind.
                    let _ = core.get(index + 1, GetOptions::default()).now_or_never();
                    tokio::task::yield_now().await;
                }
            }
        })
    }))
    .await
    .into_iter()
    .for_each(|task| task.unwrap());
    drop((core, client));
    server.await.unwrap();
}

/// However small the bounds, everybody gets a turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tight_bounds_starve_nobody() {
    for (max_in_flight, max_queued) in [(1, 1 << 20), (1000, 1), (3, 40)] {
        let listening = Listening::new();
        let options = ClientOptions { max_in_flight, max_queued, ..plain() };
        let (client, mut peer) = listening.connect(options).await;
        let core = open_core(&client, &mut peer, 1 << 40).await;
        let server = tokio::spawn(async move { serve_blocks(&mut peer).await });
        let tasks = (0..64_u64).map(|task| {
            let core = core.clone();
            tokio::spawn(async move {
                for n in 0..30 {
                    core.get(task * 100 + n, GetOptions::default()).await.unwrap();
                }
            })
        });
        let done = tokio::time::timeout(Duration::from_secs(20), join_all(tasks)).await;
        assert!(done.expect("nobody waits for ever").iter().all(Result::is_ok));
        drop((core, client));
        server.await.unwrap();
    }
}

#[tokio::test]
async fn stop_closes_the_client() {
    let (client, mut peer) = in_memory(plain()).await;
    let (stopped, ()) = tokio::join!(client.stop(), async {
        peer.expect::<hyperspace::Stop>().await;
        peer.stream.shutdown().await.unwrap();
    });
    stopped.unwrap();
    assert!(matches!(client.status().await, Err(CoreError::Disconnected(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the order of the replies and the cuts of the stream, every call gets
    /// its own.
    #[test]
    fn every_call_gets_its_own_reply(
        calls in 1..40_usize,
        order in prop::collection::vec(any::<u32>(), 40),
        errors in prop::collection::vec(any::<bool>(), 40),
        dropped in prop::collection::vec(prop::bool::weighted(0.2), 40),
        cut in 1..200_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (client, mut peer) = in_memory(plain()).await;
            let core = open_core(&client, &mut peer, 1000).await;
            for _ in 0..2 {
                let mut gets = Vec::new();
                for index in 0..calls {
                    let mut get = Box::pin(core.get(index as u64, GetOptions::default()));
                    assert!(get.as_mut().now_or_never().is_none());
                    gets.push(get);
                }
                let mut asked = Vec::new();
                for _ in 0..calls {
                    asked.push(peer.expect::<hypercore::Get>().await);
                }
                asked.sort_by_key(|(_, request)| order[usize::try_from(request.seq).unwrap()]);
                let mut out = bytes::BytesMut::new();
                for (id, request) in asked {
                    use hyperspace_schema::frame;
                    if errors[usize::try_from(request.seq).unwrap()] {
                        let error = m::RpcError {
                            message: "Block not available from peers".into(),
                            ..m::RpcError::default()
                        };
                        frame::error(&mut out, 3, 1, id, &error);
                    } else {
                        frame::response::<hypercore::Get>(&mut out, id, &block(request.seq));
                    }
                }
                let mut kept = Vec::new();
                let mut cancelled = 0;
                for (index, get) in gets.into_iter().enumerate() {
                    if dropped[index] {
                        cancelled += 1;
                    } else {
                        kept.push((index, get));
                    }
                }
                let answers = join_all(kept.into_iter().map(|(index, get)| async move { (index, get.await) }));
                let (answers, ()) = tokio::join!(answers, async {
                    for piece in out.chunks(cut) {
                        peer.raw(piece).await;
                        tokio::task::yield_now().await;
                    }
                });
                for (index, answer) in answers {
                    if errors[index] {
                        assert_eq!(answer, Err(CoreError::NotAvailable));
                    } else {
                        assert_eq!(answer.unwrap(), format!("block {index}"));
                    }
                }
                for _ in 0..cancelled {
                    peer.expect::<hypercore::Cancel>().await;
                }
            }
        });
    }
}
