//! npm `udx-native` 1 at the other end of streams of ours.

use hyperspace_e2e::node;
use hyperspace_e2e::process::{PATIENCE, Process};
use hyperspace_e2e::scratch::Scratch;
use hyperswarm::udx::{Config, MessageError, Udx, UdxSocket, UdxStream, Verdict};
use hyperswarm::{Connection, Event, KeyPair, Options};
use serde_json::Value;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The number of the peer's stream.
const PEER: u32 = 7;

struct Peer {
    node: Process,
    address: SocketAddr,
    _scratch: Scratch,
}

impl Peer {
    /// Starts one that connects to stream `id` at `here`.
    fn start(mode: &str, here: SocketAddr, id: u32, bytes: usize) -> Self {
        let scratch = Scratch::new();
        let (port, id, bytes) = (here.port().to_string(), id.to_string(), bytes.to_string());
        let mut command = node::command(&scratch, &["net/udx-peer.js", mode, &port, &id, &bytes]);
        let node = Process::start(command.env("HOST", here.ip().to_string()));
        let line = node.wait_for_line("Listening on");
        let port: u16 = line.rsplit(' ').next().and_then(|port| port.trim().parse().ok()).expect("a port");
        Self { node, address: (here.ip(), port).into(), _scratch: scratch }
    }

    /// What it has said of an event.
    fn heard(&self, event: &str) -> Value {
        let line = self.node.wait_for_line(&format!("{{\"event\":\"{event}\""));
        serde_json::from_str(&line).expect("a line of JSON")
    }
}

/// A network between two addresses: 10 ms each way, and one of so many packets is lost.
/// `to` is one of them, whoever else speaks is the other.
async fn bad_network(socket: tokio::net::UdpSocket, to: SocketAddr, lose_one_of: u64) {
    let socket = std::sync::Arc::new(socket);
    let mut from = None;
    let mut buffer = vec![0; 2048];
    let mut random = 1u64;
    while let Ok((size, sender)) = socket.recv_from(&mut buffer).await {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if sender != to {
            from = Some(sender);
        }
        let receiver = if sender == to { from } else { Some(to) };
        let Some(receiver) = receiver else { continue };
        if (random >> 33).is_multiple_of(lose_one_of) {
            continue;
        }
        let (socket, datagram) = (std::sync::Arc::clone(&socket), buffer[..size].to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            // What does not go is lost, as much may be here.
            let _ = socket.send_to(&datagram, receiver).await;
        });
    }
}

/// A stream of ours, and a peer it is connected to.
struct Pair {
    udx: Udx,
    socket: UdxSocket,
    stream: UdxStream,
    peer: Peer,
}

fn connect(mode: &str, id: u32, bytes: usize, ip: &str) -> Pair {
    let udx = Udx::new();
    let address = SocketAddr::new(ip.parse().expect("an address"), 0);
    let (socket, _) = udx.bind(address).expect("a socket");
    let stream = udx.stream_with_id(id, Config::default()).expect("the number is free");
    let peer = Peer::start(mode, socket.local_addr(), id, bytes);
    stream.connect(&socket, PEER, peer.address);
    Pair { udx, socket, stream, peer }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

fn byte(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> usize {
    let mut buffer = vec![0; 256 << 10];
    let mut received = 0;
    loop {
        let count = stream.read(&mut buffer).await.expect("it goes on");
        if count == 0 {
            return received;
        }
        for (at, read) in buffer[..count].iter().enumerate() {
            assert_eq!(*read, byte(received + at), "at {}", received + at);
        }
        received += count;
    }
}

async fn write(stream: &mut (impl AsyncWriteExt + Unpin), total: usize) {
    let mut written = 0;
    while written < total {
        let chunk: Vec<u8> = (written..total.min(written + 100_000)).map(byte).collect();
        stream.write_all(&chunk).await.expect("it goes on");
        written += chunk.len();
    }
    stream.shutdown().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_messages_come_back_over_ipv4_and_ipv6() {
    for ip in ["127.0.0.1", "::1"] {
        let Pair { mut stream, peer, .. } = connect("echo", 8, 0, ip);
        let mut heard = [0; 5];
        stream.write_all(b"hello").await.expect("it goes");
        soon(stream.read_exact(&mut heard)).await.expect("it comes back");
        assert_eq!(&heard, b"hello");
        for size in [0, 1, 500, 1132] {
            let message: Vec<u8> = (0..size).map(byte).collect();
            stream.send_message(message.clone()).expect("it fits");
            assert_eq!(soon(stream.recv_message()).await.expect("it comes back"), message);
        }
        let longer = stream.send_message(vec![0; 1500]);
        assert!(matches!(longer, Err(MessageError::TooLong(_))), "{longer:?}");
        stream.shutdown().await.expect("it ends");
        assert_eq!(soon(stream.read(&mut heard)).await.expect("it ends"), 0);
        soon(stream.closed()).await.expect("both have ended");
        assert_eq!(peer.heard("end")["received"], 5);
        peer.heard("close");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_goes_both_ways_at_once() {
    const TOTAL: usize = 24 << 20;
    let Pair { stream, peer, .. } = connect("both", 8, TOTAL, "127.0.0.1");
    let (mut reading, mut writing) = tokio::io::split(stream);
    let (received, ()) =
        soon(async { tokio::join!(read_to_end(&mut reading), write(&mut writing, TOTAL)) }).await;
    assert_eq!(received, TOTAL);
    let stream = reading.unsplit(writing);
    soon(stream.closed()).await.expect("both have ended");
    let stats = stream.stats().expect("it is there");
    assert_eq!(stats.mtu, 1500, "{stats:?}");
    let end = peer.heard("end");
    assert_eq!((&end["received"], &end["wrong"]), (&TOTAL.into(), &0.into()));
    assert_eq!(peer.heard("close")["mtu"], 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_lost_is_sent_again_by_both() {
    const TOTAL: usize = 8 << 20;
    let udx = Udx::new();
    let (socket, _) = udx.bind(SocketAddr::new([127, 0, 0, 1].into(), 0)).expect("a socket");
    let network = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let between = network.local_addr().expect("an address");
    // The peer speaks with us by way of it.
    let mut stream = udx.stream_with_id(8, Config::default()).expect("the number is free");
    let network = tokio::spawn(bad_network(network, socket.local_addr(), 30));
    stream.connect(&socket, PEER, between);
    let peer = Peer::start("both", between, 8, TOTAL);
    let (mut reading, mut writing) = tokio::io::split(stream);
    let started = std::time::Instant::now();
    let (received, ()) =
        soon(async { tokio::join!(read_to_end(&mut reading), write(&mut writing, TOTAL)) }).await;
    assert_eq!(received, TOTAL);
    stream = reading.unsplit(writing);
    soon(stream.acknowledged()).await.expect("it arrives");
    println!("{:?}, {:?}", started.elapsed(), stream.stats());
    assert!(stream.stats().expect("it is there").retransmits > 50, "{:?}", stream.stats());
    let end = peer.heard("end");
    assert_eq!((&end["received"], &end["wrong"]), (&TOTAL.into(), &0.into()));
    network.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_gives_the_stream_up() {
    let Pair { stream, peer, .. } = connect("echo", 8, 0, "127.0.0.1");
    let mut stream = stream;
    stream.write_all(b"x").await.expect("it goes");
    soon(stream.acknowledged()).await.expect("it arrives");
    drop(stream);
    assert_eq!(peer.heard("error")["code"], "ECONNRESET");

    let Pair { mut stream, peer, .. } = connect("destroy", 8, 0, "127.0.0.1");
    stream.write_all(b"x").await.expect("it goes");
    let error = soon(stream.read(&mut [0; 10])).await.expect_err("it is given up");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(stream.write(b"y").await.expect_err("it is over").kind(), ErrorKind::ConnectionReset);
    peer.heard("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_is_found_by_its_first_packet() {
    const TOTAL: usize = 1 << 20;
    let udx = Udx::new();
    // One that takes IPv6 as well.
    let (socket, _) = udx.bind("[::]:0".parse().expect("an address")).expect("a socket");
    let mut stream = udx.stream_with_id(8, Config::default()).expect("the number is free");
    stream.set_firewall(|_, _| Verdict::Connect(PEER));
    let here = SocketAddr::new([127, 0, 0, 1].into(), socket.local_addr().port());
    let peer = Peer::start("both", here, 8, TOTAL);
    soon(stream.connected()).await.expect("it comes");
    assert_eq!(stream.remote_addr(), Some(peer.address));
    assert_eq!(soon(read_to_end(&mut stream)).await, TOTAL);
    soon(write(&mut stream, TOTAL)).await;
    soon(stream.closed()).await.expect("both have ended");
    assert_eq!(peer.heard("end")["wrong"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_moves_to_another_socket() {
    let Pair { udx, socket: _old, mut stream, peer } = connect("echo", 8, 0, "127.0.0.1");
    let (other, _) = udx.bind("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    // The peer does not move: it answers where it did, by the old socket.
    stream.set_firewall(|_, _| Verdict::Take);
    stream.write_all(b"before ").await.expect("it goes");
    soon(stream.change_remote(&other, PEER, peer.address)).await.expect("it moves");
    stream.write_all(b"after").await.expect("it goes");
    stream.shutdown().await.expect("it ends");
    let mut heard = String::new();
    soon(stream.read_to_string(&mut heard)).await.expect("it comes back");
    assert_eq!(heard, "before after");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_meet_by_a_relay_of_ours() {
    const TOTAL: usize = 4 << 20;
    let udx = Udx::new();
    let (socket, _) = udx.bind("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    let halves = [8, 9].map(|id| udx.stream_with_id(id, Config::default()).expect("the number is free"));
    let peers = [8, 9].map(|id| Peer::start("both", socket.local_addr(), id, TOTAL));
    for (half, peer) in halves.iter().zip(&peers) {
        half.connect(&socket, PEER, peer.address);
    }
    // What came too early is sent again.
    halves[0].relay_to(&halves[1]);
    halves[1].relay_to(&halves[0]);
    for peer in &peers {
        let end = peer.heard("end");
        assert_eq!((&end["received"], &end["wrong"]), (&TOTAL.into(), &0.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_run_on_it() {
    // The peer opens the connection, if our number is even.
    for id in [8, 9] {
        let Pair { udx, socket, stream, peer } = connect("secret", id, 0, "127.0.0.1");
        let pair = KeyPair::generate().expect("random numbers");
        let connection = Connection::new(stream, id % 2 == 1, &pair, Options::default());
        let mut connection = soon(connection).await.expect("it connects");
        let channel = connection.open("echo", b"", "").expect("it opens");
        assert!(matches!(soon(connection.next()).await, Some(Event::Opened { .. })));
        for size in [0, 1, 5000, 1 << 20, 8 << 20] {
            let payload: Vec<u8> = (0..size).map(byte).collect();
            soon(connection.ready()).await;
            connection.send(channel, 0, payload.clone()).expect("there is room");
            match soon(connection.next()).await {
                Some(Event::Message { payload: back, .. }) => assert!(back == payload, "{size} bytes"),
                other => panic!("{other:?}"),
            }
        }
        connection.close().await.expect("it ends well");
        peer.heard("closed");
        drop(socket);
        drop(udx);
    }
}
