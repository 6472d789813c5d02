//! Handles of cores, and the events that reach them.

use crate::common::{KEY, block, in_memory, open_core, opened, plain};
use futures::{FutureExt, StreamExt};
use hyperspace_api::{Core, CoreError, CoreEvent, Corestore, GetOptions, OpenTarget};
use hyperspace_client::{GetWith, NetworkEvent};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::{corestore, hypercore, network};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
