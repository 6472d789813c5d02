//! What the client writes and how it takes what it reads, against a server played by
//! the test.

mod common;

use common::{KEY, Listening, block, in_memory, open_core, opened, plain, serve_blocks};
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use hyperspace_api::{Appended, Core, CoreError, CoreEvent, Corestore, GetOptions, OpenTarget, Seek};
use hyperspace_client::{ClientOptions, DownloadRange, GetWith, NetworkConfig, NetworkEvent};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::{corestore, hypercore, hyperspace, network};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The bytes that npm @hyperspace/client 1.18.0 and hyperspace 3.19.0 exchange.
#[tokio::test]
async fn captured_bytes() {
    let (client, mut peer) = in_memory(plain()).await;
    let key = "8562b05c".repeat(8);
    let opened = format!("4d 09 01 01 0a20 {key} 1000 1800 2001 3220 {key}");
    let fed = format!("25 08 02 00 0a20 {key}");
    let dk = "07".repeat(32);
    let script = [
        ("03 04 01 01".to_owned(), "15 05 01 01 0a06312e31352e31 1a00 2206332e31392e30".to_owned()),
        ("08 08 01 01 0800 1a0178".to_owned(), format!("{fed} {opened}")),
        (
            "13 0c 02 01 0800 1205 68656c6c6f 1205 776f726c64".to_owned(),
            "09 0c 10 00 0800 1002 180a 09 0d 02 01 0802 100a 1800".to_owned(),
        ),
        ("09 0c 01 01 0800 1000 1800".to_owned(), "0a 0d 01 01 0a05 68656c6c6f".to_owned()),
        (
            "0b 0c 01 01 0800 1005 1801 2000".to_owned(),
            "19 0e 01 01 0a14 426c6f636b206e6f7420646f776e6c6f61646564".to_owned(),
        ),
        ("07 0c 05 01 0800 1001".to_owned(), "05 0d 05 01 0801".to_owned()),
        ("07 0c 04 01 0800 1006".to_owned(), "07 0d 04 01 0801 1001".to_owned()),
        // A keep-alive before the answer changes nothing.
        ("05 0c 0e 01 0800".to_owned(), "00 03 0d 0e 01".to_owned()),
        ("05 0c 0f 01 0800".to_owned(), "03 0d 0f 01".to_owned()),
        (
            format!("31 10 02 01 0a28 0a20{dk} 1001 1801 2001 1000 2001"),
            format!("2d 11 02 01 0a28 0a20{dk} 1001 1801 2001"),
        ),
        ("05 0c 0a 01 0800".to_owned(), "03 0d 0a 01".to_owned()),
    ];
    let server = tokio::spawn(async move {
        for (expected, answer) in script {
            let expected = hex(&expected);
            let mut got = vec![0; expected.len()];
            peer.stream.read_exact(&mut got).await.unwrap();
            assert_eq!(got, expected);
            peer.stream.write_all(&hex(&answer)).await.unwrap();
        }
        assert!(peer.hears_nothing().await);
        peer
    });

    let status = client.status().await.unwrap();
    assert_eq!((status.api_version.as_str(), status.version.as_deref()), ("1.15.1", Some("3.19.0")));
    assert_eq!((status.holepunchable, status.remote_address), (None, None));
    let store = client.corestore(None);
    let mut feeds = store.feeds();
    let core = store.open(OpenTarget::Name("x".into())).await.unwrap();
    assert_eq!(core.key().to_string(), key);
    assert_eq!(feeds.recv().await.unwrap(), core.key());
    assert!(core.writable());
    let mut events = core.events();
    let appended = core.append(vec!["hello".into(), "world".into()], None).await.unwrap();
    assert_eq!(appended, Appended { first: 0, length: 2, byte_length: 10 });
    assert_eq!(events.try_recv().unwrap(), CoreEvent::Append { length: 2, byte_length: 10 });
    assert_eq!((core.length(), core.byte_length()), (2, 10));
    assert_eq!(core.get(0, GetOptions::default()).await.unwrap(), "hello");
    assert_eq!(core.get(5, GetOptions::LOCAL).await, Err(CoreError::NotDownloaded));
    assert!(core.has(1).await.unwrap());
    let sought = core.seek(6, GetOptions::default()).await.unwrap();
    assert_eq!(sought, Seek { index: 1, offset: 1 });
    core.lock().await.unwrap().release().await.unwrap();
    let on = Some(true);
    let config =
        NetworkConfig { announce: on, lookup: on, remember: on, ..NetworkConfig::new([7; 32].into()) };
    let status = client.network().configure(config).await.unwrap().unwrap();
    assert!(status.announce && status.lookup && status.remember);
    core.close().await.unwrap();
    assert_eq!(core.get(0, GetOptions::default()).await, Err(CoreError::Closed));
    drop(core);
    server.await.unwrap();
}

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

/// Every kind of garbage ends the connection, and every call with it; at once.
#[tokio::test]
async fn garbage_ends_the_connection_and_its_calls() {
    let garbage: &[(&str, &str)] = &[
        ("an endless varint", "ffffffffffffffffff"),
        ("a frame without its header", "01 0d"),
        ("a reply to no call", "03 0d 0e 63"),
        ("a reply to another method", "05 0d 05 01 0801"),
        ("a reply that is no message", "06 0d 01 01 0a 05 00"),
        ("an event that is no message", "05 0c 10 00 0a ff"),
        ("an error that is no message", "05 0e 01 01 0a ff"),
        ("a frame of 200 MiB", "80 80 80 64 0d"),
        ("the end", ""),
        ("the end within a frame", "0a 0d 01"),
    ];
    for (what, bytes) in garbage {
        let (client, mut peer) = in_memory(plain()).await;
        let core = open_core(&client, &mut peer, 9).await;
        let mut events = core.events();
        let get = core.get(3, GetOptions::default());
        let lock = core.lock();
        let server = async {
            peer.expect::<hypercore::Get>().await;
            peer.expect::<hypercore::AcquireLock>().await;
            peer.raw(&hex(bytes)).await;
            peer.stream.shutdown().await.unwrap();
        };
        let ended = async { tokio::join!(get, lock, server) };
        let (get, lock, ()) = tokio::time::timeout(Duration::from_secs(5), ended).await.expect(what);
        assert!(matches!(get, Err(CoreError::Disconnected(_))), "{what}: {get:?}");
        assert!(matches!(lock.map(drop), Err(CoreError::Disconnected(_))), "{what}");
        assert!(!client.is_connected(), "{what}");
        assert!(events.try_recv().is_err(), "{what}");
    }
}

#[tokio::test]
async fn unknown_events_and_kinds_are_ignored() {
    let (client, mut peer) = in_memory(plain()).await;
    let core = open_core(&client, &mut peer, 9).await;
    // A method 99, then a frame of kind 3, then an event for a core that is not open.
    peer.raw(&hex("05 0c 63 00 0800  03 0f 01 01  09 0c 10 00 0863 1002 180a")).await;
    let (has, ()) = tokio::join!(core.has(1), async {
        let (id, _) = peer.expect::<hypercore::Has>().await;
        peer.reply::<hypercore::Has>(id, &m::HasResponse { has: false }).await;
    });
    assert!(!has.unwrap());
}

#[tokio::test]
async fn events_reach_their_streams() {
    let (client, mut peer) = in_memory(plain()).await;
    let core = open_core(&client, &mut peer, 9).await;
    let id = 0;
    let peer_message = || m::Peer {
        remote_public_key: bytes::Bytes::copy_from_slice(&[3; 32]),
        remote_address: "10.0.0.1:1".into(),
        r#type: "udx".into(),
    };
    let mut events = core.events();
    let mut network_events = client.network().events();
    let mut downloads = core.watch_downloads();
    let second = core.watch_downloads();
    let uploads = core.watch_uploads();
    assert_eq!(peer.expect::<hypercore::WatchDownloads>().await.0, 0);
    assert_eq!(peer.expect::<hypercore::WatchUploads>().await.0, 0);
    drop((second, uploads));
    peer.expect::<hypercore::UnwatchUploads>().await;

    let (extension, (call, registered)) = tokio::join!(core.register_extension("chat"), async {
        let (call, request) = peer.expect::<hypercore::RegisterExtension>().await;
        peer.reply::<hypercore::RegisterExtension>(call, &m::Void {}).await;
        (call, request)
    });
    let mut extension = extension.unwrap();
    assert_eq!((call, registered.name.as_str()), (1, "chat"));

    peer.queue_event::<hypercore::OnPeerOpen>(&m::PeerEvent { id, peer: peer_message() });
    peer.queue_event::<hypercore::OnDownload>(&m::DownloadEvent { id, seq: 4, byte_length: Some(8) });
    peer.queue_event::<hypercore::OnExtension>(&m::ExtensionMessage {
        id,
        resource_id: registered.resource_id,
        remote_public_key: Some(peer_message().remote_public_key),
        data: "hi".into(),
    });
    peer.queue_event::<network::OnPeerAdd>(&m::PeerEvent { id, peer: peer_message() });
    peer.queue_event::<hypercore::OnAppend>(&m::AppendEvent { id, length: 10, byte_length: 100 });
    peer.queue_event::<hypercore::OnAppend>(&m::AppendEvent { id, length: 8, byte_length: 80 });
    peer.queue_event::<hypercore::OnPeerRemove>(&m::PeerEvent { id, peer: peer_message() });
    peer.queue_event::<hypercore::OnClose>(&m::CloseEvent { id });
    peer.flush().await;

    let CoreEvent::PeerOpen(joined) = events.recv().await.unwrap() else { panic!("a peer") };
    assert_eq!(joined.remote_public_key, [3; 32].into());
    assert_eq!(events.recv().await.unwrap(), CoreEvent::Download { index: 4, byte_length: 8 });
    assert_eq!(downloads.next().await.unwrap().index, 4);
    assert_eq!(extension.next().await.unwrap().data, "hi");
    assert_eq!(network_events.recv().await.unwrap(), NetworkEvent::PeerAdd(joined.clone()));
    assert_eq!(events.recv().await.unwrap(), CoreEvent::Append { length: 10, byte_length: 100 });
    assert_eq!(events.recv().await.unwrap(), CoreEvent::Truncate { length: 8, fork: 0 });
    assert_eq!((core.length(), core.byte_length()), (8, 80));
    assert_eq!(events.recv().await.unwrap(), CoreEvent::PeerRemove(joined));
    assert_eq!(core.peers(), []);
    assert_eq!(events.recv().await.unwrap(), CoreEvent::Closed);
    assert!(core.is_closed());
    peer.expect::<hypercore::Close>().await;
}

#[tokio::test]
async fn tells_when_a_get_waits_for_the_network() {
    let (client, mut peer) = in_memory(plain()).await;
    let core = open_core(&client, &mut peer, 9).await;
    let waited = Arc::new(AtomicBool::new(false));
    let with = GetWith::new(GetOptions::default()).on_wait({
        let waited = waited.clone();
        move || waited.store(true, Ordering::SeqCst)
    });
    let (got, ()) = tokio::join!(core.get_with(3, with), async {
        let (id, request) = peer.expect::<hypercore::Get>().await;
        let on_wait_id = request.on_wait_id.unwrap();
        assert_ne!(on_wait_id, 0);
        peer.queue_event::<hypercore::OnWait>(&m::WaitEvent { id: 0, on_wait_id, seq: 3 });
        peer.reply::<hypercore::Get>(id, &block(3)).await;
    });
    assert_eq!(got.unwrap(), "block 3");
    assert!(waited.load(Ordering::SeqCst));
}

#[tokio::test]
async fn the_same_core_is_one_handle_and_is_closed_once() {
    let (client, mut peer) = in_memory(plain()).await;
    let first = open_core(&client, &mut peer, 9).await;
    let store = client.corestore(Some("n"));
    let again = store.open(OpenTarget::Key(KEY.into())).await.unwrap();
    // By name it may be another; the server tells that it is not.
    let (by_name, (id, request)) = tokio::join!(store.default_core(), async {
        let (call, request) = peer.expect::<corestore::Open>().await;
        peer.reply::<corestore::Open>(call, &opened(9)).await;
        peer.expect::<hypercore::Close>().await;
        (call, request)
    });
    assert_eq!((id, request.name.as_deref(), request.id), (1, Some("n"), 1));
    let by_name_again = store.open(OpenTarget::Name("n".into())).await.unwrap();
    drop((again, by_name, by_name_again));
    assert!(peer.hears_nothing().await);
    drop(first);
    assert_eq!(peer.expect::<hypercore::Close>().await.1, m::CloseRequest { id: 0 });
    // Now it is opened anew.
    open_core(&client, &mut peer, 9).await;
    peer.expect::<hypercore::Close>().await;
    drop((client, store));
    assert_eq!(peer.next().await, None);
}

#[tokio::test]
async fn an_open_that_fails_or_is_given_up_leaves_nothing_behind() {
    let (client, mut peer) = in_memory(plain()).await;
    let store = client.corestore(None);
    let (failed, id) = tokio::join!(store.open(OpenTarget::New), async {
        let (call, request) = peer.expect::<corestore::Open>().await;
        peer.queue_error::<corestore::Open>(call, "no room");
        peer.flush().await;
        request.id
    });
    assert_eq!(failed.map(drop).unwrap_err().to_string(), "no room");
    assert_eq!(peer.expect::<hypercore::Close>().await.1.id, id);
    assert!(store.open(OpenTarget::New).now_or_never().is_none());
    let (_, open) = peer.expect::<corestore::Open>().await;
    assert_eq!(peer.expect::<hypercore::Close>().await.1.id, open.id);
}

#[tokio::test]
async fn conflicts_tell_the_length() {
    let (client, mut peer) = in_memory(plain()).await;
    let core = open_core(&client, &mut peer, 9).await;
    let (appended, ()) = tokio::join!(core.append(vec!["x".into()], Some(9)), async {
        let (id, _) = peer.expect::<hypercore::Append>().await;
        let mut out = bytes::BytesMut::new();
        let error = m::RpcError {
            message: "The core has 12 blocks".into(),
            code: Some("CONFLICT".into()),
            errno: None,
            details: Some("12".into()),
        };
        hyperspace_schema::frame::error(&mut out, 3, 2, id, &error);
        peer.raw(&out).await;
    });
    assert_eq!(appended, Err(CoreError::Conflict { length: 12 }));
}

#[tokio::test]
async fn reads_ahead_in_sequence_and_never_asks_twice() {
    let (client, mut peer) = in_memory(ClientOptions::default()).await;
    let core = open_core(&client, &mut peer, 1000).await;
    let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let server = tokio::spawn({
        let asked = asked.clone();
        async move {
            while let Some(frame) = peer.next().await {
                if frame.method != 1 {
                    continue;
                }
                let request = <m::GetRequest as prost::Message>::decode(frame.payload).unwrap();
                asked.lock().push(request);
                peer.reply::<hypercore::Get>(frame.id, &block(request.seq)).await;
            }
        }
    });
    for index in 0..1000 {
        assert_eq!(core.get(index, GetOptions::default()).await.unwrap(), format!("block {index}"));
    }
    let mut asked_for: Vec<u64> = asked.lock().iter().map(|request| request.seq).collect();
    // Read ahead is only what the server holds.
    assert!(asked.lock().iter().filter(|request| request.wait == Some(false)).count() > 900);
    asked_for.sort_unstable();
    assert_eq!(asked_for, (0..1000).collect::<Vec<_>>());
    assert_eq!(core.get_now(500).unwrap(), "block 500");
    drop((core, client));
    server.await.unwrap();
}

#[tokio::test]
async fn what_was_read_ahead_in_vain_is_asked_for_again() {
    let (client, mut peer) = in_memory(ClientOptions::default()).await;
    let core = open_core(&client, &mut peer, 100).await;
    tokio::spawn(async move {
        while let Some(frame) = peer.next().await {
            if frame.method != 1 {
                continue;
            }
            let request = <m::GetRequest as prost::Message>::decode(frame.payload).unwrap();
            if request.wait == Some(false) {
                peer.queue_error::<hypercore::Get>(frame.id, "Block not downloaded");
            } else {
                peer.queue::<hypercore::Get>(frame.id, &block(request.seq));
            }
            peer.flush().await;
        }
    });
    for index in 0..100 {
        assert_eq!(core.get(index, GetOptions::default()).await.unwrap(), format!("block {index}"));
    }
}

#[tokio::test]
async fn a_truncation_empties_the_cache() {
    let (client, mut peer) = in_memory(ClientOptions::default()).await;
    let core = open_core(&client, &mut peer, 10).await;
    let (got, ()) = tokio::join!(core.get(5, GetOptions::default()), async {
        let (id, _) = peer.expect::<hypercore::Get>().await;
        peer.reply::<hypercore::Get>(id, &block(5)).await;
    });
    assert_eq!(got.unwrap(), "block 5");
    assert!(core.get_now(5).is_some());
    let mut events = core.events();
    peer.queue_event::<hypercore::OnAppend>(&m::AppendEvent { id: 0, length: 5, byte_length: 50 });
    peer.queue_event::<hypercore::OnAppend>(&m::AppendEvent { id: 0, length: 6, byte_length: 60 });
    peer.flush().await;
    while core.length() != 6 {
        events.recv().await.unwrap();
    }
    assert_eq!(core.get_now(5), None);
    // An answer to a question from before the truncation is not kept either.
    let mut get = Box::pin(core.get(5, GetOptions::default()));
    assert!(get.as_mut().now_or_never().is_none());
    let (id, _) = peer.expect::<hypercore::Get>().await;
    peer.queue_event::<hypercore::OnAppend>(&m::AppendEvent { id: 0, length: 5, byte_length: 50 });
    peer.reply::<hypercore::Get>(id, &block(5)).await;
    get.await.unwrap();
    assert_eq!(core.get_now(5), None);
}

/// Calls one after the other over a real socket, with the server on another thread:
/// the callers come to read their own answers. Events between them must arrive too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rhythm_of_calls_and_events_between() {
    let listening = Listening::new();
    let (client, mut peer) = listening.connect(plain()).await;
    let core = open_core(&client, &mut peer, 1000).await;
    let mut events = core.events();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = peer.stream.into_std().unwrap();
        runtime.block_on(async move {
            let mut peer = common::Peer::new(tokio::net::UnixStream::from_std(stream).unwrap());
            let mut count = 0;
            while let Some(frame) = peer.next().await {
                if frame.method != 1 {
                    continue;
                }
                let request = <m::GetRequest as prost::Message>::decode(frame.payload).unwrap();
                peer.reply::<hypercore::Get>(frame.id, &block(request.seq)).await;
                count += 1;
                if count % 500 == 0 {
                    let length = 1000 + count;
                    let event = m::AppendEvent { id: 0, length, byte_length: length };
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    peer.queue_event::<hypercore::OnAppend>(&event);
                    peer.flush().await;
                }
            }
            count
        })
    });
    for round in 1..=4 {
        for index in 0..500 {
            assert_eq!(core.get(index, GetOptions::default()).await.unwrap(), format!("block {index}"));
        }
        let event = tokio::time::timeout(Duration::from_secs(2), events.recv()).await.expect("it comes soon");
        assert_eq!(
            event.unwrap(),
            CoreEvent::Append { length: 1000 + round * 500, byte_length: 1000 + round * 500 }
        );
    }
    drop((core, client));
    assert_eq!(server.join().unwrap(), 2000);
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

    /// Whatever a server sends, the client neither panics nor hangs.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), framed: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (client, mut peer) = in_memory(plain()).await;
            let core = open_core(&client, &mut peer, 10).await;
            let get = core.get(1, GetOptions::default());
            let (got, ()) = tokio::join!(get, async {
                peer.expect::<hypercore::Get>().await;
                if framed {
                    let mut frame = vec![0x80 | (bytes.len() as u8 & 0x7f), (bytes.len() >> 7) as u8];
                    frame.extend_from_slice(&bytes);
                    peer.raw(&frame).await;
                } else {
                    peer.raw(&bytes).await;
                }
                peer.stream.shutdown().await.unwrap();
            });
            // It may even be an answer.
            let _ = got;
            let after = core.has(1).await;
            assert!(matches!(after, Err(CoreError::Disconnected(_) | CoreError::Closed)), "{after:?}");
        });
    }
}
