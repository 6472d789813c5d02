//! Networks of twenty nodes, ours, npm's, and of both: what one guest announces, has kept or
//! serves there, all the others find, whoever's they are; also when a quarter of the network
//! is gone without a word.

use hyperspace_e2e::dht::Dht;
use hyperspace_e2e::echo::{Serving, say};
use hyperspace_e2e::process::PATIENCE;
use hyperspace_e2e::told::{Told, hex, unhex};
use hyperswarm::KeyPair;
use hyperswarm::hyperdht::{Announcement, DialOptions, Endpoint, ListenOptions, Options};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::task::JoinSet;

const NODES: usize = 20;
/// So many of them are killed.
const KILLED: usize = 5;
const TOPIC: [u8; 32] = [20; 32];

/// Somebody in the network who keeps nothing for others.
enum Guest {
    Ours { endpoint: Endpoint, serving: Option<Serving> },
    Npm(Box<Told>),
}

/// Guests are told apart by the seeds of their keys.
fn pair(guest: usize) -> KeyPair {
    KeyPair::from_seed(&seed(guest))
}

fn seed(guest: usize) -> [u8; 32] {
    [100 + guest as u8; 32]
}

fn key(guest: usize) -> String {
    hex(&pair(guest).public_key())
}

impl Guest {
    async fn ours(bootstrap: SocketAddrV4) -> Self {
        let options = Options {
            bootstrap: vec![bootstrap.into()],
            host: Ipv4Addr::LOCALHOST,
            port: 0,
            ephemeral: Some(true),
            // On one machine, everybody could be reached.
            test_reachability: false,
            ..Options::default()
        };
        let endpoint = Endpoint::bind(options).await.expect("sockets");
        assert!(endpoint.ready().await);
        Self::Ours { endpoint, serving: None }
    }

    async fn npm(bootstrap: SocketAddrV4) -> Self {
        Self::Npm(Box::new(Told::start(&["net/dht-peer.js", "visit", &bootstrap.port().to_string()]).await))
    }

    /// Announces itself; gives how many nodes keep that.
    async fn announce(&mut self, own: usize) -> usize {
        match self {
            Self::Ours { endpoint, .. } => {
                let announcement = Announcement::new(TOPIC, &pair(own), Vec::new());
                endpoint.announce(announcement).await.expect("it is kept").outcome.committed
            }
            Self::Npm(npm) => {
                let announce = json!({ "do": "announce", "topic": hex(&TOPIC), "seed": hex(&seed(own)) });
                serde_json::from_value(npm.ask(announce).await).expect("a number")
            }
        }
    }

    async fn unannounce(&mut self, own: usize) {
        match self {
            Self::Ours { endpoint, .. } => {
                let summary = endpoint.unannounce(TOPIC, &pair(own)).await.expect("it is taken back");
                assert_eq!(summary.unannounced, NODES, "{summary:?}");
            }
            Self::Npm(npm) => {
                let back = json!({ "do": "unannounce", "topic": hex(&TOPIC), "seed": hex(&seed(own)) });
                npm.ask(back).await;
            }
        }
    }

    /// Who is announced, and what is found of each guest: at the same time, since those who
    /// are dead are waited for.
    async fn find(&mut self, guests: usize) -> Found {
        let hashes: Vec<_> = (0..guests).map(|guest| hash_of(&value(guest))).collect();
        match self {
            Self::Ours { endpoint, .. } => {
                let records = async {
                    let mut gets = JoinSet::new();
                    for (guest, hash) in hashes.into_iter().enumerate() {
                        gets.spawn(get(endpoint.clone(), guest, hash));
                    }
                    gets.join_all().await.into_iter().collect()
                };
                let (announced, records) = tokio::join!(lookup(endpoint), records);
                Found { announced: announced.0, records }
            }
            Self::Npm(npm) => {
                let hashes: Vec<_> = hashes.iter().map(|hash| hex(hash)).collect();
                let keys: Vec<_> = (0..guests).map(key).collect();
                let find = json!({ "do": "find", "topic": hex(&TOPIC), "hashes": hashes, "keys": keys });
                let found = npm.ask(find).await;
                let record = |guest| Record {
                    fixed: found["fixed"][guest].as_str().map(str::to_owned),
                    latest: {
                        let latest = &found["latest"][guest];
                        latest["seq"].as_u64().zip(latest["value"].as_str().map(str::to_owned))
                    },
                };
                Found {
                    announced: serde_json::from_value(found["announced"].clone()).expect("keys"),
                    records: (0..guests).map(|guest| (guest, record(guest))).collect(),
                }
            }
        }
    }

    /// Has a value kept under its hash, and one under its key.
    async fn put(&mut self, own: usize) {
        let value = value(own);
        match self {
            Self::Ours { endpoint, .. } => {
                let kept = endpoint.immutable_put(value.clone().into()).await.expect("it is kept");
                assert_eq!(kept.outcome.committed, NODES, "{kept:?}");
                let kept = endpoint.mutable_put(&pair(own), 3, value.into()).await.expect("it is kept");
                assert_eq!(kept.outcome.committed, NODES, "{kept:?}");
            }
            Self::Npm(npm) => {
                let hash = npm.ask(json!({ "do": "immutablePut", "value": value })).await;
                assert_eq!(unhex(&hash), hash_of(&value));
                let put = json!({ "do": "mutablePut", "seed": hex(&seed(own)), "value": value, "seq": 3 });
                npm.ask(put).await;
            }
        }
    }

    async fn listen(&mut self, own: usize) {
        match self {
            Self::Ours { endpoint, serving } => {
                let server = endpoint.listen(&pair(own), ListenOptions::default()).await.expect("it listens");
                server.announced().await;
                *serving = Some(Serving::new(server));
            }
            Self::Npm(npm) => {
                npm.ask(json!({ "do": "listen", "seed": hex(&seed(own)) })).await;
            }
        }
    }

    /// Dials that guest, and gives what it says to a greeting.
    async fn dial(&mut self, own: usize, other: usize, text: &str) -> String {
        match self {
            Self::Ours { endpoint, .. } => {
                let dialed = endpoint.dial(&pair(other).public_key(), DialOptions::new(&pair(own))).await;
                say(dialed.expect("it is reached"), text).await
            }
            Self::Npm(npm) => {
                let dial = json!({ "do": "dial", "key": key(other), "seed": hex(&seed(own)), "text": text });
                npm.ask(dial).await.as_str().expect("text").to_owned()
            }
        }
    }
}

fn value(guest: usize) -> String {
    format!("of guest {guest}")
}

fn hash_of(value: &str) -> [u8; 32] {
    let hash = blake2b_simd::Params::new().hash_length(32).hash(value.as_bytes());
    hash.as_bytes().try_into().expect("32 bytes")
}

/// What a guest has put.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    fixed: Option<String>,
    latest: Option<(u64, String)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    announced: BTreeSet<String>,
    records: BTreeMap<usize, Record>,
}

/// Who is announced; and how many nodes were asked in vain.
async fn lookup(endpoint: &Endpoint) -> (BTreeSet<String>, usize) {
    let mut lookup = endpoint.lookup(TOPIC).await.expect("it runs");
    let mut found = BTreeSet::new();
    while let Some((_, peers)) = lookup.next().await {
        found.extend(peers.peers.iter().map(|peer| hex(&peer.public_key)));
    }
    (found, lookup.summary().expect("it is over").outcome.failures)
}

async fn get(endpoint: Endpoint, guest: usize, hash: [u8; 32]) -> (usize, Record) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let fixed = endpoint.immutable_get(hash).await.expect("it runs").map(text);
    let latest = endpoint.mutable_get(&pair(guest).public_key(), 0, true).await.expect("it runs");
    (guest, Record { fixed, latest: latest.map(|record| (record.seq, text(record.value))) })
}

/// Everything is found by everybody.
async fn all_is_found(guests: &mut Vec<Guest>, announced: &BTreeSet<String>) {
    let count = guests.len();
    let all = |guest| Record { fixed: Some(value(guest)), latest: Some((3, value(guest))) };
    let all = Found {
        announced: announced.clone(),
        records: (0..count).map(|guest| (guest, all(guest))).collect(),
    };
    let mut finding = JoinSet::new();
    for (number, mut guest) in guests.drain(..).enumerate() {
        finding.spawn(async move { (number, guest.find(count).await, guest) });
    }
    let mut found = finding.join_all().await;
    found.sort_by_key(|(number, ..)| *number);
    for (number, found, guest) in found {
        assert_eq!(found, all, "by guest {number}");
        guests.push(guest);
    }
}

/// Two of ours and two of npm's in that network of twenty; `kill` takes five nodes away.
async fn guests_of_both_kinds(bootstrap: SocketAddrV4, kill: impl AsyncFnOnce()) -> Vec<Guest> {
    let mut guests = vec![
        Guest::ours(bootstrap).await,
        Guest::ours(bootstrap).await,
        Guest::npm(bootstrap).await,
        Guest::npm(bootstrap).await,
    ];
    let everybody: BTreeSet<String> = (0..guests.len()).map(key).collect();
    for (own, guest) in guests.iter_mut().enumerate() {
        assert_eq!(guest.announce(own).await, NODES, "each node of the network keeps it");
        guest.put(own).await;
    }
    all_is_found(&mut guests, &everybody).await;

    // Each dials each.
    for (own, guest) in guests.iter_mut().enumerate() {
        guest.listen(own).await;
    }
    for own in 0..guests.len() {
        for other in (0..guests.len()).filter(|other| *other != own) {
            let greeting = format!("{own} to {other}");
            let dial = tokio::time::timeout(PATIENCE, guests[own].dial(own, other, &greeting));
            assert_eq!(dial.await.unwrap_or_else(|_| panic!("{greeting}: not in time")), greeting);
        }
    }

    // One of each kind takes it back.
    let left = [1, 3].map(key).into();
    for own in [0, 2] {
        guests[own].unannounce(own).await;
    }
    all_is_found(&mut guests, &left).await;

    kill().await;
    all_is_found(&mut guests, &left).await;
    guests
}

fn address(bootstrap: &str) -> SocketAddrV4 {
    bootstrap.parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_of_ours() {
    let mut dht = tokio::task::block_in_place(|| Dht::of(NODES));
    let guests = guests_of_both_kinds(address(dht.bootstrap()), async || dht.kill(KILLED)).await;

    // Who has found out that they are dead has told those who named them: these look for
    // themselves, and name them no more.
    let Some(Guest::Ours { endpoint, .. }) = guests.first() else { panic!("the first is ours") };
    let forgotten = async { while lookup(endpoint).await.1 > 0 {} };
    tokio::time::timeout(PATIENCE, forgotten).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_of_npm() {
    let mut dht = Told::start(&["net/dht-peer.js", "testnet", &NODES.to_string()]).await;
    let bootstrap = dht.bootstrap;
    let kill = async || {
        assert_eq!(dht.ask(json!({ "do": "kill", "count": KILLED })).await, NODES - KILLED);
    };
    guests_of_both_kinds(bootstrap, kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_of_each() {
    let mut npm = Told::start(&["net/dht-peer.js", "testnet", "10"]).await;
    let bootstrap = npm.bootstrap;
    let mut ours = tokio::task::block_in_place(|| Dht::joining(bootstrap.to_string(), NODES - 10));
    let kill = async || {
        npm.ask(json!({ "do": "kill", "count": 2 })).await;
        ours.kill(KILLED - 2);
    };
    guests_of_both_kinds(bootstrap, kill).await;
}
