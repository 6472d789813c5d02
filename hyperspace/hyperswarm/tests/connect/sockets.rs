//! On the sockets of this machine.

use hyperswarm::hyperdht::{DialError, DialOptions, Dialed, Endpoint, ListenOptions, Options, Server};
use hyperswarm::{Connection, Event, KeyPair};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn local() -> Options {
    Options { host: Ipv4Addr::LOCALHOST, port: 0, ..Options::default() }
}

/// A network of nodes that stay, and know their addresses.
async fn network(size: usize) -> Vec<Endpoint> {
    let first = Endpoint::bind(Options { is_first: true, ..local() }).await.expect("sockets");
    let bootstrap = vec![first.local_address().into()];
    let mut all = vec![first];
    for _ in 1..size {
        let options =
            Options { bootstrap: bootstrap.clone(), ephemeral: Some(false), firewalled: false, ..local() };
        let node = Endpoint::bind(options).await.expect("sockets");
        assert!(node.wait_until(|status| status.ready && status.id.is_some()).await);
        all.push(node);
    }
    all
}

/// One that comes and goes, and takes it that it cannot be reached.
async fn guest(network: &[Endpoint]) -> Endpoint {
    let options =
        Options { bootstrap: vec![network[0].local_address().into()], ephemeral: Some(true), ..local() };
    let endpoint = Endpoint::bind(options).await.expect("sockets");
    assert!(endpoint.ready().await);
    endpoint
}

async fn listen(endpoint: &Endpoint, pair: &KeyPair) -> Server {
    let server = endpoint.listen(pair, ListenOptions::default()).await.expect("it listens");
    server.announced().await;
    server
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it does not take for ever")
}

async fn open(dialed: Dialed) -> Connection {
    let connection = within(dialed.connect(hyperswarm::Options::default())).await.expect("it opens");
    connection.pair("echo", None);
    if connection.is_initiator() {
        connection.open("echo", b"", "").expect("it is open");
    }
    connection
}

/// Sends everything back that comes, until the other side ends.
async fn echo(dialed: Dialed) {
    let mut connection = open(dialed).await;
    while let Some(event) = connection.next().await {
        match event {
            Event::Requested { protocol, id, .. } => {
                connection.open(&protocol, &id, "").expect("it is open");
            }
            Event::Message { channel, kind, payload } => {
                connection.send(channel, kind, payload).expect("there is room");
            }
            _ => {}
        }
    }
}

/// Sends something and waits for it to come back.
async fn check(dialed: Dialed, expected: &KeyPair, bytes: usize) {
    assert_eq!(dialed.remote_public_key, expected.public_key());
    let mut connection = open(dialed).await;
    let event = within(connection.next()).await;
    let Some(Event::Opened { channel, .. }) = event else { panic!("{event:?}") };
    let message: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
    connection.send(channel, 0, message.clone()).expect("there is room");
    let event = within(connection.next()).await;
    let Some(Event::Message { payload, .. }) = event else { panic!("{event:?}") };
    assert!(payload == message);
    connection.close().await.expect("it ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_find_each_other() {
    let network = network(6).await;
    let (here, there) = (guest(&network).await, guest(&network).await);
    let (ours, theirs) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let mut server = listen(&here, &ours).await;
    assert_eq!(server.relay_addresses().len(), 3);
    for _ in 0..3 {
        let (key, options) = (ours.public_key(), DialOptions::new(&theirs));
        let (dialed, accepted) = tokio::join!(within(there.dial(&key, options)), within(server.accept()));
        let (dialed, accepted) = (dialed.expect("it is reached"), accepted.expect("it listens"));
        assert_eq!(accepted.remote_public_key, theirs.public_key());
        assert_eq!(dialed.relay_addresses, server.relay_addresses());
        let echoing = tokio::spawn(echo(accepted));
        check(dialed, &ours, 1 << 20).await;
        within(echoing).await.expect("it does not panic");
    }
    // One connection each, although the first message comes by two nodes.
    assert!(tokio::time::timeout(Duration::from_millis(300), server.accept()).await.is_err());
    // Nobody finds it any more.
    within(server.close()).await;
    let failed = within(there.dial(&ours.public_key(), DialOptions::new(&theirs))).await;
    assert_eq!(failed.expect_err("it is gone"), DialError::PeerNotFound);
    assert!(network[1].find_peer(&ours.public_key()).await.expect("it runs").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_reaches_everybody() {
    let network = network(5).await;
    let (one, other) = (guest(&network).await, guest(&network).await);
    let (ours, theirs) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let (open, alone) = (&network[1], &network[2]);
    for (here, there) in [(open, &one), (&one, open), (&network[0], alone), (&one, &other)] {
        let mut server = listen(here, &ours).await;
        for options in [
            DialOptions::new(&theirs),
            DialOptions { local_connection: false, ..DialOptions::new(&theirs) },
            DialOptions { local_connection: false, fast_open: false, ..DialOptions::new(&theirs) },
        ] {
            let dialing = format!("{options:?}");
            let dialed = within(there.dial(&ours.public_key(), options)).await;
            let dialed = dialed.unwrap_or_else(|error| panic!("{dialing}: {error}"));
            let accepting = tokio::spawn(async move {
                let accepted = within(server.accept()).await.expect("it listens");
                echo(accepted).await;
                server
            });
            check(dialed, &ours, 1000).await;
            server = within(accepting).await.expect("it does not panic");
        }
        let both_firewalled = here.status().firewalled && there.status().firewalled;
        for end in [here, there] {
            assert_eq!(end.status().punches.consistent > 0, both_firewalled, "{:?}", end.status());
        }
        within(server.close()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_learns_nothing() {
    let network = network(4).await;
    let (here, there) = (guest(&network).await, guest(&network).await);
    let (ours, theirs) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let asked = Arc::new(AtomicBool::new(false));
    let (seen, refused) = (Arc::clone(&asked), theirs.public_key());
    let firewall: hyperswarm::hyperdht::connect::FirewallCheck = Arc::new(move |key, _| {
        seen.store(true, Ordering::Relaxed);
        *key == refused
    });
    let options = ListenOptions { firewall: Some(firewall), ..ListenOptions::default() };
    let mut server = here.listen(&ours, options).await.expect("it listens");
    server.announced().await;
    let failed = within(there.dial(&ours.public_key(), DialOptions::new(&theirs))).await;
    assert_eq!(failed.expect_err("it is refused"), DialError::PeerConnectionFailed);
    assert!(asked.load(Ordering::Relaxed));
    let other = KeyPair::from_seed(&[3; 32]);
    let dialed = within(there.dial(&ours.public_key(), DialOptions::new(&other))).await.expect("it may");
    let accepting =
        tokio::spawn(async move { echo(within(server.accept()).await.expect("it listens")).await });
    check(dialed, &ours, 10).await;
    within(accepting).await.expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_fails() {
    let network = network(3).await;
    let node = guest(&network).await;
    let pair = KeyPair::from_seed(&[1; 32]);
    let failed = within(node.dial(&[7; 32], DialOptions::new(&pair))).await.expect_err("it is no key");
    assert!(matches!(failed, DialError::HandshakeInvalid | DialError::PeerNotFound), "{failed}");
    let unknown = KeyPair::from_seed(&[9; 32]).public_key();
    let failed = within(node.dial(&unknown, DialOptions::new(&pair))).await.expect_err("it is unknown");
    assert_eq!(failed, DialError::PeerNotFound);
    let server = listen(&node, &pair).await;
    let again = node.listen(&pair, ListenOptions::default()).await;
    assert!(again.is_err());
    drop(server);
    // It is taken back although nobody waits for that.
    within(async {
        while !network[1].find_peer(&pair.public_key()).await.expect("it runs").is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let clone = node.clone();
    node.close().await;
    let failed = clone.dial(&unknown, DialOptions::new(&pair)).await.expect_err("it is closed");
    assert_eq!(failed, DialError::Closed);
    assert!(clone.find_peer(&unknown).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_rests_is_not_found_and_comes_back() {
    let network = network(5).await;
    let (here, there) = (guest(&network).await, guest(&network).await);
    let (ours, theirs) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let mut server = listen(&here, &ours).await;
    within(here.suspend()).await.expect("it is there");
    assert!(here.status().suspended);
    assert!(there.find_peer(&ours.public_key()).await.expect("it runs").is_empty());
    let failed = within(here.dial(&theirs.public_key(), DialOptions::new(&ours))).await;
    assert_eq!(failed.expect_err("it rests"), DialError::Suspended);
    assert!(here.find_peer(&theirs.public_key()).await.is_err());
    within(here.resume()).await.expect("it is there");
    within(async {
        while there.find_peer(&ours.public_key()).await.expect("it runs").len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let dialed = within(there.dial(&ours.public_key(), DialOptions::new(&theirs))).await.expect("it is back");
    let accepting =
        tokio::spawn(async move { echo(within(server.accept()).await.expect("it listens")).await });
    check(dialed, &ours, 10).await;
    within(accepting).await.expect("it does not panic");
}

/// Strangers send what they like to all sockets of a node that serves: who is served notices
/// nothing, and others still come.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_at_the_sockets() {
    let network = network(5).await;
    let (here, there) = (guest(&network).await, guest(&network).await);
    let (ours, theirs) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let mut server = listen(&here, &ours).await;
    tokio::spawn(async move {
        while let Some(accepted) = server.accept().await {
            tokio::spawn(echo(accepted));
        }
    });
    let target = here.local_address();
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let stranger = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let flood = tokio::task::spawn_blocking(move || {
        let mut sent = 0u64;
        let mut noise = 1u64;
        while !is_over.load(Ordering::Relaxed) {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut datagram: Vec<u8> = (0..noise >> 56).map(|at| (noise >> (at % 50)) as u8).collect();
            let first = [0x03, 0x13, 0xff, 0][(noise >> 40) as usize % 4];
            if let Some(at) = datagram.first_mut() {
                *at = first;
            }
            // If there is no room for it, it is lost.
            sent += u64::from(stranger.send_to(&datagram, target).is_ok());
            if sent.is_multiple_of(100) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        sent
    });
    for number in 0..5 {
        let dialed = within(there.dial(&ours.public_key(), DialOptions::new(&theirs))).await;
        check(dialed.unwrap_or_else(|error| panic!("{number}: {error}")), &ours, 1 << 20).await;
    }
    over.store(true, Ordering::Relaxed);
    let sent = flood.await.expect("it does not panic");
    assert!(sent > 1000, "{sent}");
    assert_eq!(here.status().stored, hyperswarm::hyperdht::Stored::default());
}
