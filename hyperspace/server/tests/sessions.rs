//! What sessions owe each other: order of events, locks, releases, back-pressure.

mod support;

use ::hyperspace::Limits;
use bytes::{Bytes, BytesMut};
use hyperspace_schema::frame;
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{Event, corestore, hypercore, hyperspace, network};
use std::time::Duration;
use support::*;
use tokio::time::timeout;

fn lock(id: u64) -> LockRequest {
    LockRequest { id }
}

fn grown(id: u64, length: u64, byte_length: u64) -> Event {
    Event::OnAppend(AppendEvent { id, length, byte_length })
}

fn lengths(events: &[Event]) -> Vec<u64> {
    let length = |event: &Event| match event {
        Event::OnAppend(event) => event.length,
        other => panic!("{other:?}"),
    };
    events.iter().map(length).collect()
}

#[tokio::test]
async fn events_come_before_the_reply_that_they_belong_to() {
    let server = server().await;
    let mut a = server.client().await;
    let key = a.open(0, "log").await.key;
    // `answer` puts what came first in `events`, and nothing comes later.
    assert_eq!(a.events, [Event::OnFeed(FeedEvent { key: key.clone() })]);
    a.events.clear();
    a.open(1, "log").await;
    a.open_key(2, &key).await;
    assert!(a.events.is_empty(), "a session hears of a core once");

    let mut b = server.client().await;
    b.open_key(7, &key).await;
    assert_eq!(b.events.drain(..).len(), 1);
    a.append(1, b"abc").await;
    assert_eq!(a.events.drain(..).collect::<Vec<_>>(), [grown(0, 1, 3), grown(1, 1, 3), grown(2, 1, 3)]);
    // B was told before A had its reply, so whatever B asks now is answered later.
    assert_eq!(b.events().await, [grown(7, 1, 3)]);

    // An append of nothing is no growth; closed handles hear nothing.
    let nothing = AppendRequest { id: 0, blocks: vec![], expected_length: None };
    assert_eq!(a.call::<hypercore::Append>(&nothing).await.unwrap().length, 1);
    a.call::<hypercore::Close>(&CloseRequest { id: 1 }).await.unwrap();
    a.append(0, b"").await;
    assert_eq!(a.events.drain(..).collect::<Vec<_>>(), [grown(0, 2, 3), grown(2, 2, 3)]);
}

#[tokio::test]
async fn only_those_who_opened_a_core_hear_of_it() {
    let server = server().await;
    let (mut a, mut b) = (server.client().await, server.client().await);
    a.open(0, "private").await;
    a.append(0, b"secret").await;
    assert!(b.events().await.is_empty());
}

#[tokio::test]
async fn requests_start_in_order_even_while_their_core_opens() {
    let server = server().await;
    let mut c = server.client().await;
    let mut wire = BytesMut::new();
    let open = OpenRequest { id: 3, key: None, name: Some("new".into()), weak: None };
    frame::request::<corestore::Open>(&mut wire, 1, &open);
    for i in 0..10u8 {
        frame::request::<hypercore::Append>(&mut wire, 2 + u64::from(i), &append(3, &[i]));
    }
    frame::request::<hypercore::Get>(&mut wire, 20, &get(3, 9, 0));
    frame::request::<hypercore::Close>(&mut wire, 21, &CloseRequest { id: 3 });
    frame::request::<hypercore::Append>(&mut wire, 22, &append(3, b"late"));
    c.send(&wire).await;
    c.answer::<corestore::Open>(1).await.unwrap();
    for i in 0..10 {
        assert_eq!(c.answer::<hypercore::Append>(2 + i).await.unwrap().seq, i);
    }
    assert_eq!(c.answer::<hypercore::Get>(20).await.unwrap().block.unwrap(), [9][..]);
    c.answer::<hypercore::Close>(21).await.unwrap();
    assert_eq!(c.answer::<hypercore::Append>(22).await.unwrap_err().message, "Invalid hypercore: 3");
}

#[tokio::test]
async fn a_failed_open_leaves_its_id_free() {
    let server = server().await;
    let mut c = server.client().await;
    let bad = OpenRequest { id: 0, key: Some(vec![1; 5].into()), name: None, weak: None };
    c.failure::<corestore::Open>(&bad).await;
    let too_long = OpenRequest { id: 0, key: None, name: Some("n".repeat(100_000)), weak: None };
    c.failure::<corestore::Open>(&too_long).await;
    c.open(0, "good").await;
}

#[tokio::test]
async fn key_before_name_before_a_new_core() {
    let server = server().await;
    let mut c = server.client().await;
    let named = c.open(0, "n").await.key;
    let both = OpenRequest { id: 1, key: Some(named.clone()), name: Some("other".into()), weak: None };
    assert_eq!(c.call::<corestore::Open>(&both).await.unwrap().key, named);
    let neither = |id| OpenRequest { id, key: None, name: Some(String::new()), weak: None };
    let new = c.call::<corestore::Open>(&neither(2)).await.unwrap();
    let newer = c.call::<corestore::Open>(&neither(3)).await.unwrap();
    assert!(new.writable && new.key != newer.key && new.key != named);
}

#[tokio::test]
async fn a_conflict_tells_the_length() {
    let server = server().await;
    let mut c = server.client().await;
    c.open(0, "log").await;
    let expecting = |length| AppendRequest { expected_length: Some(length), ..append(0, b"x") };
    c.call::<hypercore::Append>(&expecting(0)).await.unwrap();
    let error = c.call::<hypercore::Append>(&expecting(0)).await.unwrap_err();
    assert_eq!((error.code.as_deref(), error.details.as_deref()), (Some("CONFLICT"), Some("1")));
    assert_eq!(c.call::<hypercore::Append>(&expecting(1)).await.unwrap().length, 2);
}

#[tokio::test]
async fn locks_are_passed_on() {
    let server = server().await;
    let (mut a, mut b, mut c) = (server.client().await, server.client().await, server.client().await);
    for client in [&mut a, &mut b, &mut c] {
        for (id, name) in [(0, "one"), (1, "two"), (2, "three")] {
            client.open(id, name).await;
        }
    }
    // Several at once.
    for id in 0..3 {
        a.call::<hypercore::AcquireLock>(&lock(id)).await.unwrap();
    }
    assert_eq!(b.failure::<hypercore::ReleaseLock>(&lock(0)).await, "Core is not locked by you");
    let b_waits = b.ask::<hypercore::AcquireLock>(&lock(0)).await;
    // An answer to a later request: B is in the queue before C.
    b.events().await;
    let c_waits = c.ask::<hypercore::AcquireLock>(&lock(0)).await;
    let c_too = c.ask::<hypercore::AcquireLock>(&lock(1)).await;
    // Nobody who waits keeps anybody else from anything, the lock's appends included.
    c.append(0, b"locks do not gate appends").await;
    // Released; by close; by disconnect.
    a.call::<hypercore::ReleaseLock>(&lock(0)).await.unwrap();
    b.answer::<hypercore::AcquireLock>(b_waits).await.unwrap();
    a.call::<hypercore::Close>(&CloseRequest { id: 1 }).await.unwrap();
    c.answer::<hypercore::AcquireLock>(c_too).await.unwrap();
    drop(b);
    c.answer::<hypercore::AcquireLock>(c_waits).await.unwrap();
    assert_eq!(a.failure::<hypercore::ReleaseLock>(&lock(0)).await, "Core is not locked by you");
    drop(a);
    c.call::<hypercore::AcquireLock>(&lock(2)).await.unwrap();
    for id in 0..3 {
        c.call::<hypercore::ReleaseLock>(&lock(id)).await.unwrap();
    }
    assert_eq!(c.failure::<hypercore::ReleaseLock>(&lock(2)).await, "Core is not locked");
}

#[tokio::test]
async fn a_close_ends_what_waits_on_that_handle_and_nothing_else() {
    let server = server().await;
    let (mut a, mut other) = (server.client().await, server.client().await);
    let key = a.open(0, "log").await.key;
    a.open(1, "log").await;
    other.open_key(0, &key).await;
    other.call::<hypercore::AcquireLock>(&lock(0)).await.unwrap();
    let gets = [
        a.ask::<hypercore::Get>(&patient_get(0, 5, 1)).await,
        a.ask::<hypercore::Get>(&patient_get(1, 5, 2)).await,
    ];
    let waits = a.ask::<hypercore::AcquireLock>(&lock(0)).await;
    let end = DownloadRequest {
        id: 0,
        resource_id: 3,
        start: Some(0),
        end: Some(9),
        blocks: vec![],
        linear: None,
        live: None,
    };
    let download = a.ask::<hypercore::Download>(&end).await;
    let register = RegisterExtensionRequest { id: 0, resource_id: 4, name: "x".into() };
    a.call::<hypercore::RegisterExtension>(&register).await.unwrap();
    let close = a.ask::<hypercore::Close>(&CloseRequest { id: 0 }).await;
    let mut ended = std::collections::HashMap::new();
    for _ in 0..4 {
        let answer = a.frame().await.unwrap();
        let error = (answer.kind == frame::Kind::Error)
            .then(|| <RpcError as prost::Message>::decode(answer.payload).unwrap());
        ended.insert(answer.id, error);
    }
    assert_eq!(ended[&close], None);
    let message = |id: u64| ended[&id].as_ref().unwrap().message.clone();
    assert_eq!(message(gets[0]), "Request cancelled");
    assert_eq!(message(waits), "Request cancelled");
    assert_eq!(message(download), "Download was cancelled");
    let error = ended[&download].as_ref().unwrap();
    assert_eq!((error.code.as_deref(), error.errno), (Some("ECANCELED"), Some(-11)));

    // Their resource ids are free again, that of the other handle's get is not.
    let again = RegisterExtensionRequest { id: 1, ..register };
    for resource_id in [1, 3, 4] {
        a.call::<hypercore::RegisterExtension>(&RegisterExtensionRequest { resource_id, ..again.clone() })
            .await
            .unwrap();
    }
    let taken = RegisterExtensionRequest { resource_id: 2, ..again };
    assert_eq!(a.failure::<hypercore::RegisterExtension>(&taken).await, "Resource already exists: 2");
    for _ in 0..6 {
        other.append(0, b"x").await;
    }
    a.events.clear();
    assert_eq!(a.answer::<hypercore::Get>(gets[1]).await.unwrap().block.unwrap(), "x");
}

#[tokio::test]
async fn cancelling() {
    let server = server().await;
    let mut c = server.client().await;
    c.open(0, "log").await;
    c.append(0, b"here").await;
    let waiting = GetRequest { on_wait_id: Some(77), ..patient_get(0, 3, 1) };
    let get_id = c.ask::<hypercore::Get>(&waiting).await;
    assert!(c.events().await.contains(&Event::OnWait(WaitEvent { id: 0, on_wait_id: 77, seq: 3 })));
    assert_eq!(c.failure::<hypercore::Get>(&patient_get(0, 4, 1)).await, "Resource already exists: 1");
    let mut wire = BytesMut::new();
    let cancel = CancelRequest { id: 0, resource_id: 1 };
    frame::request::<hypercore::Cancel>(&mut wire, 0, &cancel);
    c.send(&wire).await;
    assert_eq!(c.answer::<hypercore::Get>(get_id).await.unwrap_err().message, "Request cancelled");
    // Over: its id can be used again, and cancelled in vain.
    let local = GetRequest { on_wait_id: Some(78), ..get(0, 0, 1) };
    assert_eq!(c.call::<hypercore::Get>(&local).await.unwrap().block.unwrap(), "here");
    c.call::<hypercore::Cancel>(&cancel).await.unwrap();
    assert!(c.events().await.is_empty(), "a block that is here is not waited for");
    assert_eq!(c.failure::<hypercore::Get>(&get(0, 3, 1)).await, "Block not available from peers");
}

#[tokio::test]
async fn downloads() {
    let server = server().await;
    let mut c = server.client().await;
    c.open(0, "log").await;
    for _ in 0..4 {
        c.append(0, b"x").await;
    }
    let range = |start, end, blocks: &[u64], live| DownloadRequest {
        id: 0,
        resource_id: 1,
        start,
        end,
        blocks: blocks.to_vec(),
        linear: None,
        live,
    };
    c.call::<hypercore::Download>(&range(Some(0), Some(4), &[], None)).await.unwrap();
    c.call::<hypercore::Download>(&range(Some(0), Some(4), &[3, 1], Some(false))).await.unwrap();
    for for_ever in [
        range(None, None, &[], None),
        range(Some(1), Some(0), &[], None),
        range(Some(0), Some(4), &[], Some(true)),
    ] {
        let id = c.ask::<hypercore::Download>(&for_ever).await;
        // Answered in order, were it answered at all.
        c.events().await;
        c.call::<hypercore::Undownload>(&UndownloadRequest { id: 0, resource_id: 1 })
            .await
            .unwrap_or_else(|e| panic!("{e:?}"));
        let error = c.answer::<hypercore::Download>(id).await.unwrap_err();
        assert_eq!(error.message, "Download was cancelled");
    }
    let later = c.ask::<hypercore::Download>(&range(Some(4), Some(6), &[], None)).await;
    for _ in 0..2 {
        c.append(0, b"x").await;
    }
    c.answer::<hypercore::Download>(later).await.unwrap();
    let count = DownloadedRequest { id: 0, start: None, end: None };
    assert_eq!(c.call::<hypercore::Downloaded>(&count).await.unwrap().bytes, 6);
    let count = DownloadedRequest { start: Some(2), end: Some(5), ..count };
    assert_eq!(c.call::<hypercore::Downloaded>(&count).await.unwrap().bytes, 3);
}

#[tokio::test]
async fn clear_info_flush_and_update() {
    let server = server().await;
    let mut c = server.client().await;
    c.open(0, "log").await;
    for _ in 0..3 {
        c.append(0, b"abc").await;
    }
    c.call::<hypercore::Flush>(&FlushRequest { id: 0 }).await.unwrap();
    c.call::<hypercore::Clear>(&ClearRequest { id: 0, start: 1, end: 2 }).await.unwrap();
    let info = c.call::<hypercore::Info>(&InfoRequest { id: 0 }).await.unwrap();
    assert_eq!((info.length, info.byte_length, info.fork, info.contiguous_length), (3, 9, 0, 1));
    assert!(!c.call::<hypercore::Has>(&HasRequest { id: 0, seq: 1 }).await.unwrap().has);

    let update = |min_length| UpdateRequest { id: 0, min_length, if_available: None, hash: None };
    c.call::<hypercore::Update>(&update(Some(3))).await.unwrap();
    assert_eq!(c.failure::<hypercore::Update>(&update(Some(4))).await, "No update available from peers");
    assert_eq!(c.failure::<hypercore::Update>(&update(None)).await, "No update available from peers");
    let waiting = UpdateRequest { if_available: Some(false), ..update(Some(5)) };
    let id = c.ask::<hypercore::Update>(&waiting).await;
    c.append(0, b"4").await;
    c.append(0, b"5").await;
    c.answer::<hypercore::Update>(id).await.unwrap();
}

#[tokio::test]
async fn weak_handles_lose_their_core() {
    let server = server().await;
    let (mut strong, mut weak) = (server.client().await, server.client().await);
    let key = strong.open(0, "log").await.key;
    strong.append(0, b"x").await;
    let open = OpenRequest { id: 5, key: Some(key.clone()), name: None, weak: Some(true) };
    weak.call::<corestore::Open>(&open).await.unwrap();
    assert_eq!(weak.call::<hypercore::Get>(&get(5, 0, 0)).await.unwrap().block.unwrap(), "x");
    weak.events.clear();
    // 64 weakly opened cores later, only the strong handle holds it.
    for id in 100..164 {
        let other = OpenRequest { id, key: None, name: Some(format!("other {id}")), weak: Some(true) };
        weak.call::<corestore::Open>(&other).await.unwrap();
        weak.call::<hypercore::Close>(&CloseRequest { id }).await.unwrap();
    }
    assert!(!weak.events().await.contains(&Event::OnClose(CloseEvent { id: 5 })));
    weak.call::<hypercore::Has>(&HasRequest { id: 5, seq: 0 }).await.unwrap();
    strong.call::<hypercore::Close>(&CloseRequest { id: 0 }).await.unwrap();
    assert_eq!(weak.events().await, [Event::OnClose(CloseEvent { id: 5 })]);
    assert_eq!(weak.failure::<hypercore::Has>(&HasRequest { id: 5, seq: 0 }).await, "Feed is closed");
    weak.call::<hypercore::Close>(&CloseRequest { id: 5 }).await.unwrap();
    assert_eq!(weak.open_key(5, &key).await.length, 1);
}

#[tokio::test]
async fn an_append_without_reply_outlives_its_client() {
    let server = server().await;
    let mut reader = server.client().await;
    reader.open(0, "log").await;
    let mut c = server.client().await;
    c.open(0, "log").await;
    let mut wire = BytesMut::new();
    for _ in 0..100 {
        frame::request::<hypercore::Append>(&mut wire, 0, &append(0, &[1; 10_000]));
    }
    c.send(&wire).await;
    drop(c);
    loop {
        if let Event::OnAppend(AppendEvent { length: 100, .. }) = reader.event().await {
            break;
        }
    }
}

/// A client that sends without reading is not read from, for as long as it does not.
#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from() {
    let server = server().await;
    let mut c = server.client().await;
    c.open(0, "log").await;
    c.append(0, &vec![7; 100_000]).await;
    let mut wire = BytesMut::new();
    let total: u64 = 4000;
    for id in 1000..1000 + total {
        frame::request::<hypercore::Get>(&mut wire, id, &get(0, 0, 0));
    }
    // 400 MB of replies are asked for, in 40 KB.
    let (mut reading, mut writing) = c.stream.into_split();
    let sending = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut writing, &wire).await.unwrap();
        writing
    });
    let mut healthy = server.client().await;
    healthy.open(0, "log").await;
    for _ in 0..50 {
        assert_eq!(
            healthy.call::<hypercore::Get>(&get(0, 0, 0)).await.unwrap().block.unwrap().len(),
            100_000
        );
    }
    // What the server holds for it: the bound, one reply and the kernel's buffers. What
    // it has not read shows in that sending may not have ended; reading ends it.
    let mut got = 0u64;
    let mut input = BytesMut::new();
    let decoder = frame::Decoder::default();
    while got < total {
        let n = timeout(PATIENCE, tokio::io::AsyncReadExt::read_buf(&mut reading, &mut input))
            .await
            .unwrap()
            .unwrap();
        assert_ne!(n, 0, "closed after {got}");
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            assert_eq!(frame.id, 1000 + got, "in order");
            got += 1;
        }
    }
    sending.await.unwrap();
}

/// Appends to a core are told to a client that reads nothing as the latest length.
#[tokio::test]
async fn events_for_a_slow_client_are_coalesced() {
    let server = server().await;
    let mut slow = server.client().await;
    slow.open(0, "log").await;
    slow.append(0, &vec![7; 1 << 20]).await;
    // Fills every buffer between the server and this client.
    for _ in 0..8 {
        slow.ask::<hypercore::Get>(&get(0, 0, 0)).await;
    }
    slow.events.clear();
    let mut writer = server.client().await;
    writer.open(0, "log").await;
    for _ in 0..20_000 {
        writer.ask::<hypercore::Append>(&append(0, b"x")).await;
        writer.frame().await;
        writer.frame().await;
    }
    let mut told = Vec::new();
    for id in 3..11 {
        slow.answer::<hypercore::Get>(id).await.unwrap();
    }
    told.extend(slow.events().await);
    assert!(told.len() < 1000, "{}", told.len());
    assert_eq!(told.last(), Some(&grown(0, 20_001, (1 << 20) + 20_000)));
}

/// A truncation is told even to a client that reads nothing while the core grows again,
/// and before the reply to an append that came after it.
#[tokio::test]
async fn truncations_are_told_in_their_order() {
    let store = ::hypercore::Corestore::memory().unwrap();
    let log = store.open_name("log").unwrap();
    let server = hyperspace_server(store).await;
    let folder = tempfile::tempdir().unwrap();
    let endpoint = ::hyperspace::Endpoint::Unix(folder.path().join("s.sock"));
    let listener = ::hyperspace::listen::Listener::bind(endpoint).await.unwrap();
    let accepting = server.clone();
    tokio::spawn(async move { accepting.accept(&listener).await });
    let socket = folder.path().join("s.sock");
    let (mut writer, mut slow) = (Client::connect(&socket).await, Client::connect(&socket).await);
    writer.open(0, "log").await;
    slow.open(0, "log").await;
    writer.append(0, &vec![7; 1 << 20]).await;
    for _ in 0..8 {
        slow.ask::<hypercore::Get>(&get(0, 0, 0)).await;
    }
    writer.append(0, b"a").await;
    writer.append(0, b"b").await;
    writer.append(0, b"c").await;
    writer.events.clear();
    slow.events.clear();

    let long = 1 << 20;
    for _ in 0..500 {
        log.truncate(2, None).unwrap();
        let appended = writer.append(0, b"xy").await;
        assert_eq!((appended.length, appended.byte_length), (3, long + 3));
        let told: Vec<_> = writer.events.drain(..).collect();
        assert_eq!(lengths(&told), [2, 3]);
        assert_eq!(told[1], grown(0, 3, long + 3));
    }
    for id in 2..10 {
        slow.answer::<hypercore::Get>(id).await.unwrap();
    }
    let told = slow.events().await;
    let lengths = lengths(&told);
    assert!(told.len() < 100, "{lengths:?}");
    let cut = lengths.windows(2).any(|pair| pair[1] == 2 && pair[1] < pair[0]);
    assert!(cut, "{lengths:?}");
    assert_eq!(told.last(), Some(&grown(0, 3, long + 3)));
    server.close().await.unwrap();
}

#[tokio::test]
async fn who_waits_too_often_is_refused_but_may_still_cancel() {
    let limits =
        Limits { waiting: 50, in_flight: 4, cores: 3, resources: 60, topics: 2, ..Limits::default() };
    let server = server_with(limits).await;
    let mut c = server.client().await;
    c.open(0, "log").await;
    let mut waiting = Vec::new();
    for i in 0..50 {
        waiting.push(c.ask::<hypercore::Get>(&patient_get(0, 10, 100 + i)).await);
    }
    let refused = c.failure::<hypercore::Get>(&patient_get(0, 10, 999)).await;
    assert_eq!(refused, "At most 50 requests can wait on one connection");
    for i in 0..50 {
        c.call::<hypercore::Cancel>(&CancelRequest { id: 0, resource_id: 149 - i })
            .await
            .unwrap_or_else(|e| panic!("{e:?}"));
        let id = waiting.pop().unwrap();
        assert_eq!(c.answer::<hypercore::Get>(id).await.unwrap_err().message, "Request cancelled");
    }
    c.open(1, "1").await;
    c.open(2, "2").await;
    let another = OpenRequest { id: 3, key: None, name: None, weak: None };
    assert_eq!(c.failure::<corestore::Open>(&another).await, "At most 3 cores can be open on one connection");
    c.call::<hypercore::Close>(&CloseRequest { id: 1 }).await.unwrap();
    c.call::<corestore::Open>(&another).await.unwrap();
    for resource_id in 0..60 {
        let register = RegisterExtensionRequest { id: 0, resource_id, name: "x".into() };
        c.call::<network::RegisterExtension>(&register).await.unwrap();
    }
    let register = RegisterExtensionRequest { id: 0, resource_id: 60, name: "x".into() };
    let refused = c.failure::<network::RegisterExtension>(&register).await;
    assert_eq!(refused, "At most 60 resources can exist on one connection");
    // More requests at once than may be in flight: they take their turns.
    let mut wire = BytesMut::new();
    for id in 5000..6000 {
        frame::request::<hypercore::Append>(&mut wire, id, &append(0, b"x"));
    }
    c.send(&wire).await;
    for id in 5000..6000 {
        c.answer::<hypercore::Append>(id).await.unwrap();
    }
}

#[tokio::test]
async fn stop_answers_and_ends_everything() {
    let server = server().await;
    let (mut a, mut b) = (server.client().await, server.client().await);
    b.events().await;
    a.call::<hyperspace::Stop>(&Void {}).await.unwrap();
    assert!(a.frame().await.is_none());
    assert!(b.frame().await.is_none());
    let mut running = server.running;
    timeout(Duration::from_secs(10), running.wait()).await.unwrap().unwrap();
    assert!(!server.socket.exists());
}

#[tokio::test]
async fn a_stream_in_this_process_is_served_as_well() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let store = ::hypercore::Corestore::memory().unwrap();
    let server = hyperspace_server(store).await;
    let (mut ours, theirs) = tokio::io::duplex(64);
    server.serve_stream(theirs);
    let mut wire = BytesMut::new();
    let open = OpenRequest { id: 0, key: None, name: Some("x".into()), weak: None };
    frame::request::<corestore::Open>(&mut wire, 1, &open);
    frame::request::<hypercore::Append>(&mut wire, 2, &append(0, &[1; 50_000]));
    frame::request::<hypercore::Get>(&mut wire, 3, &get(0, 0, 0));
    let (mut reading, mut writing) = tokio::io::split(&mut ours);
    let wrote = async { writing.write_all(&wire).await.unwrap() };
    let read = async {
        let (mut input, decoder) = (BytesMut::new(), frame::Decoder::default());
        loop {
            reading.read_buf(&mut input).await.unwrap();
            while let Some(frame) = decoder.next(&mut input).unwrap() {
                if frame.id == 3 {
                    return frame.payload;
                }
            }
        }
    };
    let (_, payload) = timeout(PATIENCE, async { tokio::join!(wrote, read) }).await.unwrap();
    assert_eq!(payload.len(), 50_000 + 4);
    server.close().await.unwrap();
    assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
}

/// Cores are let go of by close and by disconnect, so that the store may evict them.
#[tokio::test]
async fn nothing_is_left_of_a_session() {
    let server = hyperspace_server(::hypercore::Corestore::memory().unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s.sock");
    let endpoint = ::hyperspace::Endpoint::Unix(socket.clone());
    let listener = ::hyperspace::listen::Listener::bind(endpoint).await.unwrap();
    let accepting = server.clone();
    tokio::spawn(async move { accepting.accept(&listener).await });

    let (mut a, mut b) = (Client::connect(&socket).await, Client::connect(&socket).await);
    for id in 0..50 {
        a.open(id, &format!("core {id}")).await;
        b.open(id, &format!("core {id}")).await;
    }
    b.call::<hypercore::AcquireLock>(&lock(3)).await.unwrap();
    b.ask::<hypercore::Get>(&patient_get(1, 9, 1)).await;
    b.ask::<hypercore::Download>(&DownloadRequest { id: 2, resource_id: 2, ..Default::default() }).await;
    b.ask::<hypercore::AcquireLock>(&lock(3)).await;
    b.events().await;
    assert_eq!((server.open_cores(), server.sessions()), (50, 2));
    for id in 0..50 {
        a.call::<hypercore::Close>(&CloseRequest { id }).await.unwrap();
    }
    assert_eq!(server.open_cores(), 50);
    drop(b);
    let gone = async {
        while (server.open_cores(), server.sessions()) != (0, 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("something is kept");
    server.close().await.unwrap();
}

async fn hyperspace_server(store: ::hypercore::Corestore) -> ::hyperspace::Server<::hypercore::Corestore> {
    ::hyperspace::Server::new(store, ::hyperspace::Options::default()).await.unwrap()
}

#[tokio::test]
async fn blocks_of_every_size_come_back_whole() {
    let server = server().await;
    let mut c = server.client().await;
    c.open(0, "log").await;
    let sizes = [0, 1, 127, 128, 8191, 8192, 16_384, 65_536, 100_000, 1 << 20, 5 << 20];
    let blocks: Vec<_> = sizes.iter().map(|size| Bytes::from(vec![*size as u8; *size])).collect();
    let batch = AppendRequest { id: 0, blocks: blocks.clone(), expected_length: None };
    c.call::<hypercore::Append>(&batch).await.unwrap();
    let mut wire = BytesMut::new();
    for id in 0..sizes.len() as u64 {
        frame::request::<hypercore::Get>(&mut wire, 100 + id, &get(0, id, 0));
    }
    c.send(&wire).await;
    for (id, block) in blocks.iter().enumerate() {
        assert_eq!(&c.answer::<hypercore::Get>(100 + id as u64).await.unwrap().block.unwrap(), block);
    }
}
