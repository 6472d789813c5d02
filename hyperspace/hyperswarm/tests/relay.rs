//! Two ends and a relay between them, on sockets of this machine.

use hyperswarm::blind_relay::{Client, Limits, PairError, Server};
use hyperswarm::udx::{Config, Udx, UdxSocket, UdxStream};
use hyperswarm::{Connection, Event, KeyPair, Options};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOKEN: [u8; 32] = [7; 32];

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("in time")
}

fn socket(udx: &Udx) -> UdxSocket {
    udx.bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).expect("a socket").0
}

struct Relay {
    server: Server,
    udx: Udx,
    socket: UdxSocket,
}

impl Relay {
    fn new(limits: Limits) -> Self {
        let udx = Udx::new();
        Self { server: Server::new(udx.clone(), limits), socket: socket(&udx), udx }
    }

    async fn until(&self, wanted: impl Fn(hyperswarm::blind_relay::Stats) -> bool) {
        // What a relay does is seen from outside only: it is asked again and again.
        soon(async {
            while !wanted(self.server.stats()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

struct End {
    udx: Udx,
    socket: UdxSocket,
    relay: SocketAddr,
    client: Client,
}

impl End {
    async fn new(relay: &Relay) -> Self {
        Self::at(relay, Ipv4Addr::LOCALHOST.into()).await.expect("it is served")
    }

    /// One of which the relay believes that it is there.
    async fn at(relay: &Relay, address: IpAddr) -> Result<Self, PairError> {
        let udx = Udx::new();
        let socket = socket(&udx);
        let [ours, theirs] =
            [&udx, &relay.udx].map(|udx| udx.stream(Config::default()).expect("random numbers"));
        ours.connect(&socket, theirs.id(), relay.socket.local_addr());
        theirs.connect(&relay.socket, ours.id(), socket.local_addr());
        let server = relay.server.clone();
        tokio::spawn(async move {
            let pair = KeyPair::generate().expect("random numbers");
            let connection =
                Connection::new(theirs, false, &pair, Options::default()).await.expect("it opens");
            server.serve(connection, Some(address)).await;
        });
        let pair = KeyPair::generate().expect("random numbers");
        let connection =
            soon(Connection::new(ours, true, &pair, Options::default())).await.expect("it opens");
        let client = Client::new(connection)?;
        Ok(Self { udx, socket, relay: relay.socket.local_addr(), client })
    }

    fn stream(&self) -> UdxStream {
        self.udx.stream(Config::default()).expect("random numbers")
    }

    /// Is brought together with the other end.
    async fn pair(&mut self, is_initiator: bool, token: [u8; 32]) -> Result<UdxStream, PairError> {
        let stream = self.stream();
        let number = self.client.pair(is_initiator, token, stream.id()).await?;
        stream.connect(&self.socket, number, self.relay);
        Ok(stream)
    }
}

async fn pair(left: &mut End, right: &mut End, token: [u8; 32]) -> (UdxStream, UdxStream) {
    let both = async { tokio::try_join!(left.pair(true, token), right.pair(false, token)) };
    soon(both).await.expect("they are brought together")
}

async fn say(stream: &mut UdxStream, what: &[u8]) {
    stream.write_all(what).await.expect("it goes");
}

async fn hear(stream: &mut UdxStream, what: &[u8]) {
    let mut heard = vec![0; what.len()];
    soon(stream.read_exact(&mut heard)).await.expect("it comes");
    assert_eq!(heard, what);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_by_way_of_a_relay() {
    let relay = Relay::new(Limits::default());
    let (mut left, mut right) = (End::new(&relay).await, End::new(&relay).await);
    // Many at a time, on the same connections.
    for number in 0..10 {
        let (ours, theirs) = pair(&mut left, &mut right, [number; 32]).await;
        // The relay learns where an end is from what it sends first.
        theirs.send_message("here").expect("it is connected");
        let (alice, bob) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
        let opening = async {
            tokio::try_join!(
                Connection::new(ours, true, &alice, Options::default()),
                Connection::new(theirs, false, &bob, Options::default()),
            )
        };
        let (here, mut there) = soon(opening).await.expect("the handshake goes through");
        assert_eq!(here.remote_public_key(), bob.public_key());
        let channel = here.open("test", b"", "").expect("it is open");
        there.open("test", b"", "").expect("it is open");
        // Longer than many packets.
        let message = vec![number; 1 << 20];
        here.send(channel, 0, message.clone()).expect("it is open");
        let heard = async {
            loop {
                match there.next().await.expect("it lasts") {
                    Event::Message { payload, .. } => return payload,
                    _ => continue,
                }
            }
        };
        assert!(soon(heard).await == message);
        let closing = async { tokio::join!(here.close(), there.close()) };
        let (here, there) = soon(closing).await;
        here.and(there).expect("both end");
    }
    assert_eq!(relay.server.stats().made, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_either_end_and_with_its_connection() {
    let relay = Relay::new(Limits::default());
    let (mut left, mut right) = (End::new(&relay).await, End::new(&relay).await);
    let (mut ours, mut theirs) = pair(&mut left, &mut right, TOKEN).await;
    say(&mut theirs, b"?").await;
    say(&mut ours, b"one").await;
    hear(&mut theirs, b"one").await;
    hear(&mut ours, b"?").await;
    // One end goes: the other hears of it.
    drop(ours);
    assert!(soon(theirs.closed()).await.is_err());
    relay.until(|stats| stats.links == 0).await;

    // The same token again.
    let (mut ours, mut theirs) = pair(&mut left, &mut right, TOKEN).await;
    say(&mut theirs, b"?").await;
    say(&mut ours, b"two").await;
    hear(&mut theirs, b"two").await;
    left.client.unpair(TOKEN).expect("it is open");
    relay.until(|stats| stats.links == 0).await;

    // A connection takes all with it.
    let _streams = pair(&mut left, &mut right, TOKEN).await;
    relay.until(|stats| stats.links == 1).await;
    soon(left.client.close()).await;
    relay.until(|stats| (stats.links, stats.connections) == (0, 1)).await;
    drop(right);
    relay.until(|stats| stats.connections == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_vain_is_forgotten() {
    let limits = Limits { patience: Duration::from_millis(50), ..Limits::default() };
    let relay = Relay::new(limits);
    let mut end = End::new(&relay).await;
    let stream = end.stream();
    tokio::select! {
        _ = end.client.pair(true, TOKEN, stream.id()) => panic!("nobody else is there"),
        () = relay.until(|stats| stats.waiting == 1) => {}
    }
    // Given up by us, or by the relay.
    relay.until(|stats| stats.waiting == 0).await;
    tokio::select! {
        _ = end.client.pair(true, TOKEN, stream.id()) => panic!("nobody else is there"),
        () = async {
            relay.until(|stats| stats.waiting == 1).await;
            relay.until(|stats| stats.waiting == 0).await;
        } => {}
    }
    assert_eq!(relay.server.stats().made, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_the_same_kind_are_no_pair() {
    let relay = Relay::new(Limits::default());
    let (mut first, mut second, mut third) =
        (End::new(&relay).await, End::new(&relay).await, End::new(&relay).await);
    let streams = [first.stream(), second.stream()];
    let (mut ours, mut theirs) = tokio::select! {
        _ = first.client.pair(true, TOKEN, streams[0].id()) => panic!("the third is not its other end"),
        both = async {
            relay.until(|stats| stats.waiting == 1).await;
            // Another initiator: it is not heard.
            tokio::select! {
                _ = second.client.pair(true, TOKEN, streams[1].id()) => panic!("nobody else is there"),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            assert_eq!(relay.server.stats().waiting, 1, "who gives up, gives up only what is its own");
            let other = [8; 32];
            pair(&mut second, &mut third, other).await
        } => both,
    };
    say(&mut theirs, b"?").await;
    say(&mut ours, b"!").await;
    hear(&mut theirs, b"!").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_kept() {
    let limits = Limits { connections: 2, pairs_of_one: 3, waiting: 4, ..Limits::default() };
    let relay = Relay::new(limits);
    let (mut left, mut right) = (End::new(&relay).await, End::new(&relay).await);
    relay.until(|stats| stats.connections == 2).await;
    // A third is not let in.
    let refused = match End::at(&relay, Ipv4Addr::LOCALHOST.into()).await {
        Ok(mut third) => {
            let stream = third.stream();
            soon(third.client.pair(true, TOKEN, stream.id())).await
        }
        Err(error) => Err(error),
    };
    assert!(
        matches!(refused, Err(PairError::Ended(_) | PairError::Open(_) | PairError::Send(_))),
        "{refused:?}"
    );
    assert_eq!(relay.server.stats().refused, 1);
    // Three of one, and four of both.
    let mut streams = Vec::new();
    for number in 0..3 {
        streams.push(pair(&mut left, &mut right, [number; 32]).await);
    }
    let stream = left.stream();
    tokio::select! {
        _ = left.client.pair(true, [3; 32], stream.id()) => panic!("it is one too many"),
        () = relay.until(|stats| stats.refused == 2) => {}
    }
    assert_eq!((relay.server.stats().links, relay.server.stats().waiting), (3, 0));
    // When some have ended, others have their place.
    streams.clear();
    relay.until(|stats| stats.links == 0).await;
    pair(&mut left, &mut right, [3; 32]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_on_which_nothing_comes_ends() {
    // Longer than it takes to send again what was lost.
    let relay = Relay::new(Limits { idle: Duration::from_secs(2), ..Limits::default() });
    let (mut left, mut right) = (End::new(&relay).await, End::new(&relay).await);
    let (mut ours, mut theirs) = pair(&mut left, &mut right, TOKEN).await;
    say(&mut theirs, b"?").await;
    say(&mut ours, b"!").await;
    hear(&mut ours, b"?").await;
    hear(&mut theirs, b"!").await;
    // It lasts as long as something comes.
    for _ in 0..10 {
        say(&mut ours, b"x").await;
        hear(&mut theirs, b"x").await;
        say(&mut theirs, b"y").await;
        hear(&mut ours, b"y").await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(relay.server.stats().links, 1);
    }
    relay.until(|stats| stats.links == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_from_elsewhere_are_not_taken() {
    let relay = Relay::new(Limits::default());
    // The relay takes it that the one is elsewhere: so its packets are a stranger's.
    let mut left = End::at(&relay, [192, 0, 2, 1].into()).await.expect("it is served");
    let mut right = End::new(&relay).await;
    let (mut ours, mut theirs) = pair(&mut left, &mut right, TOKEN).await;
    say(&mut ours, b"let me in").await;
    say(&mut theirs, b"?").await;
    let heard = tokio::time::timeout(Duration::from_millis(500), theirs.read_u8()).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_nonsense_loses_only_its_own() {
    let relay = Relay::new(Limits::default());
    let (mut left, mut right) = (End::new(&relay).await, End::new(&relay).await);
    let (mut ours, mut theirs) = pair(&mut left, &mut right, TOKEN).await;
    for (kind, payload) in [(0, vec![]), (0, vec![1; 33]), (1, vec![0; 10]), (0, vec![255; 60])] {
        let udx = Udx::new();
        let here = socket(&udx);
        let [stream, at_relay] =
            [&udx, &relay.udx].map(|udx| udx.stream(Config::default()).expect("random numbers"));
        stream.connect(&here, at_relay.id(), relay.socket.local_addr());
        at_relay.connect(&relay.socket, stream.id(), here.local_addr());
        let server = relay.server.clone();
        let serving = tokio::spawn(async move {
            let pair = KeyPair::generate().expect("random numbers");
            let connection =
                Connection::new(at_relay, false, &pair, Options::default()).await.expect("it opens");
            server.serve(connection, None).await;
        });
        let pair = KeyPair::generate().expect("random numbers");
        let connection =
            soon(Connection::new(stream, true, &pair, Options::default())).await.expect("it opens");
        let channel = connection.open("blind-relay", &connection.public_key(), "").expect("it is open");
        connection.send(channel, kind, payload).expect("it is open");
        soon(serving).await.expect("nothing fails");
        assert!(soon(connection.closed()).await.is_err());
    }
    say(&mut theirs, b"?").await;
    say(&mut ours, b"still here").await;
    hear(&mut theirs, b"still here").await;
}
