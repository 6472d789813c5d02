//! Calls one after the other, and events between them.

use crate::common::{Listening, block, open_core, plain};
use hyperspace_api::{Core, CoreEvent, GetOptions};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore;
use std::time::Duration;

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
            let mut peer = crate::common::Peer::new(tokio::net::UnixStream::from_std(stream).unwrap());
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
