//! Bytes as npm writes them, and bytes that nobody should write.

use crate::common::{in_memory, open_core, plain};
use hyperspace_api::{Appended, Core, CoreError, CoreEvent, Corestore, GetOptions, OpenTarget, Seek};
use hyperspace_client::NetworkConfig;
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore;
use proptest::prelude::*;
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

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
