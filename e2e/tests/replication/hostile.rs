//! A peer that means harm, against a server of its own process: it may cost the harmful
//! peer its connection, and nobody else anything.

use crate::support::{Node, append, block, soon};
use bytes::Bytes;
use hypercore::encoding::Writer;
use hypercore::replication::wire::{
    Bitfield, DataMessage, Handshake, Message, PROTOCOL, Range, Sync, Want, capability,
};
use hyperspace_api::{Core, Corestore, GetOptions, Key, OpenTarget};
use hyperspace_client::{Endpoint, HyperspaceClient};
use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperswarm::protomux::ChannelId;
use hyperswarm::{Connection, Event, KeyPair, Options};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What all of it together may add to the server's memory, in KiB: what is in the allocator's
/// hands, and the bounds of one connection (`doc/PROTOCOL.md`).
const MOST_KIB: u64 = 64 << 10;
/// Blocks of the core that is attacked.
const BLOCKS: u64 = 100;
const MOST: u64 = (1 << 53) - 1;

/// The server under attack. It has the first half of a core, by an honest peer.
struct Victim {
    server: Server,
    at: SocketAddr,
    client: HyperspaceClient,
    _honest: Node,
    key: Key,
    _scratch: Scratch,
}

impl Victim {
    async fn new() -> Self {
        let honest = Node::new(&[]).await;
        let core = honest.open(OpenTarget::Name("log".into())).await;
        append(&core, 0, BLOCKS).await;
        let key = core.key();
        let scratch = Scratch::new();
        let peer = honest.at.to_string();
        let arguments = ["--listen", "127.0.0.1:0", "--peer", &peer];
        let mut server = Server::start_with(&scratch, &arguments);
        let line = server.process().wait_for_line("Listening for peers on ");
        let at = line.rsplit(' ').next().unwrap().parse().unwrap();
        let client = HyperspaceClient::connect(Endpoint::Unix(scratch.socket())).await.unwrap();
        Self { server, at, client, _honest: honest, key, _scratch: scratch }
    }

    fn memory(&self) -> u64 {
        self.server.usage().anonymous
    }

    /// The server answers, and gets a block from the honest peer; never a wrong one.
    async fn is_well(&self, index: u64) {
        let core = self.client.corestore(None).open(OpenTarget::Key(self.key)).await.unwrap();
        let got = soon("an honest block", core.get(index, GetOptions::default())).await.unwrap();
        assert_eq!(got, block(index));
        assert!(core.length() == BLOCKS, "{} blocks", core.length());
    }

    async fn call(&self) -> Connection {
        let stream = TcpStream::connect(self.at).await.unwrap();
        Connection::new(stream, true, &KeyPair::generate().unwrap(), Options::default()).await.unwrap()
    }

    /// A connection with the core's channel open on it.
    async fn joined(&self) -> (Connection, ChannelId) {
        let mut connection = self.call().await;
        connection.pair(PROTOCOL, None);
        let secret = capability(connection.handshake_hash(), &self.key, true);
        let handshake = Handshake { seeks: true, capability: secret }.to_vec();
        let channel = connection.open(PROTOCOL, self.key.discovery_key().as_bytes(), handshake).unwrap();
        soon("the channel", async {
            loop {
                match connection.next().await {
                    Some(Event::Opened { channel: opened, .. }) if opened == channel => return,
                    Some(_) => {}
                    None => panic!("hung up: {:?}", connection.error()),
                }
            }
        })
        .await;
        (connection, channel)
    }
}

/// Sends as long as the server takes it; `true` if it hung up.
async fn send_all(connection: &mut Connection, channel: ChannelId, messages: Vec<(u32, Bytes)>) -> bool {
    for (kind, body) in messages {
        if connection.send(channel, kind, body).is_err() {
            return true;
        }
        let sender = connection.sender();
        tokio::select! {
            () = sender.ready() => {}
            () = async { while connection.next().await.is_some() {} } => return true,
        }
    }
    // It answers, or hangs up, or has nothing to say.
    let quiet = Duration::from_millis(300);
    loop {
        match tokio::time::timeout(quiet, connection.next()).await {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn message(message: Message) -> (u32, Bytes) {
    (message.kind() as u32, message.to_bytes())
}

fn sync(length: u64) -> (u32, Bytes) {
    message(Message::Sync(Sync {
        can_upgrade: true,
        uploading: true,
        downloading: true,
        has_manifest: true,
        allow_push: true,
        fork: 0,
        length,
        remote_length: BLOCKS,
    }))
}

/// A `Data` by hand: flags, request, fork, and whatever follows.
fn data(flags: u64, request: u64, rest: impl FnOnce(&mut Writer)) -> (u32, Bytes) {
    let mut out = Writer::new();
    out.uint(flags).uint(request).uint(0);
    rest(&mut out);
    (3, out.into_vec().into())
}

/// What is said on the core's channel.
fn attacks() -> Vec<(&'static str, Vec<(u32, Bytes)>)> {
    let range = |start, length, drop| message(Message::Range(Range { drop, start, length }));
    let want = |start, length| message(Message::Want(Want { start, length, any: false }));
    let words = |start, count| message(Message::Bitfield(Bitfield { start, words: vec![u32::MAX; count] }));
    let mut random = Random::new(11);
    let mut noise = || Bytes::from(random.bytes(200));
    vec![
        ("a length of 2^53 - 1", vec![sync(MOST)]),
        ("ranges of 2^50", (0..1000).map(|i| range(i << 40, 1 << 50, false)).collect()),
        ("everything dropped", vec![sync(BLOCKS), range(0, MOST, true)]),
        ("bits at the end of the world", (0..64).map(|i| words((1 << 52) + (i << 32), 4096)).collect()),
        ("bits without end", (0..300).map(|i| words(i * 32_768 * 64, 65_536)).collect()),
        ("wants without end", (0..20_000).map(|i| want(i * 64, 32)).collect()),
        ("the same want", (0..20_000).map(|_| want(0, 1 << 21)).collect()),
        (
            "a block that nobody asked for",
            vec![
                sync(BLOCKS),
                data(1, 0, |out| {
                    out.uint(60).buffer(b"not a block of this core").uint(0);
                }),
            ],
        ),
        (
            "an answer that nobody waits for",
            (0..1000)
                .map(|id| {
                    data(1, id, |out| {
                        out.uint(id % BLOCKS).buffer(b"wrong").uint(0);
                    })
                })
                .collect(),
        ),
        (
            "an upgrade signed by nobody",
            vec![
                sync(1000),
                data(8, 0, |out| {
                    out.uint(BLOCKS).uint(900).uint(0).uint(0).buffer(&[7; 68]);
                }),
            ],
        ),
        (
            "a forged manifest",
            vec![data(16, 0, |out| {
                out.raw(&[1, 0, 0, 1, 1, 0]).raw(&[5; 64]);
            })],
        ),
        (
            "a list longer than its message",
            vec![data(1, 1, |out| {
                out.uint(1).uint(3).raw(&[0xff; 9]);
            })],
        ),
        ("requests without end", {
            let ask = |id: u64| {
                let mut out = Writer::new();
                out.uint(1).uint(id).uint(0).uint(id % BLOCKS).uint(0);
                (1, Bytes::from(out.into_vec()))
            };
            (1..50_000).map(ask).collect()
        }),
        ("extensions without a name", (0..1000).map(|_| (9, Bytes::from_static(&[0, 1, 2]))).collect()),
        ("large messages of no kind", (0..8).map(|_| (77, Bytes::from(vec![1; 8 << 20]))).collect()),
        ("noise", (0..10).flat_map(|kind| std::iter::repeat_n((kind, noise()), 20)).collect()),
        ("nothing", (0..10).map(|kind| (kind, Bytes::new())).collect()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_about_a_core() {
    let victim = Victim::new().await;
    victim.is_well(0).await;
    let before = victim.memory();
    let attacks = attacks();
    for (n, (what, messages)) in attacks.into_iter().enumerate() {
        let (mut connection, channel) = victim.joined().await;
        let hung_up = soon(what, send_all(&mut connection, channel, messages)).await;
        println!("{what}: {}", if hung_up { "cut off" } else { "borne" });
        victim.is_well(n as u64 + 1).await;
        // Nor while the other one is still there.
        drop(connection);
        victim.is_well(n as u64 + 40).await;
    }
    let after = victim.memory();
    assert!(after < before + MOST_KIB, "{before} KiB became {after} KiB");
    assert!(victim.server.usage().peak < before + 4 * MOST_KIB, "{:?}", victim.server.usage());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_key() {
    let victim = Victim::new().await;
    victim.is_well(0).await;
    let mut connection = victim.call().await;
    let handshake = Handshake { seeks: true, capability: [7; 32] }.to_vec();
    connection.open(PROTOCOL, victim.key.discovery_key().as_bytes(), handshake).unwrap();
    // It sees that we have it, and no more: no message comes.
    let seen = soon("the end", async {
        let mut seen = Vec::new();
        while let Some(event) = connection.next().await {
            seen.push(event);
        }
        seen
    })
    .await;
    assert!(!seen.iter().any(|event| matches!(event, Event::Message { .. })), "{seen:?}");
    victim.is_well(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_without_end() {
    let victim = Victim::new().await;
    victim.is_well(0).await;
    let before = victim.memory();
    let mut connection = victim.call().await;
    let mut random = Random::new(5);
    for n in 0..50_000u32 {
        if connection.open(PROTOCOL, &random.bytes(32), Bytes::from_static(&[0; 33])).is_err() {
            assert!(n > 4096, "only {n} channels");
            break;
        }
        let sender = connection.sender();
        tokio::select! {
            () = sender.ready() => {}
            () = async { while connection.next().await.is_some() {} } => break,
        }
    }
    victim.is_well(1).await;
    let after = victim.memory();
    assert!(after < before + MOST_KIB, "{before} KiB became {after} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_handshake() {
    let victim = Victim::new().await;
    victim.is_well(0).await;
    let before = victim.memory();
    let mut random = Random::new(6);
    // Some say nothing at all, or half of something, for as long as they may.
    let mut slow = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(victim.at).await.unwrap();
        stream.write_all(&[32, 0, 0, 1, 2, 3][..n % 7]).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..300 {
        let mut stream = TcpStream::connect(victim.at).await.unwrap();
        // Hung up on in between is as good.
        let _ = stream.write_all(&random.bytes(1000)).await;
    }
    victim.is_well(1).await;
    let after = victim.memory();
    assert!(after < before + MOST_KIB, "{before} KiB became {after} KiB");
    drop(slow);
}

/// Bytes that come one at a time: everybody else is served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_at_a_time() {
    let victim = Victim::new().await;
    let mut slow = TcpStream::connect(victim.at).await.unwrap();
    for n in 0..20u64 {
        slow.write_all(&[if n == 0 { 33 } else { 0 }]).await.unwrap();
        victim.is_well(n).await;
    }
}

/// A `Data` message of ours survives its own codec: what is forged above is near the truth.
#[test]
fn forgeries_are_well_formed() {
    let (_, body) = data(1, 9, |out| {
        out.uint(60).buffer(b"x").uint(0);
    });
    let read = DataMessage::decode(&body).unwrap();
    assert_eq!(read.request, 9);
    assert_eq!(read.proof.block.unwrap().index, 60);
}
