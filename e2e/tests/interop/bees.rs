//! Bees that we hold, looked up in by npm hyperbee from far away: what a lookup or a listing
//! needs is told by us, so that it does not take a round trip for each level of the tree.

use crate::js::JsPeer;
use crate::line::Line;
use crate::rust::RustPeer;
use crate::side::block;
use hyperspace_e2e::random::Random;
use serde_json::{Value, json};
use std::time::Duration;

/// There and back.
const AWAY: Duration = Duration::from_millis(300);

/// A bee of a Node peer, a server of ours that has all of it, and a Node peer that has nothing
/// and is far away from the server.
struct Far {
    key: String,
    /// What is in it.
    made: Value,
    reader: JsPeer,
    _line: Line,
    _server: RustPeer,
    _writer: JsPeer,
}

impl Far {
    async fn new(entries: u64) -> Self {
        let [writer, reader] = [(); 2].map(|()| JsPeer::start().expect("node starts"));
        let server = RustPeer::start().await.expect("a server starts");
        let port = writer.run("listen", json!({})).await.expect("it listens")["port"].as_u64();
        server.connect(port.expect("a port") as u16).expect("it calls");
        let made = writer.run("bee", json!({ "name": "bee", "count": entries })).await.expect("written");
        let key = made["key"].as_str().expect("a key").to_owned();
        let info = writer.run("info", json!({ "key": key })).await.expect("it has the core");
        server.open(&key).await.expect("it opens");
        server.reach(&key, info["length"].as_u64().expect("a length"), 0).await.expect("it comes");
        let port = server.listen().await.expect("it listens");
        let line = Line::to(port, AWAY / 2).await.expect("a line");
        reader.run("connect", json!({ "port": line.port() })).await.expect("it connects");
        Self { key, made, reader, _line: line, _server: server, _writer: writer }
    }

    async fn read(&self, what: &str, mut how: Value) -> Value {
        how["key"] = self.key.clone().into();
        self.reader.run(what, how).await.expect("it reads")
    }

    async fn no_faults(&self) {
        assert_eq!(self.reader.faults().await.expect("it answers"), Vec::<String>::new());
    }
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn round_trips(of: &Value) -> f64 {
    number(of, "ms") / AWAY.as_secs_f64() / 1000.0
}

/// The least of them: what a busy machine adds is no part of it.
fn least(of: &[Value], what: impl Fn(&Value) -> f64) -> f64 {
    of.iter().map(what).fold(f64::INFINITY, f64::min)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_takes_two_round_trips_and_not_one_a_level() {
    const ENTRIES: u64 = 10_000;
    let far = Far::new(ENTRIES).await;
    let numbers: Vec<u64> = (0..9).map(|at| at * 997 + 13).collect();
    let keys: Vec<String> = numbers.iter().map(|at| format!("key {}", at * 7919 % ENTRIES)).collect();
    let mut both = Vec::new();
    for extension in [true, false] {
        let mut found = far.read("beeLookups", json!({ "keys": keys, "extension": extension })).await;
        let found: Vec<Value> = serde_json::from_value(found["lookups"].take()).expect("lookups");
        for (at, lookup) in numbers.iter().zip(&found) {
            assert_eq!(lookup["value"].as_str().map(str::as_bytes), Some(&block(*at, 0)[..]), "{lookup}");
            let told = [number(lookup, "queries"), number(lookup, "answers")];
            assert_eq!(told, if extension { [1.0, 1.0] } else { [0.0, 0.0] }, "{lookup}");
        }
        let trips = least(&found, round_trips);
        let requests: f64 = found.iter().map(|lookup| number(lookup, "requests")).sum();
        println!("a lookup, told {extension}: {trips:.1} round trips, {requests} requests in all");
        both.push((trips, requests));
    }
    let [(with, fewer), (without, more)] = both[..] else { unreachable!("it was looked up twice") };
    // The root and the hint, then all that it names. Without it, level by level.
    assert!(with < 3.5, "{with}");
    assert!(without > with * 1.5, "{with} {without}");
    assert!(fewer < more, "{fewer} {more}");
    far.no_faults().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_told_what_comes_next() {
    let far = Far::new(5000).await;
    let all = far.read("beeListing", json!({ "extension": true })).await;
    assert_eq!([&all["count"], &all["digest"]], [&far.made["count"], &far.made["digest"]]);
    // It asks again after 2,048 blocks; we tell it 128 of them at a time.
    assert!(number(&all, "queries") >= 2.0 && number(&all, "answers") >= 10.0, "{all}");
    assert!(number(&all, "blocks") > 2000.0, "{all}");
    let mut some = Vec::new();
    for extension in [true, false] {
        let listed = far.read("beeListing", json!({ "extension": extension, "limit": 300 })).await;
        println!("300 of 5,000 entries, told {extension}: {:.1} round trips", round_trips(&listed));
        some.push(listed);
    }
    let [with, without] = &some[..] else { unreachable!("it was listed twice") };
    assert_eq!([&with["count"], &with["digest"]], [&json!(300), &without["digest"]]);
    assert_eq!(number(without, "queries"), 0.0);
    assert!(round_trips(with) * 2.0 < round_trips(without), "{with} {without}");
    far.no_faults().await;
}

/// Queries, and what looks like some.
fn garbage() -> Vec<String> {
    let mut random = Random::new(7);
    let mut payloads: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0xff; 9],
        // Its length is more than there is of it.
        vec![0xfd, 0xff, 0xff, 1],
        // A get of a version that there is not, and of the last there could be.
        vec![8, 0x12, 6, 8, 0xff, 0xff, 0x7f, 0x12, 0],
        vec![13, 0x12, 11, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x12, 0],
        // An iterator from where no block is.
        vec![12, 0x1a, 10, 8, 50, 0x42, 6, 0xff, 0x7f, 0xff, 0x7f, 0, 0],
        vec![b'x'; 100_000],
    ];
    let query = [14, 0x1a, 12, 8, 100, 0x12, 1, b'k', 0x38, 0, 0x42, 3, 99, 0, 1];
    for _ in 0..2000 {
        let mut mutant = query.to_vec();
        for _ in 0..1 + random.below(4) {
            let at = random.below(mutant.len() as u64) as usize;
            mutant[at] = random.below(256) as u8;
        }
        payloads.push(mutant);
        payloads.push((0..random.below(60)).map(|_| random.below(256) as u8).collect());
    }
    payloads.iter().map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_its_place_does_no_harm() {
    let far = Far::new(1000).await;
    far.read("open", json!({})).await;
    far.read("extend", json!({ "name": "hyperbee", "payloads": garbage() })).await;
    let mut found = far.read("beeLookups", json!({ "keys": ["key 500"], "extension": true })).await;
    let lookup = found["lookups"][0].take();
    // It is still connected, and answered as ever.
    assert!(lookup["value"].is_string(), "{lookup}");
    assert!(number(&lookup, "queries") == 1.0 && number(&lookup, "answers") >= 1.0, "{lookup}");
    far.no_faults().await;
}
