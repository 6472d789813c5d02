//! npm `@hyperswarm/secret-stream` 6 and `protomux` 3 at the other end of a connection of
//! ours, as the side that opened it and as the other.

use hyperspace_e2e::node;
use hyperspace_e2e::process::{PATIENCE, Process};
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::told::hex;
use hyperswarm::noise::{Handshake, Pattern};
use hyperswarm::{ChannelId, Connection, Event, KeyPair, Options};
use serde_json::Value;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The messages of `echo-peer.js`.
const ECHO: u32 = 0;
const BURST: u32 = 1;
const COUNT: u32 = 2;
const DO: u32 = 3;

/// A connection of ours to a Node peer, with a channel that both have opened.
struct Peer {
    connection: Connection,
    channel: ChannelId,
    node: Process,
    _scratch: Scratch,
}

fn start(scratch: &Scratch, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
    let mut command = node::command(scratch, &[&["net/echo-peer.js"], arguments].concat());
    Process::start(command.envs(environment.iter().copied()))
}

/// Our side opens the connection.
async fn dial(options: Options, environment: &[(&str, &str)], pattern: Pattern) -> Peer {
    let scratch = Scratch::new();
    let node = start(&scratch, &["listen"], environment);
    let line = node.wait_for_line("Listening on");
    let port: u16 = line.rsplit(' ').next().and_then(|port| port.trim().parse().ok()).expect("a port");
    let io = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let pair = KeyPair::generate().expect("random numbers");
    let handshake = Handshake::initiator(pattern, &pair, b"").expect("it starts");
    let mut connection = Connection::open_with(io, handshake, options).await.expect("it connects");
    let channel = connection.open("echo", b"first", "\u{9}from rust").expect("it opens");
    assert_eq!(next(&mut connection).await, Event::Opened { channel, handshake: "\u{9}from node".into() });
    Peer { connection, channel, node, _scratch: scratch }
}

/// Node opens the connection.
async fn listen(options: Options, environment: &[(&str, &str)], handshake: Handshake) -> Peer {
    let scratch = Scratch::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let node = start(&scratch, &["connect", &port], environment);
    let (io, _) =
        tokio::time::timeout(PATIENCE, listener.accept()).await.expect("in time").expect("it comes");
    let mut connection = Connection::open_with(io, handshake, options).await.expect("it connects");
    connection.pair("echo", None);
    let Event::Requested { protocol, id, handshake } = next(&mut connection).await else {
        panic!("no request")
    };
    assert_eq!((protocol.as_str(), &id[..], &handshake[..]), ("echo", &b"first"[..], &b"\x09from node"[..]));
    let channel = connection.open(&protocol, &id, "\u{9}from rust").expect("it opens");
    assert!(matches!(next(&mut connection).await, Event::Opened { .. }));
    Peer { connection, channel, node, _scratch: scratch }
}

/// One of each.
async fn both(options: Options) -> [Peer; 2] {
    let pair = KeyPair::generate().expect("random numbers");
    let handshake = Handshake::responder(Pattern::Xx, &pair, b"").expect("it starts");
    [dial(options.clone(), &[], Pattern::Xx).await, listen(options, &[], handshake).await]
}

async fn next(connection: &mut Connection) -> Event {
    let event = tokio::time::timeout(PATIENCE, connection.next()).await.expect("in time");
    event.unwrap_or_else(|| panic!("the connection is over: {:?}", connection.error()))
}

impl Peer {
    /// The next message on our channel.
    async fn message(&mut self) -> Vec<u8> {
        match next(&mut self.connection).await {
            Event::Message { channel, kind: ECHO, payload } if channel == self.channel => payload.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn send(&self, kind: u32, payload: &[u8]) {
        self.connection.send(self.channel, kind, payload.to_vec()).expect("it sends");
    }

    /// Has the peer do something.
    fn ask(&self, what: &str) {
        let mut payload = vec![what.len() as u8];
        payload.extend_from_slice(what.as_bytes());
        self.send(DO, &payload);
    }

    /// What the peer has said of an event.
    fn heard(&self, event: &str) -> Value {
        let line = self.node.wait_for_line(&format!("{{\"event\":\"{event}\""));
        serde_json::from_str(&line).expect("a line of JSON")
    }

    async fn is_over(&mut self) {
        let over = tokio::time::timeout(PATIENCE, async { while self.connection.next().await.is_some() {} });
        over.await.expect("in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_know_each_other() {
    for peer in both(Options::default()).await {
        let heard = peer.heard("connect");
        let ours = &peer.connection;
        assert_eq!(heard["remotePublicKey"], hex(&ours.public_key()));
        assert_eq!(heard["publicKey"], hex(&ours.remote_public_key()));
        assert_eq!(heard["handshakeHash"], hex(ours.handshake_hash()));
        assert_eq!(heard["initiator"], !ours.is_initiator());
        assert!(ours.round_trip().is_some());
        let opened = peer.heard("open");
        assert_eq!((&opened["id"], &opened["handshake"]), (&"first".into(), &"from rust".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_responder_is_called_by_its_key() {
    let pair = KeyPair::from_seed(&[7; 32]);
    let seed = hex(&[7; 32]);
    let peer = dial(Options::default(), &[("IK", &seed)], Pattern::Ik(pair.public_key())).await;
    assert_eq!(peer.heard("connect")["publicKey"], hex(&pair.public_key()));
    let handshake = Handshake::responder(Pattern::Ik(()), &pair, b"").expect("it starts");
    let key = hex(&pair.public_key());
    let peer = listen(Options::default(), &[("IK", &key)], handshake).await;
    assert_eq!(peer.heard("connect")["remotePublicKey"], key);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_all_sizes_come_back() {
    for mut peer in both(Options::default()).await {
        for size in [0, 1, 100, 8192, 8193, 65_536, 1 << 20, 15 << 20] {
            let payload: Vec<u8> = (0..size).map(|at: usize| (at ^ (at >> 8) ^ size) as u8).collect();
            peer.send(ECHO, &payload);
            assert!(peer.message().await == payload, "{size} bytes came back as others");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_messages_go_and_come() {
    for mut peer in both(Options::default()).await {
        peer.send(BURST, &[0xfd, 0x10, 0x27]);
        for number in 0..10_000 {
            assert_eq!(peer.message().await, format!("burst {number}").as_bytes());
        }
        let cork = peer.connection.cork();
        for number in 0..10_000u32 {
            peer.send(ECHO, &number.to_le_bytes());
        }
        drop(cork);
        for number in 0..10_000u32 {
            assert_eq!(peer.message().await, number.to_le_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_sent_without_waiting_in_memory() {
    let options = Options::default();
    for mut peer in both(options.clone()).await {
        let block = bytes::Bytes::from(vec![0x5a; 65_536]);
        for _ in 0..1024 {
            peer.connection.ready().await;
            peer.connection.send(peer.channel, COUNT, block.clone()).expect("there is room");
        }
        peer.send(COUNT, b"");
        let answer = String::from_utf8(peer.message().await).expect("text");
        assert!(answer.starts_with("67108864 "), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_opened_refused_and_closed_by_both() {
    for mut peer in both(Options::default()).await {
        let connection = &mut peer.connection;
        // Nobody there knows that protocol.
        let nope = connection.open("nope", b"", "").expect("it opens");
        assert_eq!(next(connection).await, Event::Closed { channel: nope, rejected: true });

        // Ours, closed and opened again under the same number.
        for _ in 0..3 {
            let second = connection.open("echo", b"second", "\u{1}x").expect("it opens");
            connection.send(second, ECHO, "early").expect("it sends");
            let handshake = "\u{9}from node".into();
            assert_eq!(next(connection).await, Event::Opened { channel: second, handshake });
            let early = Event::Message { channel: second, kind: ECHO, payload: "early".into() };
            assert_eq!(next(connection).await, early);
            connection.close_channel(second);
        }
        // And closed before it was answered.
        let third = connection.open("echo", b"third", "\u{1}x").expect("it opens");
        connection.close_channel(third);

        // Theirs: refused, as long as we do not want it.
        connection.unpair("echo", None);
        peer.ask("open theirs");
        peer.send(ECHO, b"and go on");
        assert_eq!(peer.message().await, b"and go on");
        let closed = peer.node.wait_for_line("\"id\":\"theirs\"");
        assert!(closed.contains("\"event\":\"closed\""), "{closed}");
        peer.connection.pair("echo", None);
        peer.ask("open wanted");
        let Event::Requested { id, .. } = next(&mut peer.connection).await else { panic!("no request") };
        assert_eq!(id, "wanted");
        let wanted = peer.connection.open("echo", &id, "\u{2}hi").expect("it opens");
        assert!(
            matches!(next(&mut peer.connection).await, Event::Opened { channel, .. } if channel == wanted)
        );
        // Closed by them before we have answered: nobody holds it against the other.
        peer.ask("open and close brief");
        assert!(matches!(next(&mut peer.connection).await, Event::Requested { .. }));
        assert!(matches!(next(&mut peer.connection).await, Event::Withdrawn { id, .. } if id == "brief"));
        peer.ask("open brief");
        assert!(matches!(next(&mut peer.connection).await, Event::Requested { id, .. } if id == "brief"));
        let brief = peer.connection.open("echo", b"brief", "\u{2}hi").expect("it opens");
        assert!(
            matches!(next(&mut peer.connection).await, Event::Opened { channel, .. } if channel == brief)
        );

        peer.send(ECHO, b"still here");
        assert_eq!(peer.message().await, b"still here");
        peer.ask("close");
        let closed = Event::Closed { channel: peer.channel, rejected: false };
        assert_eq!(next(&mut peer.connection).await, closed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_channels() {
    for mut peer in both(Options::default()).await {
        let connection = &mut peer.connection;
        let mut channels = Vec::new();
        for number in 0..2000u32 {
            channels.push(connection.open("echo", &number.to_le_bytes(), "\u{1}x").expect("it opens"));
        }
        for _ in 0..2000 {
            assert!(matches!(next(connection).await, Event::Opened { .. }));
        }
        for channel in &channels {
            connection.send(*channel, ECHO, "hello").expect("it sends");
        }
        let mut answered = std::collections::HashSet::new();
        for _ in 0..2000 {
            let Event::Message { channel, payload, .. } = next(connection).await else {
                panic!("no message")
            };
            assert_eq!(payload, "hello");
            answered.insert(channel);
        }
        assert_eq!(answered.len(), 2000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_alives_go_both_ways_and_mean_nothing() {
    // Each side hears the other just often enough.
    let mut options = Options::default();
    options.stream.keep_alive = Some(Duration::from_millis(50));
    options.stream.timeout = Some(Duration::from_secs(5));
    let mut peer = dial(options.clone(), &[("KEEP_ALIVE", "50")], Pattern::Xx).await;
    let quiet = tokio::time::timeout(Duration::from_secs(6), peer.connection.next()).await;
    assert!(quiet.is_err(), "{quiet:?}, {:?}", peer.connection.error());
    // A peer without keep-alives does not filter ours, and its protomux ignores them.
    options.stream.timeout = Some(Duration::from_secs(1));
    let mut peer = dial(options, &[], Pattern::Xx).await;
    peer.is_over().await;
    let error = peer.connection.error().expect("a reason").to_string();
    assert_eq!(error, "Stream timed out");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_ends_the_connection() {
    for mut peer in both(Options::default()).await {
        peer.ask("end");
        peer.is_over().await;
        assert!(peer.connection.error().is_none(), "{:?}", peer.connection.error());
        peer.heard("close");
    }
    for mut peer in both(Options::default()).await {
        peer.ask("destroy");
        peer.is_over().await;
        peer.heard("close");
    }
    for peer in both(Options::default()).await {
        let Peer { connection, node, .. } = peer;
        let sender = connection.sender();
        connection.close().await.expect("it ends well");
        assert!(sender.is_over() && sender.error().is_none());
        node.wait_for_line("{\"event\":\"close\"");
    }
    for peer in both(Options::default()).await {
        let Peer { connection, node, .. } = peer;
        drop(connection);
        node.wait_for_line("{\"event\":\"close\"");
    }
}
