//! The client against the real server, in this process but over real sockets.

use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use hyperspace::{Config, RunningServer, Storage};
use hyperspace_api::{Core, CoreError, CoreEvent, Corestore, DiscoveryKey, GetOptions, OpenTarget, Seek};
use hyperspace_client::{
    ClientOptions, Endpoint, HyperspaceClient, NetworkConfig, ReadStreamOptions, RemoteHypercore,
};
use std::path::Path;
use std::time::Duration;

/// A server on a socket of its own, that may be stopped and started again.
struct Place {
    dir: tempfile::TempDir,
    server: Option<RunningServer>,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Some(start(dir.path()).await);
        Self { dir, server }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.dir.path().join("server.sock"))
    }

    async fn connect(&self) -> HyperspaceClient {
        HyperspaceClient::connect(self.endpoint()).await.unwrap()
    }

    async fn connect_with(&self, options: ClientOptions) -> HyperspaceClient {
        HyperspaceClient::connect_with(self.endpoint(), options).await.unwrap()
    }

    async fn stop(&mut self) {
        self.server.take().unwrap().shutdown().await.unwrap();
    }

    async fn start(&mut self) {
        self.server = Some(start(self.dir.path()).await);
    }
}

async fn start(dir: &Path) -> RunningServer {
    let config = Config {
        storage: Storage::Folder(dir.join("storage")),
        endpoint: Some(hyperspace::Endpoint::Unix(dir.join("server.sock"))),
        no_announce: true,
        ..Config::default()
    };
    hyperspace::start(config).await.unwrap()
}

async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"))
}

fn named(name: &str) -> OpenTarget {
    OpenTarget::Name(name.into())
}

fn blocks(texts: &[&str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
}

/// What the traits promise, as `hyperspace_api::memory` has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behaves_as_the_traits_say() {
    let place = Place::new().await;
    let client = place.connect().await;
    let store = client.corestore(None);
    let core = store.open(OpenTarget::New).await.unwrap();
    assert!(core.writable());
    assert_eq!((core.length(), core.byte_length()), (0, 0));
    assert_eq!(core.discovery_key(), core.key().discovery_key());
    let mut events = core.events();

    let appended = core.append(blocks(&["ab", "", "cde"]), Some(0)).await.unwrap();
    assert_eq!((appended.first, appended.length, appended.byte_length), (0, 3, 5));
    assert_eq!((core.length(), core.byte_length()), (3, 5));
    assert_eq!(
        soon("the event", events.recv()).await.unwrap(),
        CoreEvent::Append { length: 3, byte_length: 5 }
    );
    assert_eq!(core.append(blocks(&["x"]), Some(2)).await, Err(CoreError::Conflict { length: 3 }));
    let empty = core.append(Vec::new(), None).await.unwrap();
    assert_eq!((empty.length, core.length()), (3, 3));

    assert_eq!(core.get(0, GetOptions::default()).await.unwrap(), "ab");
    assert_eq!(core.get(1, GetOptions::LOCAL).await.unwrap(), "");
    assert_eq!(core.get(3, GetOptions::LOCAL).await, Err(CoreError::NotDownloaded));
    assert!(core.has(2).await.unwrap() && !core.has(3).await.unwrap());
    assert_eq!(core.seek(2, GetOptions::LOCAL).await, Ok(Seek { index: 2, offset: 0 }));
    assert_eq!(core.seek(5, GetOptions::LOCAL).await, Ok(Seek { index: 3, offset: 0 }));
    assert!(core.seek(6, GetOptions::LOCAL).await.is_err());
    assert_eq!(core.downloaded(0, 3).await, Ok(3));
    soon("a complete download", core.download(0, 3)).await.unwrap();
    core.flush().await.unwrap();

    core.clear(0, 2).await.unwrap();
    assert_eq!(core.get_now(0), None);
    assert_eq!(core.get(0, GetOptions::LOCAL).await, Err(CoreError::NotDownloaded));
    assert_eq!(core.get(2, GetOptions::LOCAL).await.unwrap(), "cde");
    assert_eq!(core.downloaded(0, 3).await, Ok(1));
    let info = core.info().await.unwrap();
    assert_eq!((info.length, info.byte_length, info.fork, info.contiguous_length), (3, 5, 0, 0));
    assert!(!core.update(Some(9)).await.unwrap());
    assert!(core.update(Some(3)).await.unwrap());
    assert_eq!(core.peers(), []);

    let other = store.open(OpenTarget::Key([9; 32].into())).await.unwrap();
    assert!(!other.writable());
    assert_eq!(other.append(blocks(&["y"]), None).await, Err(CoreError::NotWritable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_see_each_others_appends() {
    let place = Place::new().await;
    let (one, two) = (place.connect().await, place.connect().await);
    let a = one.corestore(None).open(named("shared")).await.unwrap();
    let b = two.corestore(Some("shared")).default_core().await.unwrap();
    assert_eq!(a.key(), b.key());
    let mut events = b.events();
    for n in 0..50_u64 {
        let (writer, reader) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let text = format!("block {n}");
        writer.append(vec![text.clone().into()], Some(n)).await.unwrap();
        let behind = reader.append(vec!["late".into()], Some(n)).await;
        assert_eq!(behind, Err(CoreError::Conflict { length: n + 1 }));
        // The event came before the conflict's reply.
        assert_eq!(reader.length(), n + 1);
        assert_eq!(reader.get(n, GetOptions::default()).await.unwrap(), text);
        let event = soon("an event", events.recv()).await.unwrap();
        assert!(matches!(event, CoreEvent::Append { length, .. } if length == n + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_held_by_one() {
    let place = Place::new().await;
    let (one, two) = (place.connect().await, place.connect().await);
    let a = one.corestore(None).open(named("locked")).await.unwrap();
    let b = two.corestore(None).open(named("locked")).await.unwrap();
    let held = a.lock().await.unwrap();
    let mut waiting = Box::pin(b.lock());
    assert!(waiting.as_mut().now_or_never().is_none());
    let given_up = b.lock();
    assert!(tokio::time::timeout(Duration::from_millis(20), given_up).await.is_err());
    assert!(!held.is_lost());
    drop(held);
    let held = soon("the lock", waiting).await.unwrap();
    held.release().await.unwrap();
    drop(soon("the lock", a.lock()).await.unwrap());
    // Given up while it waited: granted later, and passed on.
    let held = a.lock().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), b.lock()).await.is_err());
    drop(held);
    drop(soon("the lock", a.lock()).await.unwrap());
    // With its client a lock goes too.
    let held = b.lock().await.unwrap();
    two.close();
    assert!(held.is_lost());
    drop(soon("the lock", a.lock()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comes_back_with_the_server() {
    let mut place = Place::new().await;
    let client = place.connect().await;
    let store = client.corestore(None);
    let cores: Vec<RemoteHypercore> =
        join_all((0..20).map(|n| store.open(named(&format!("core {n}"))).map(Result::unwrap))).await;
    for (n, core) in cores.iter().enumerate() {
        core.append(vec![format!("first of {n}").into()], None).await.unwrap();
    }
    let topic = DiscoveryKey::from([3; 32]);
    let config = NetworkConfig { lookup: Some(true), ..NetworkConfig::new(topic) };
    client.network().configure(config).await.unwrap().unwrap();
    // A call that waits for something; its answer never comes.
    let waiting = tokio::spawn({
        let core = cores[0].clone();
        async move { core.update_with(Some(3), false, true).await }
    });
    soon("asked", async { while cores[0].get(0, GetOptions::default()).await.is_err() {} }).await;

    place.stop().await;
    // Made while it is away, answered when it is back.
    let meanwhile = tokio::spawn({
        let core = cores[7].clone();
        async move { core.has(0).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!client.is_connected());
    place.start().await;
    assert!(soon("the answer", meanwhile).await.unwrap().unwrap());
    for (n, core) in cores.iter().enumerate() {
        let got = soon("a get", core.get(0, GetOptions::default())).await.unwrap();
        assert_eq!(got, format!("first of {n}"));
        assert_eq!(core.length(), 1);
        assert!(core.writable());
        let mut events = core.events();
        core.append(blocks(&["second"]), Some(1)).await.unwrap();
        assert_eq!(core.length(), 2);
        assert!(soon("its event", events.recv()).await.is_ok());
    }
    let status = client.network().status(topic).await.unwrap().unwrap();
    assert!(status.lookup && !status.announce);
    // The update that was interrupted was asked again.
    cores[0].append(blocks(&["third"]), None).await.unwrap();
    assert!(soon("the update", waiting).await.unwrap().unwrap());
    // Once more, with the same handles.
    place.stop().await;
    place.start().await;
    assert_eq!(soon("a get", cores[0].get(2, GetOptions::default())).await.unwrap(), "third");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fails_clearly_and_soon_when_the_server_is_away() {
    let mut place = Place::new().await;
    let patience = Duration::from_millis(200);
    let client = place.connect_with(ClientOptions { patience, ..ClientOptions::default() }).await;
    let core = client.corestore(None).open(named("x")).await.unwrap();
    core.append(blocks(&["a", "b"]), None).await.unwrap();
    place.stop().await;
    for result in [
        soon("get", core.get(0, GetOptions { timeout: None, ..GetOptions::default() })).await.map(drop),
        soon("append", core.append(blocks(&["c"]), None)).await.map(drop),
        soon("lock", core.lock()).await.map(drop),
        soon("open", client.corestore(None).open(OpenTarget::New)).await.map(drop),
        soon("status", client.status()).await.map(drop),
    ] {
        // What is in the cache may still be read.
        if result.is_ok() {
            assert!(core.get_now(0).is_some());
            continue;
        }
        let Err(CoreError::Disconnected(text)) = &result else { panic!("{result:?}") };
        assert!(text.contains("server.sock") && text.contains("`hyperspace`"), "{text}");
    }
    let nobody = HyperspaceClient::connect(place.endpoint()).await.map(drop);
    assert!(matches!(nobody, Err(CoreError::Disconnected(_))));
    let never = HyperspaceClient::server_ready(&place.endpoint(), Duration::from_millis(100)).await;
    assert!(never.is_err());
    let ready = tokio::spawn({
        let endpoint = place.endpoint();
        async move { HyperspaceClient::server_ready(&endpoint, Duration::from_secs(10)).await }
    });
    place.start().await;
    soon("ready", ready).await.unwrap().unwrap();
    assert_eq!(soon("a get", core.get(1, GetOptions::default())).await.unwrap(), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_hurry_nobody_waits_for_a_server_that_is_away() {
    let mut place = Place::new().await;
    let patience = Duration::from_secs(3600);
    let client = place.connect_with(ClientOptions { patience, cache_bytes: 0, ..ClientOptions::default() });
    let client = client.await;
    let core = client.corestore(None).open(named("x")).await.unwrap();
    core.append(blocks(&["a"]), None).await.unwrap();
    place.stop().await;
    let waits = tokio::spawn({
        let core = core.clone();
        async move { core.get(0, GetOptions { timeout: None, ..GetOptions::default() }).await }
    });
    client.hurry(Duration::from_millis(50));
    // A later moment does not count.
    client.hurry(patience);
    let waited = soon("who waited", waits).await.unwrap();
    assert!(matches!(waited, Err(CoreError::Disconnected(_))), "{waited:?}");
    let later = soon("who came later", client.status()).await;
    assert!(matches!(later, Err(CoreError::Disconnected(_))), "{later:?}");
    // One that is back is as good as ever.
    place.start().await;
    while !client.is_connected() {
        tokio::task::yield_now().await;
    }
    assert_eq!(soon("a get", core.get(0, GetOptions::default())).await.unwrap(), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_stops_the_server() {
    let place = Place::new().await;
    let client = place.connect().await;
    let status = client.status().await.unwrap();
    assert_eq!(status.api_version, "1.15.1");
    soon("stop", client.stop()).await.unwrap();
    assert!(client.status().await.is_err());
    soon("gone", async {
        while HyperspaceClient::connect(place.endpoint()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_read_what_streams_write() {
    let place = Place::new().await;
    let client = place.connect().await;
    let core = client.corestore(None).open(OpenTarget::New).await.unwrap();
    let mut live = core.read_stream(ReadStreamOptions { tail: true, ..ReadStreamOptions::default() });
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let mut writer = core.write_stream(1000);
    for piece in bytes.chunks(777) {
        writer.write(piece).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 300);
    // Another client, with nothing in its cache.
    let reader = place.connect().await.corestore(None).open(OpenTarget::Key(core.key())).await.unwrap();
    let read: Vec<Bytes> =
        reader.read_stream(ReadStreamOptions::default()).map(Result::unwrap).collect().await;
    assert_eq!(read.concat(), bytes);
    let options = ReadStreamOptions { start: 10, end: Some(12), ..ReadStreamOptions::default() };
    let some: Vec<_> = reader.read_stream(options).map(Result::unwrap).collect().await;
    assert_eq!(some, read[10..12]);
    for expected in &read {
        assert_eq!(soon("a block", live.next()).await.unwrap().unwrap(), expected);
    }
    assert!(live.next().now_or_never().is_none());
    core.append(blocks(&["news"]), None).await.unwrap();
    assert_eq!(soon("a block", live.next()).await.unwrap().unwrap(), "news");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_blocks_and_many_at_once() {
    let place = Place::new().await;
    let client = place.connect().await;
    let core = client.corestore(None).open(OpenTarget::New).await.unwrap();
    let block = |n: u64| Bytes::from(vec![n as u8; if n.is_multiple_of(3) { 65_536 } else { 100 }]);
    join_all((0..20).map(|batch| {
        let blocks = (0..16).map(|n| block(batch * 16 + n)).collect();
        core.append(blocks, None)
    }))
    .await
    .into_iter()
    .for_each(|appended| assert!(appended.is_ok()));
    assert_eq!(core.length(), 320);
    let other = place.connect().await;
    let reader = other.corestore(None).open(OpenTarget::Key(core.key())).await.unwrap();
    let got = join_all((0..320).map(|index| reader.get(index, GetOptions::default()))).await;
    // Batches may be appended in any order, but each is whole.
    for batch in got.chunks(16) {
        let first = u64::from(batch[0].as_ref().unwrap()[0]) & !15;
        for (n, got) in (first..).zip(batch) {
            let wanted = [n, n + 256].map(block).into_iter().any(|wanted| *got.as_ref().unwrap() == wanted);
            assert!(wanted, "block {n}");
        }
    }
    let huge = vec![Bytes::from(vec![1; 8 << 20]); 7];
    core.append(huge.clone(), Some(320)).await.unwrap();
    assert!(reader.get(326, GetOptions::default()).await.unwrap() == huge[0]);
    let too_much = core.append(vec![Bytes::from(vec![1; 8 << 20]); 8], None).await;
    assert!(matches!(too_much, Err(CoreError::BlockTooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_are_configured_and_withdrawn() {
    let place = Place::new().await;
    let (one, two) = (place.connect().await, place.connect().await);
    let topic = DiscoveryKey::from([5; 32]);
    let network = one.network();
    assert_eq!(network.status(topic).await.unwrap(), None);
    let config = NetworkConfig { lookup: Some(true), ..NetworkConfig::new(topic) };
    network.configure(config.clone()).await.unwrap();
    let copy = NetworkConfig { copy_from: Some(topic), ..NetworkConfig::new([6; 32].into()) };
    let copied = network.configure(copy).await.unwrap().unwrap();
    assert!(copied.lookup && !copied.announce);
    assert_eq!(two.network().all_statuses().await.unwrap().len(), 2);
    let kept = NetworkConfig { overwrite: false, lookup: Some(false), ..config };
    assert!(two.network().configure(kept).await.unwrap().unwrap().lookup);
    assert_eq!(network.public_key().await.unwrap(), two.network().public_key().await.unwrap());
    assert_eq!(network.peers().await.unwrap(), []);
    drop((one, network));
    soon("withdrawn", async { while !two.network().all_statuses().await.unwrap().is_empty() {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cores() {
    let place = Place::new().await;
    let client = place.connect().await;
    let store = client.corestore(None);
    let cores = join_all((0..1000).map(|n| store.open(named(&format!("core {n}"))))).await;
    for (n, core) in cores.iter().enumerate() {
        core.as_ref().unwrap().append(vec![format!("{n}").into()], Some(0)).await.unwrap();
    }
    drop(cores);
    let again = store.open(named("core 500")).await.unwrap();
    assert_eq!((again.length(), again.get(0, GetOptions::default()).await.unwrap()), (1, "500".into()));
    again.close().await.unwrap();
    assert_eq!(again.has(0).await, Err(CoreError::Closed));
    let anew = store.open(named("core 500")).await.unwrap();
    assert!(anew.has(0).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp() {
    let config = Config {
        storage: Storage::Memory,
        endpoint: Some(hyperspace::Endpoint::Tcp(([127, 0, 0, 1], 0).into())),
        no_announce: true,
        ..Config::default()
    };
    let server = hyperspace::start(config).await.unwrap();
    let hyperspace::Endpoint::Tcp(address) = server.endpoint() else { panic!("TCP") };
    let endpoint = Endpoint::tcp("localhost", address.port());
    let client = HyperspaceClient::connect(endpoint).await.unwrap();
    let core = client.corestore(None).open(OpenTarget::New).await.unwrap();
    let block = Bytes::from(vec![7; 1 << 20]);
    core.append(vec![block.clone(); 20], None).await.unwrap();
    let got = join_all((0..20).map(|index| core.get(index, GetOptions::default()))).await;
    assert!(got.iter().all(|got| got.as_ref() == Ok(&block)));
    server.shutdown().await.unwrap();
}

/// Works the same when client and server share one thread, where looking for an answer
/// can only be in vain.
#[tokio::test(flavor = "current_thread")]
async fn on_one_thread() {
    let place = Place::new().await;
    let client = place.connect_with(ClientOptions { cache_bytes: 0, ..ClientOptions::default() }).await;
    let core = client.corestore(None).open(OpenTarget::New).await.unwrap();
    for n in 0..300_u64 {
        core.append(vec![format!("{n}").into()], Some(n)).await.unwrap();
        assert_eq!(core.get(n, GetOptions::default()).await.unwrap(), format!("{n}"));
    }
}
