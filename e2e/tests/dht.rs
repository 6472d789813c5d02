//! npm `hyperdht` 6 and nodes of ours in one network on this machine: what the one
//! announces or has kept, the other finds.

#[path = "dht/twenty.rs"]
mod twenty;

use hyperspace_e2e::process::PATIENCE;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::told::{Told, hex, unhex};
use hyperswarm::KeyPair;
use hyperswarm::hyperdht::{Announcement, Endpoint, Options, target_of};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddrV4};

const TOPIC: [u8; 32] = [7; 32];

async fn endpoint(bootstrap: SocketAddrV4, persistent: bool) -> Endpoint {
    let options = Options {
        bootstrap: vec![bootstrap.into()],
        host: Ipv4Addr::LOCALHOST,
        port: 0,
        ephemeral: persistent.then_some(false),
        firewalled: !persistent,
        ..Options::default()
    };
    let endpoint = Endpoint::bind(options).await.expect("sockets");
    let ready = endpoint.wait_until(|status| status.ready && (!persistent || status.id.is_some()));
    assert!(tokio::time::timeout(PATIENCE, ready).await.expect("in time"));
    endpoint
}

async fn lookup(endpoint: &Endpoint, topic: [u8; 32]) -> Vec<String> {
    let mut lookup = endpoint.lookup(topic).await.expect("it runs");
    let mut found = std::collections::BTreeSet::new();
    while let Some((_, peers)) = lookup.next().await {
        found.extend(peers.peers.iter().map(|peer| hex(&peer.public_key)));
    }
    found.into_iter().collect()
}

/// Everything that two can do for each other, in whosever network.
async fn everything_works(ours: &Endpoint, npm: &mut Told) {
    let (topic, pair, theirs) = (hex(&TOPIC), KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    let (our_key, their_key) = (hex(&pair.public_key()), hex(&theirs.public_key()));

    // Announced by the one, found by the other, and taken back.
    let relays = vec!["127.0.0.1:4242".parse().expect("an address")];
    let summary = ours.announce(Announcement::new(TOPIC, &pair, relays)).await.expect("it is kept");
    assert!(summary.outcome.committed >= 3 && summary.outcome.silent_commits.is_empty(), "{summary:?}");
    assert_eq!(npm.ask(json!({ "do": "lookup", "topic": topic })).await, json!([our_key]));
    npm.ask(json!({ "do": "announce", "topic": topic, "seed": hex(&[2; 32]) })).await;
    let mut both = [our_key.clone(), their_key.clone()];
    both.sort();
    assert_eq!(lookup(ours, TOPIC).await, both);
    let summary = ours.unannounce(TOPIC, &pair).await.expect("it is taken back");
    assert!(summary.unannounced >= 3, "{summary:?}");
    assert_eq!(npm.ask(json!({ "do": "lookup", "topic": topic })).await, json!([their_key]));
    npm.ask(json!({ "do": "unannounce", "topic": topic, "seed": hex(&[2; 32]) })).await;
    assert!(lookup(ours, TOPIC).await.is_empty());

    // The holder of a key.
    let own = target_of(&pair.public_key());
    let summary = ours.announce(Announcement::new(own, &pair, Vec::new())).await.expect("it is kept");
    assert_eq!(summary.outcome.committed, 3, "{summary:?}");
    let found = npm.ask(json!({ "do": "findPeer", "key": our_key })).await;
    let found = found.as_array().expect("a list");
    // It does not ask itself, and may be one of the three.
    assert!((2..=3).contains(&found.len()) && found.iter().all(|key| *key == our_key), "{found:?}");
    npm.ask(json!({ "do": "listen", "seed": hex(&[2; 32]) })).await;
    let found = ours.find_peer(&theirs.public_key()).await.expect("it runs");
    // Their own node may answer, too, and ours not be asked.
    assert!(found.len() >= 2 && found.iter().all(|(_, peer)| peer.public_key == theirs.public_key()));
    npm.ask(json!({ "do": "unlisten" })).await;
    assert!(ours.find_peer(&theirs.public_key()).await.expect("it runs").is_empty());
    ours.unannounce(own, &pair).await.expect("it is taken back");
    assert_eq!(npm.ask(json!({ "do": "findPeer", "key": our_key })).await, json!([]));

    // Records.
    let hash = npm.ask(json!({ "do": "immutablePut", "value": "from npm" })).await;
    let found = ours.immutable_get(unhex(&hash)).await.expect("it runs");
    assert_eq!(found.as_deref(), Some(&b"from npm"[..]));
    ours.immutable_put(b"from us".to_vec()).await.expect("it is kept");
    let hash = blake2b_simd::Params::new().hash_length(32).hash(b"from us");
    let found = npm.ask(json!({ "do": "immutableGet", "hash": hash.to_hex().as_str() })).await;
    assert_eq!(found, "from us");
    ours.mutable_put(&pair, 5, b"five".to_vec()).await.expect("it is kept");
    let found = npm.ask(json!({ "do": "mutableGet", "key": our_key })).await;
    assert_eq!(found, json!({ "seq": 5, "value": "five" }));
    for seq in [1, 2] {
        let put = json!({ "do": "mutablePut", "seed": hex(&[2; 32]), "value": format!("{seq}"), "seq": seq });
        npm.ask(put).await;
    }
    let found = ours.mutable_get(&theirs.public_key(), 0, true).await.expect("it runs").expect("it is there");
    assert_eq!((found.seq, &found.value[..]), (2, &b"2"[..]));
    assert!(ours.mutable_put(&pair, 4, b"older".to_vec()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_ours_in_a_network_of_npm() {
    let mut npm = Told::start(&["net/dht-peer.js", "testnet", "8"]).await;
    // Once as a guest, once as one that keeps things as well.
    for persistent in [false, true] {
        let ours = endpoint(npm.bootstrap, persistent).await;
        assert!(ours.status().known >= 3, "{:?}", ours.status());
        everything_works(&ours, &mut npm).await;
        if persistent {
            let port = ours.local_address().port();
            let known = npm.ask(json!({ "do": "knows", "port": port })).await;
            assert_eq!(known, true, "npm takes our node into its table");
            let stored = ours.status().stored;
            assert!(stored.records > 0, "npm has things kept by our node: {stored:?}");
        }
        ours.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_npm_in_a_network_of_ours() {
    let local = Options { host: Ipv4Addr::LOCALHOST, port: 0, ..Options::default() };
    let first = Endpoint::bind(Options { is_first: true, ..local }).await.expect("sockets");
    assert!(first.ready().await);
    let mut all = Vec::new();
    for _ in 0..7 {
        all.push(endpoint(first.local_address(), true).await);
    }
    let mut npm = Told::start(&["net/dht-peer.js", "join", &first.local_address().port().to_string()]).await;
    everything_works(&all[6], &mut npm).await;
    assert!(all.iter().all(|node| node.status().stored.records > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_remembers_nodes_finds_back_without_a_bootstrap() {
    let npm = Told::start(&["net/dht-peer.js", "testnet", "6"]).await;
    let scratch = Scratch::new();
    let file = scratch.path().join("nodes");
    let options = |bootstrap| Options {
        bootstrap,
        remember: Some(file.clone()),
        host: Ipv4Addr::LOCALHOST,
        port: 0,
        ..Options::default()
    };
    let ours = Endpoint::bind(options(vec![npm.bootstrap.into()])).await.expect("sockets");
    assert!(ours.ready().await);
    let pair = KeyPair::from_seed(&[3; 32]);
    ours.announce(Announcement::new(TOPIC, &pair, Vec::new())).await.expect("it is kept");
    ours.close().await;
    let again = Endpoint::bind(options(Vec::new())).await.expect("sockets");
    assert!(again.ready().await);
    assert_eq!(lookup(&again, TOPIC).await, [hex(&pair.public_key())]);
}
