//! Connections: back-pressure both ways, ends and errors, and what is left behind.
//!
//! Where the clock is paused, time passes only while nothing else can happen.

use bytes::Bytes;
use hyperswarm::protomux::{OpenError, SendError};
use hyperswarm::secret_stream::StreamError;
use hyperswarm::{Connection, ConnectionError, Event, KeyPair, Options};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// How much the byte stream holds between the two.
const WIRE: usize = 64 << 10;

async fn over(
    (left, right): (DuplexStream, DuplexStream),
    options: [Options; 2],
) -> (Connection, Connection) {
    let [ours, theirs] = options;
    let [alice, bob] = [1, 2].map(|seed| KeyPair::from_seed(&[seed; 32]));
    let (a, b) =
        tokio::join!(Connection::new(left, true, &alice, ours), Connection::new(right, false, &bob, theirs));
    (a.expect("it connects"), b.expect("it connects"))
}

async fn pair() -> (Connection, Connection) {
    over(tokio::io::duplex(WIRE), [Options::default(), Options::default()]).await
}

async fn ended(connection: &mut Connection) -> Option<ConnectionError> {
    while connection.next().await.is_some() {}
    assert!(connection.is_over());
    connection.error()
}

#[tokio::test]
async fn both_sides_know_the_same() {
    let (a, b) = pair().await;
    assert_eq!(a.handshake_hash(), b.handshake_hash());
    assert_eq!(a.remote_public_key(), KeyPair::from_seed(&[2; 32]).public_key());
    assert_eq!(b.remote_public_key(), a.public_key());
    assert!(a.is_initiator() && !b.is_initiator());
    assert!(a.round_trip().is_some() && b.round_trip().is_some());
}

#[tokio::test(start_paused = true)]
async fn senders_wait_for_a_receiver_that_does_not_read() {
    let (a, mut b) = pair().await;
    let channel = a.open("x", b"", "").expect("it opens");
    b.open("x", b"", "").expect("it opens");
    let block = Bytes::from(vec![7; 64 << 10]);
    let mut sent = 0u32;
    // Until nothing moves any more: what both sides hold, and the wire.
    while tokio::time::timeout(Duration::from_millis(200), a.ready()).await.is_ok() {
        a.send(channel, sent, block.clone()).expect("there is room");
        sent += 1;
        assert!(sent < 100, "nobody ever waits");
    }
    // A megabyte on each side, a write that was prepared, and a frame each that exceeds it.
    assert!(sent as usize * block.len() < 3 << 20, "{sent} blocks are under way");

    let waiting = a.ready();
    let reading = async {
        assert!(matches!(b.next().await, Some(Event::Opened { .. })));
        for expected in 0..sent {
            match b.next().await {
                Some(Event::Message { kind, payload, .. }) => {
                    assert_eq!((kind, payload), (expected, block.clone()))
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(waiting, reading);
}

#[tokio::test]
async fn whoever_does_not_wait_is_told_when_it_is_too_much() {
    let mut options = Options::default();
    options.limits.outgoing = 1 << 20;
    let (a, _b) = over(tokio::io::duplex(WIRE), [options.clone(), options]).await;
    let channel = a.open("x", b"", "").expect("it opens");
    let block = Bytes::from(vec![7; 64 << 10]);
    let mut sent = 0;
    let refused = loop {
        match a.send(channel, 0, block.clone()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused, sent), (SendError::Full, 16));
}

#[tokio::test(start_paused = true)]
async fn corked_messages_go_when_the_cork_does() {
    let (a, mut b) = pair().await;
    let channel = a.open("x", b"", "").expect("it opens");
    b.open("x", b"", "").expect("it opens");
    assert!(matches!(b.next().await, Some(Event::Opened { .. })));
    let cork = a.cork();
    for kind in 0..100 {
        a.send(channel, kind, "x").expect("there is room");
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), b.next()).await.is_err());
    drop(cork);
    for expected in 0..100 {
        assert!(matches!(b.next().await, Some(Event::Message { kind, .. }) if kind == expected));
    }
    // One that is forgotten does not outlive the connection.
    let _cork = a.cork();
    a.send(channel, 7, "last").expect("there is room");
    let sender = a.sender();
    let (closed, last) = tokio::join!(a.close(), b.next());
    closed.expect("it ends well");
    assert!(matches!(last, Some(Event::Message { kind: 7, .. })));
    assert_eq!(sender.send(channel, 0, "x"), Err(SendError::Ended));
    assert_eq!(sender.open("y", b"", ""), Err(OpenError::Ended));
}

#[tokio::test]
async fn what_was_sent_before_the_end_arrives() {
    let (a, mut b) = pair().await;
    let channel = a.open("x", b"", "").expect("it opens");
    b.open("x", b"", "").expect("it opens");
    for kind in 0..50 {
        a.send(channel, kind, vec![kind as u8; 50_000]).expect("there is room");
    }
    let closing = tokio::spawn(a.close());
    let mut received = 0;
    while let Some(event) = b.next().await {
        received += usize::from(matches!(event, Event::Message { .. }));
    }
    assert_eq!(received, 50);
    assert!(b.error().is_none());
    closing.await.expect("no panic").expect("it ends well");
}

#[tokio::test]
async fn an_owner_that_is_gone_ends_the_connection() {
    let (a, mut b) = pair().await;
    let sender = a.sender();
    let channel = a.open("x", b"", "").expect("it opens");
    drop(a);
    ended(&mut b).await;
    assert!(matches!(sender.closed().await, Err(ConnectionError::Dropped)));
    sender.ready().await;
    assert_eq!(sender.send(channel, 0, "x"), Err(SendError::Ended));
}

#[tokio::test]
async fn a_connection_can_be_given_up() {
    let (mut a, mut b) = pair().await;
    a.give_up("bad blocks");
    assert!(matches!(ended(&mut a).await, Some(ConnectionError::GivenUp(why)) if why == "bad blocks"));
    ended(&mut b).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_ends_is_not_waited_for() {
    let (a, b) = pair().await;
    let begun = tokio::time::Instant::now();
    // Nobody reads there: the end does not arrive.
    let channel = a.open("x", b"", "").expect("it opens");
    while !a.is_full() {
        a.send(channel, 0, vec![0; 64 << 10]).expect("there is room");
    }
    b.open("x", b"", "").expect("it opens");
    a.close().await.expect("given up quietly");
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn times_are_kept() {
    let mut mute = Options::default();
    mute.stream.keep_alive = None;
    let mut strict = Options::default();
    strict.stream.timeout = Some(Duration::from_secs(12));
    // Keep-alives every 5 s are enough.
    let (mut a, b) = over(tokio::io::duplex(WIRE), [strict.clone(), Options::default()]).await;
    assert!(tokio::time::timeout(Duration::from_secs(100), a.next()).await.is_err());
    drop((a, b));
    let (mut a, _b) = over(tokio::io::duplex(WIRE), [strict, mute]).await;
    let begun = tokio::time::Instant::now();
    let error = ended(&mut a).await;
    assert!(matches!(error, Some(ConnectionError::Stream(StreamError::TimedOut))), "{error:?}");
    assert_eq!(begun.elapsed().as_secs(), 12);

    // Somebody who connects, and says nothing.
    let (left, _right) = tokio::io::duplex(WIRE);
    let begun = tokio::time::Instant::now();
    let pair = KeyPair::from_seed(&[1; 32]);
    let error = Connection::new(left, false, &pair, Options::default()).await.expect_err("nobody is there");
    assert!(matches!(error, ConnectionError::Stream(StreamError::HandshakeTimedOut)), "{error:?}");
    assert_eq!(begun.elapsed().as_secs(), 20);
}

#[tokio::test]
async fn strangers_are_refused() {
    let pair = KeyPair::from_seed(&[1; 32]);
    for (said, expected) in [
        (&b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..], "a frame of"),
        (&[32, 0, 0][..], "the stream ended early"),
        (&[3, 0, 0, 1, 2, 3][..], "Noise handshake failed"),
    ] {
        let (left, mut right) = tokio::io::duplex(WIRE);
        right.write_all(said).await.expect("room");
        right.shutdown().await.expect("it ends");
        let error = Connection::new(left, false, &pair, Options::default()).await.expect_err("a stranger");
        assert!(error.to_string().starts_with(expected), "{said:?}: {error}");
    }
}

#[tokio::test]
async fn bytes_that_are_changed_under_way_end_the_connection() {
    let (left, near) = tokio::io::duplex(WIRE);
    let (far, right) = tokio::io::duplex(WIRE);
    // Somebody in the middle lets everything pass, but for the 300th byte from one side.
    let relay = async {
        let (mut near_read, mut near_write) = tokio::io::split(near);
        let (mut far_read, mut far_write) = tokio::io::split(far);
        let there = async {
            let mut passed = 0;
            let mut buffer = [0; 1000];
            while let Ok(count @ 1..) = near_read.read(&mut buffer).await {
                if (passed..passed + count).contains(&300) {
                    buffer[300 - passed] ^= 1;
                }
                passed += count;
                if far_write.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        };
        let back = async {
            // Ends with an error when one of them is gone.
            let _ = tokio::io::copy(&mut far_read, &mut near_write).await;
        };
        tokio::join!(there, back);
    };
    let relay = tokio::spawn(relay);
    let (a, mut b) = over((left, right), [Options::default(), Options::default()]).await;
    let channel = a.open("x", b"", "").expect("it opens");
    a.send(channel, 0, vec![0; 1000]).expect("there is room");
    let error = ended(&mut b).await;
    assert!(matches!(error, Some(ConnectionError::Stream(StreamError::InvalidMessage))), "{error:?}");
    drop((a, b));
    relay.await.expect("no panic");
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_is_given_up() {
    use hyperswarm::noise::{Handshake, Pattern};
    use hyperswarm::secret_stream::{Config, SecretStream};
    let (left, mut right) = tokio::io::duplex(WIRE);
    let [alice, bob] = [1, 2].map(|seed| KeyPair::from_seed(&[seed; 32]));
    let peer = tokio::spawn(async move {
        let handshake = Handshake::initiator(Pattern::Xx, &alice, b"").expect("it starts");
        let now = std::time::Instant::now();
        let mut stream = SecretStream::new(handshake, Config::default(), now).expect("it starts");
        while !stream.can_send() {
            right.write_all_buf(stream.outgoing()).await.expect("it is written");
            right.read_buf(stream.read_buffer()).await.expect("it is read");
            stream.poll().expect("all is well");
        }
        // A reject of what was never opened.
        stream.send(now, &[0, 2, 5]).expect("it sends");
        right.write_all_buf(stream.outgoing()).await.expect("it is written");
        let mut rest = Vec::new();
        right.read_to_end(&mut rest).await.expect("it ends");
    });
    let mut connection = Connection::new(left, false, &bob, Options::default()).await.expect("it connects");
    let error = ended(&mut connection).await.expect("an error");
    assert_eq!(error.to_string(), "Invalid reject message");
    peer.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_waits_hears_of_what_somebody_else_opened_for_him() {
    let (a, mut b) = pair().await;
    b.pair("x", None);
    let channel = a.open("x", b"1", "hello").expect("it opens");
    a.send(channel, 0, "first").expect("there is room");
    assert!(matches!(b.next().await, Some(Event::Requested { .. })));
    let elsewhere = b.sender();
    let opening = async {
        // Only once the owner waits.
        tokio::time::sleep(Duration::from_secs(1)).await;
        elsewhere.open("x", b"1", "come in").expect("it opens")
    };
    let hearing = tokio::time::timeout(Duration::from_secs(3), async { (b.next().await, b.next().await) });
    let (opened, heard) = tokio::join!(opening, hearing);
    let (first, second) = heard.expect("no further frame has to come for that");
    assert_eq!(first, Some(Event::Opened { channel: opened, handshake: "hello".into() }));
    assert_eq!(second, Some(Event::Message { channel: opened, kind: 0, payload: "first".into() }));
}

#[tokio::test]
async fn what_goes_over_it_is_counted() {
    let (mut left, right) = pair().await;
    left.pair("bulk", None);
    let channel = right.open("bulk", b"", "").expect("it opens");
    right.send(channel, 0, vec![7; 100_000]).expect("it opens");
    loop {
        match left.next().await.expect("it is open") {
            Event::Requested { protocol, id, .. } => drop(left.open(&protocol, &id, "").expect("it opens")),
            Event::Message { payload, .. } => break assert_eq!(payload.len(), 100_000),
            _ => {}
        }
    }
    let (sent, received) = (right.traffic().sent, left.traffic().received);
    assert!((100_000..110_000).contains(&sent), "{sent}");
    assert!((100_000..=sent).contains(&received), "{received} of {sent}");
    assert!(left.traffic().sent < 10_000);
}
