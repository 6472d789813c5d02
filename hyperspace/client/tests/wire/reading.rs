//! What is read ahead, and what is kept.

use crate::common::{block, in_memory, open_core};
use futures::FutureExt;
use hyperspace_api::{Core, GetOptions};
use hyperspace_client::ClientOptions;
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore;
use std::sync::Arc;

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
