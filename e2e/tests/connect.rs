//! npm `hyperdht` 6 and nodes of ours dial each other by their keys, on this machine: over
//! nodes of npm and over nodes of ours, in a private network and through firewalls.

use hyperspace_e2e::echo::{Serving, open};
use hyperspace_e2e::process::PATIENCE;
use hyperspace_e2e::told::{Told, hex};
use hyperswarm::blind_relay;
use hyperswarm::hyperdht::{DialError, DialOptions, Dialed, Endpoint, ListenOptions, Options};
use hyperswarm::{Event, KeyPair};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::task::JoinSet;

const MUCH: usize = 8 << 20;
const CHUNK: usize = 64 << 10;

fn seed(number: u8) -> [u8; 32] {
    [number; 32]
}

fn pair(number: u8) -> KeyPair {
    KeyPair::from_seed(&seed(number))
}

/// One more node of npm's, by its number.
async fn node(npm: &mut Told, stays: bool) -> u64 {
    npm.ask(json!({ "do": "node", "stays": stays })).await.as_u64().expect("a number")
}

async fn endpoint(bootstrap: SocketAddrV4, stays: bool) -> Endpoint {
    let options = Options {
        bootstrap: vec![bootstrap.into()],
        host: Ipv4Addr::LOCALHOST,
        port: 0,
        ephemeral: Some(!stays),
        firewalled: !stays,
        // On one machine, everybody could be reached.
        test_reachability: stays,
        ..Options::default()
    };
    let endpoint = Endpoint::bind(options).await.expect("sockets");
    let ready = endpoint.wait_until(|status| status.ready && (!stays || status.id.is_some()));
    assert!(within(ready).await);
    endpoint
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it does not take for ever")
}

/// Sends so much, and waits for it to come back.
async fn check(dialed: Dialed, size: usize) {
    let mut connection = open(dialed).await;
    let channel = connection.open("echo", b"", "").expect("it is open");
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
    let (mut sent, mut received) = (0, 0);
    while received < size {
        while sent < size && sent - received < 8 * CHUNK {
            let chunk: Vec<u8> = (sent..size.min(sent + CHUNK)).map(byte).collect();
            sent += chunk.len();
            connection.send(channel, 0, chunk).expect("there is room");
        }
        match within(connection.next()).await {
            Some(Event::Message { payload, .. }) => {
                assert!(payload.iter().enumerate().all(|(at, found)| *found == byte(received + at)));
                received += payload.len();
            }
            Some(_) => {}
            None => panic!("closed after {received} bytes: {:?}", connection.error()),
        }
    }
}

/// A server of ours that echoes whatever comes.
async fn serve(endpoint: &Endpoint, pair: &KeyPair, options: ListenOptions) -> (Serving, [u8; 32]) {
    let server = endpoint.listen(pair, options).await.expect("it listens");
    within(server.announced()).await;
    (Serving::new(server), pair.public_key())
}

/// Node dials us, and we dial Node, in every way that a machine alone allows.
async fn both_ways(ours: &Endpoint, npm: &mut Told, theirs: u64, punching: bool) {
    let before = ours.status().punches;
    let (served, key) = serve(ours, &pair(1), ListenOptions::default()).await;
    let key = hex(&key);
    for options in [
        json!({}),
        json!({ "localConnection": false }),
        json!({ "localConnection": false, "fastOpen": false }),
    ] {
        let mut dial =
            json!({ "do": "dial", "node": theirs, "seed": hex(&seed(2)), "key": key, "size": MUCH });
        for (name, value) in options.as_object().expect("an object") {
            dial[name] = value.clone();
        }
        let came = npm.ask(dial).await;
        assert_eq!(came[0]["same"], true, "{options}");
    }
    drop(served);

    let serve = json!({ "do": "serve", "node": theirs, "seed": hex(&seed(3)) });
    npm.ask(serve).await;
    for (local_connection, fast_open) in [(true, true), (false, true), (false, false)] {
        let options = DialOptions { local_connection, fast_open, ..DialOptions::new(&pair(4)) };
        let dialed = within(ours.dial(&pair(3).public_key(), options)).await;
        let dialed = dialed.unwrap_or_else(|error| panic!("{local_connection} {fast_open}: {error}"));
        assert_eq!(dialed.remote_public_key, pair(3).public_key());
        check(dialed, MUCH).await;
    }
    if punching {
        // Once as the server, once as the client: whoever may neither use a private network
        // nor open its firewall early.
        assert!(ours.status().punches.consistent >= before.consistent + 2, "{:?}", ours.status());
    }
    npm.ask(json!({ "do": "close" })).await;
    let failed = within(ours.dial(&pair(3).public_key(), DialOptions::new(&pair(4)))).await;
    assert_eq!(failed.expect_err("it is gone"), DialError::PeerNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_nodes_of_npm() {
    let mut npm = Told::start(&["net/connect-peer.js", "testnet", "8"]).await;
    for (stays, they_stay) in [(false, false), (true, false), (false, true)] {
        let ours = endpoint(npm.bootstrap, stays).await;
        let theirs = node(&mut npm, they_stay).await;
        both_ways(&ours, &mut npm, theirs, !stays && !they_stay).await;
        ours.close().await;
    }
}

/// A network of nodes of ours, and its first node.
async fn network(size: usize) -> (Vec<Endpoint>, SocketAddrV4) {
    let local = Options { host: Ipv4Addr::LOCALHOST, port: 0, is_first: true, ..Options::default() };
    let first = Endpoint::bind(local).await.expect("sockets");
    let bootstrap = first.local_address();
    let mut all = vec![first];
    for _ in 1..size {
        all.push(endpoint(bootstrap, true).await);
    }
    (all, bootstrap)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_nodes_of_ours() {
    let (network, bootstrap) = network(8).await;
    let mut npm = Told::start(&["net/connect-peer.js", "join", &bootstrap.port().to_string()]).await;
    let ours = endpoint(bootstrap, false).await;
    for they_stay in [false, true] {
        let theirs = node(&mut npm, they_stay).await;
        both_ways(&ours, &mut npm, theirs, !they_stay).await;
    }
    drop(network);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_by_us_learns_that_it_failed() {
    let (_network, bootstrap) = network(5).await;
    let mut npm = Told::start(&["net/connect-peer.js", "join", &bootstrap.port().to_string()]).await;
    let theirs = node(&mut npm, false).await;
    let ours = endpoint(bootstrap, false).await;
    let options =
        ListenOptions { firewall: Some(std::sync::Arc::new(|_, _| true)), ..ListenOptions::default() };
    let (_served, key) = serve(&ours, &pair(1), options).await;
    let fails = |key: &str| json!({ "do": "fails", "node": theirs, "seed": hex(&seed(2)), "key": key });
    assert_eq!(npm.ask(fails(&hex(&key))).await, "PEER_CONNECTION_FAILED");
    assert_eq!(npm.ask(fails(&hex(&pair(9).public_key()))).await, "PEER_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_of_them_at_one_of_ours() {
    let mut npm = Told::start(&["net/connect-peer.js", "testnet", "6"]).await;
    let ours = endpoint(npm.bootstrap, false).await;
    let (_served, key) = serve(&ours, &pair(1), ListenOptions::default()).await;
    let theirs = node(&mut npm, false).await;
    let dial = json!({ "do": "dial", "node": theirs, "key": hex(&key), "size": 100_000, "times": 30 });
    let came = npm.ask(dial).await;
    let came = came.as_array().expect("a list");
    assert_eq!(came.len(), 30);
    assert!(came.iter().all(|one| one["same"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_ours_at_thirty_of_theirs() {
    let mut npm = Told::start(&["net/connect-peer.js", "testnet", "6"]).await;
    let theirs = node(&mut npm, false).await;
    for number in 0..30 {
        npm.ask(json!({ "do": "serve", "node": theirs, "seed": hex(&seed(100 + number)) })).await;
    }
    let ours = endpoint(npm.bootstrap, false).await;
    let mut dials = JoinSet::new();
    for number in 0..30 {
        let ours = ours.clone();
        dials.spawn(async move {
            let key = pair(100 + number).public_key();
            let dialed = within(ours.dial(&key, DialOptions::new(&pair(2)))).await.expect("it is reached");
            check(dialed, 100_000).await;
        });
    }
    while let Some(dial) = dials.join_next().await {
        dial.expect("it is reached");
    }
}

/// A relay of ours.
async fn relay(endpoint: &Endpoint, pair: &KeyPair) -> (JoinSet<()>, blind_relay::Server) {
    let relay = blind_relay::Server::new(endpoint.udx().clone(), blind_relay::Limits::default());
    let mut server = endpoint.listen(pair, ListenOptions::default()).await.expect("it listens");
    within(server.announced()).await;
    let mut tasks = JoinSet::new();
    let relaying = relay.clone();
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        while let Some(dialed) = server.accept().await {
            let (relay, address) = (relaying.clone(), dialed.remote_address.ip());
            served.spawn(async move {
                let connection = dialed.connect(hyperswarm::Options::default()).await.expect("it opens");
                relay.serve(connection, Some(address)).await;
            });
        }
    });
    (tasks, relay)
}

/// Two that have no direct way are met at a third peer, whoever of the three is ours.
#[tokio::test(flavor = "multi_thread")]
async fn over_relays() {
    let mut npm = Told::start(&["net/connect-peer.js", "testnet", "6"]).await;
    let (at_npm, theirs) = (node(&mut npm, true).await, node(&mut npm, false).await);
    npm.ask(json!({ "do": "relay", "node": at_npm, "seed": hex(&seed(50)) })).await;
    let (at_ours, ours) = (endpoint(npm.bootstrap, true).await, endpoint(npm.bootstrap, false).await);
    let (_relaying, our_relay) = relay(&at_ours, &pair(51)).await;
    let serve_at = json!({
        "do": "serve", "node": theirs, "seed": hex(&seed(3)), "holepunch": false, "shareLocalAddress": false
    });
    npm.ask(serve_at).await;
    let made = |number: u64| {
        let stats = our_relay.stats();
        assert_eq!(stats.made, number, "{stats:?}");
    };
    for (turn, through) in [pair(50).public_key(), pair(51).public_key()].into_iter().enumerate() {
        // We ask for it.
        let options = DialOptions {
            relay_through: Some(through),
            local_connection: false,
            ..DialOptions::new(&pair(4))
        };
        let dialed = within(ours.dial(&pair(3).public_key(), options)).await.expect("it is met");
        assert!(dialed.is_relayed);
        check(dialed, MUCH).await;
        made(turn as u64);

        // Our server asks for it, and then the client.
        for (asks, number) in [(true, 10 + turn as u8), (false, 20 + turn as u8)] {
            let choice: hyperswarm::hyperdht::connect::RelayChoice =
                std::sync::Arc::new(move || Some(through));
            let options = ListenOptions {
                relay_through: asks.then_some(choice),
                share_local_address: false,
                holepunch: false,
                ..ListenOptions::default()
            };
            let (_served, key) = serve(&ours, &pair(number), options).await;
            let mut dial = json!({
                "do": "dial", "node": theirs, "seed": hex(&seed(2)), "key": hex(&key), "size": MUCH,
                "localConnection": false
            });
            if !asks {
                dial["relayThrough"] = hex(&through).into();
            }
            let came = npm.ask(dial).await;
            assert_eq!(came[0]["same"], true);
            made(turn as u64 * (2 + u64::from(!asks)));
        }
    }
}
