//! Real sockets on loopback.

use hyperswarm::udx::{Config, NumberTaken, Udx, UdxStream};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("in time")
}

/// Two streams of two instances, that are connected.
fn pair(here: SocketAddr, there: SocketAddr) -> [UdxStream; 2] {
    let udx = [Udx::new(), Udx::new()];
    let here = udx[0].bind(here).expect("a socket").0;
    let there = udx[1].bind(there).expect("a socket").0;
    let streams = [&udx[0], &udx[1]].map(|udx| udx.stream(Config::default()).expect("random numbers"));
    streams[0].connect(&here, streams[1].id(), there.local_addr());
    streams[1].connect(&there, streams[0].id(), here.local_addr());
    streams
}

async fn much(mut from: UdxStream, mut to: UdxStream, total: usize) {
    let writing = async {
        let chunk: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
        let mut left = total;
        while left > 0 {
            let size = left.min(chunk.len());
            from.write_all(&chunk[..size]).await.expect("it goes");
            left -= size;
        }
        from.shutdown().await.expect("it ends");
        from.acknowledged().await.expect("it arrives");
    };
    let reading = async {
        let mut buffer = vec![0; 200_000];
        let mut received = 0;
        loop {
            let count = to.read(&mut buffer).await.expect("it comes");
            if count == 0 {
                return received;
            }
            for read in &buffer[..count] {
                assert_eq!(*read, (received % 100_000 % 251) as u8);
                received += 1;
            }
        }
    };
    let ((), received) = soon(async { tokio::join!(writing, reading) }).await;
    assert_eq!(received, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_over_ipv4() {
    let [from, to] = pair(loopback(), loopback());
    much(from, to, 32 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn much_over_ipv6() {
    let address = "[::1]:0".parse().expect("an address");
    let [from, to] = pair(address, address);
    much(from, to, 8 << 20).await;
}

#[tokio::test]
async fn on_one_thread() {
    let [from, to] = pair(loopback(), loopback());
    much(from, to, 8 << 20).await;
}

#[tokio::test]
async fn others_share_the_socket() {
    let udx = Udx::new();
    let (both, mut datagrams) = udx.bind("[::]:0".parse().expect("an address")).expect("a socket");
    let (socket, mut back) = udx.bind(loopback()).expect("a socket");
    let to = SocketAddr::new([127, 0, 0, 1].into(), both.local_addr().port());
    socket.send_to(b"hello", to).await.expect("it goes");
    socket.send_to_with_ttl(b"near", to, 1).await.expect("it goes");
    socket.send_to(b"", to).await.expect("it goes");
    for expected in [&b"hello"[..], b"near", b""] {
        let (datagram, from) = soon(datagrams.recv()).await.expect("it is open");
        assert_eq!((&datagram[..], from), (expected, socket.local_addr()));
        both.send_to(&datagram, from).await.expect("it goes");
        assert_eq!(soon(back.recv()).await.expect("it is open"), (datagram, to));
    }
    // One that looks like a packet, of a stream that is not there.
    let packet = [&[255, 1, 0, 0, 9][..], &[0; 15]].concat();
    socket.send_to(&packet, to).await.expect("it goes");
    assert_eq!(soon(datagrams.recv()).await.expect("it is open").0, packet);
}

#[tokio::test]
async fn a_stream_needs_to_be_connected_and_its_number_to_be_free() {
    let udx = Udx::new();
    let mut stream = udx.stream_with_id(5, Config::default()).expect("it is free");
    assert_eq!(udx.stream_with_id(5, Config::default()).expect_err("it is not"), NumberTaken(5));
    assert_eq!(stream.write(b"x").await.expect_err("nobody is there").kind(), ErrorKind::NotConnected);
    stream.destroy();
    let error = stream.write(b"x").await.expect_err("it is given up");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    drop(stream);
    assert_eq!(udx.streams(), 0);
    udx.stream_with_id(5, Config::default()).expect("it is free again");
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_given_up_and_one_that_was_shut_down_is_not() {
    let [mut from, mut to] = pair(loopback(), loopback());
    from.write_all(b"x").await.expect("it goes");
    soon(to.read_exact(&mut [0])).await.expect("it comes");
    drop(from);
    assert_eq!(soon(to.read(&mut [0])).await.expect_err("it is over").kind(), ErrorKind::ConnectionReset);

    let [mut from, mut to] = pair(loopback(), loopback());
    from.write_all(&[7; 200_000]).await.expect("it goes");
    from.shutdown().await.expect("it ends");
    drop(from);
    let mut all = Vec::new();
    soon(to.read_to_end(&mut all)).await.expect("it all comes");
    assert_eq!(all.len(), 200_000);
    to.shutdown().await.expect("it ends");
    soon(to.closed()).await.expect("both have ended");
}

#[tokio::test]
async fn a_socket_lives_as_long_as_anybody_needs_it() {
    let udx = Udx::new();
    let (socket, mut datagrams) = udx.bind(loopback()).expect("a socket");
    let address = socket.local_addr();
    let stream = udx.stream(Config::default()).expect("random numbers");
    stream.connect(&socket, 1, address);
    drop(socket);
    assert!(tokio::time::timeout(Duration::from_millis(100), datagrams.recv()).await.is_err());
    assert!(std::net::UdpSocket::bind(address).is_err(), "it is still bound");
    drop(stream);
    assert_eq!(soon(datagrams.recv()).await, None);
    std::net::UdpSocket::bind(address).expect("it is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_a_socket() {
    let udx = [Udx::new(), Udx::new()];
    let sockets = [&udx[0], &udx[1]].map(|udx| udx.bind(loopback()).expect("a socket").0);
    let mut tasks = Vec::new();
    for number in 0..200u32 {
        let streams =
            [&udx[0], &udx[1]].map(|udx| udx.stream_with_id(number, Config::default()).expect("it is free"));
        streams[0].connect(&sockets[0], number, sockets[1].local_addr());
        streams[1].connect(&sockets[1], number, sockets[0].local_addr());
        let [from, to] = streams;
        tasks.push(tokio::spawn(much(from, to, 100_000)));
    }
    for task in tasks {
        task.await.expect("it goes well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_all_streams_are_given_up_and_nothing_more_is_sent() {
    let (udx, other) = (Udx::new(), Udx::new());
    let (here, _) = udx.bind(loopback()).expect("a socket");
    let (there, mut datagrams) = other.bind(loopback()).expect("a socket");
    let connected = || {
        let [a, b] = [&udx, &other].map(|udx| udx.stream(Config::default()).expect("random numbers"));
        a.connect(&here, b.id(), there.local_addr());
        b.connect(&there, a.id(), here.local_addr());
        [a, b]
    };
    // In the midst of a lot.
    let mut streams: Vec<_> = (0..20).map(|_| connected()).collect();
    for [a, _] in &mut streams {
        let written = a.write(&[7; 4 << 20]).await.expect("it goes");
        assert!(written > 0);
    }
    soon(udx.suspend()).await;
    let sent = udx.sent();
    for [a, b] in &mut streams {
        assert_eq!(a.write(b"more").await.expect_err("it is over").kind(), ErrorKind::ConnectionAborted);
        // Its peer has been told, though.
        let end = soon(b.closed()).await;
        assert!(end.is_err(), "{end:?}");
    }
    let failed = here.send_to(b"hello", there.local_addr()).await.expect_err("nobody speaks");
    assert_eq!(failed.kind(), ErrorKind::NetworkDown);
    let [mut late, mut late_peer] = connected();
    late.write_all(b"later").await.expect("it waits");
    late_peer.write_all(b"now").await.expect("it goes");
    // It is sent again and again: in vain.
    let again = async {
        while late_peer.stats().is_some_and(|stats| stats.packets.0 < 3) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(again).await;
    assert_eq!(udx.sent(), sent);

    udx.resume();
    let mut read = [0; 5];
    soon(late_peer.read_exact(&mut read)).await.expect("it comes");
    assert_eq!(&read, b"later");
    soon(late.read_exact(&mut read[..3])).await.expect("it comes");
    here.send_to(b"hello", there.local_addr()).await.expect("it goes");
    let (heard, from) = soon(datagrams.recv()).await.expect("it comes");
    assert_eq!((&heard[..], from), (&b"hello"[..], here.local_addr()));
}

/// Whoever gets through a firewall has just opened the socket for it.
#[tokio::test]
async fn a_datagram_can_leave_as_soon_as_a_socket_is_there() {
    let (udx, other) = (Udx::new(), Udx::new());
    let (there, mut datagrams) = other.bind(loopback()).expect("a socket");
    for ttl in [None, Some(5)] {
        let (here, _) = udx.bind(loopback()).expect("a socket");
        // Nothing has been waited for.
        here.try_send_to(b"first", there.local_addr(), ttl).expect("there is room");
        let (heard, from) = soon(datagrams.recv()).await.expect("it comes");
        assert_eq!((&heard[..], from), (&b"first"[..], here.local_addr()));
    }
}
