//! Bad frames and bad requests, each against the live binary: the server lives, a
//! healthy session beside it notices nothing, and memory stays where it was.

mod support;

use bytes::{Bytes, BytesMut};
use hyperspace_schema::frame::{self, Kind, MAX_BODY};
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::*;
use prost::Message;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use support::*;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The id of the core that every attacker has open, writable and with one block.
const OWN: u32 = 0;
/// One that it may not write.
const FOREIGN: u32 = 1;

/// What becomes of the connection.
enum Outcome {
    /// An error reply with this text in it; the connection goes on.
    Fails(&'static str),
    /// An answer, as to any request.
    Answers,
    /// Nothing at all; the connection goes on.
    Silence,
    /// The server closes the connection.
    Closes,
    /// The server waits for the rest.
    Waits,
}
use Outcome::*;

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A frame, whatever its parts.
fn raw(header: u64, method: u64, id: u64, payload: &[u8]) -> Vec<u8> {
    let body = [varint(header), varint(method), varint(id), payload.to_vec()].concat();
    [varint(body.len() as u64), body].concat()
}

fn call<M: Method>(request: M::Request) -> Vec<u8> {
    let mut wire = BytesMut::new();
    frame::request::<M>(&mut wire, 9, &request);
    wire.to_vec()
}

fn open(id: u32, key: Option<&[u8]>, name: Option<&str>) -> Vec<u8> {
    let key = key.map(Bytes::copy_from_slice);
    call::<corestore::Open>(OpenRequest { id, key, name: name.map(str::to_owned), weak: None })
}

fn configure(discovery_key: &[u8], copy_from: Option<&[u8]>) -> Vec<u8> {
    call::<network::Configure>(ConfigureNetworkRequest {
        configuration: NetworkStatus {
            discovery_key: discovery_key.to_vec().into(),
            announce: Some(true),
            lookup: None,
            remember: None,
        },
        flush: None,
        copy_from: copy_from.map(Bytes::copy_from_slice),
        overwrite: None,
    })
}

fn download(start: u64, end: u64, blocks: Vec<u64>) -> Vec<u8> {
    let (start, end) = (Some(start), Some(end));
    let request =
        DownloadRequest { id: OWN.into(), resource_id: 5, start, end, blocks, linear: None, live: None };
    call::<hypercore::Download>(request)
}

fn lock(id: u64) -> LockRequest {
    LockRequest { id }
}

fn resource(id: u64, resource_id: u64) -> UnregisterExtensionRequest {
    UnregisterExtensionRequest { id, resource_id }
}

/// All of them. What a case sends goes out in one piece after the two cores are open.
fn cases() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    let extension = |id, name: &str| {
        call::<hypercore::RegisterExtension>(RegisterExtensionRequest {
            id,
            resource_id: 7,
            name: name.into(),
        })
    };
    let message = |resource_id| ExtensionMessage {
        id: OWN.into(),
        resource_id,
        remote_public_key: None,
        data: Bytes::from_static(b"x"),
    };
    let blocks = |blocks: Vec<Bytes>, expected_length| {
        call::<hypercore::Append>(AppendRequest { id: OWN, blocks, expected_length })
    };
    let seek =
        SeekRequest { id: OWN, byte_offset: 1 << 55, start: None, end: None, wait: None, if_available: None };
    let local = GetRequest {
        id: OWN,
        seq: u64::MAX,
        resource_id: 1,
        wait: Some(false),
        if_available: None,
        on_wait_id: None,
    };
    let update = UpdateRequest { id: OWN, min_length: Some(u64::MAX), if_available: None, hash: None };
    vec![
        // Frames.
        ("an unknown service", raw(9 << 2, 1, 9, b""), Fails("Unknown method (1) on service (9)")),
        ("an unknown service, no reply wanted", raw(9 << 2, 1, 0, b""), Silence),
        ("service 0", raw(0, 1, 9, b""), Fails("Unknown method (1) on service (0)")),
        ("a vast service", raw(1 << 55, 1, 9, b""), Fails("Unknown method")),
        ("an unknown method", raw(1 << 2, 77, 9, b""), Fails("Unknown method (77) on service (1)")),
        ("method 0", raw(3 << 2, 0, 9, b""), Fails("Unknown method (0) on service (3)")),
        ("a vast method", raw(3 << 2, (1 << 56) - 1, 9, b""), Fails("Unknown method")),
        ("an unknown method, no reply wanted", raw(1 << 2, 77, 0, b""), Silence),
        (
            "an event called on the server",
            raw(3 << 2, 16, 9, b"\x08\0\x10\0\x18\0"),
            Fails("Unknown method (16)"),
        ),
        ("an event sent to the server", raw(2 << 2, 2, 0, b"\x0a\x01x"), Silence),
        ("a network event called on the server", raw(4 << 2, 8, 9, b""), Fails("Unknown method (8)")),
        ("a response to nothing", raw(1 << 2 | 1, 1, 5, b""), Closes),
        ("a response to id 0", raw(1 << 2 | 1, 1, 0, b""), Closes),
        ("an error to nothing", raw(1 << 2 | 2, 1, 5, b"\x0a\x01x"), Closes),
        ("a frame of kind 3", raw(1 << 2 | 3, 1, 9, b""), Silence),
        ("keep-alives", vec![0; 10_000], Silence),
        ("a body of one byte", vec![1, 4], Closes),
        ("a body without an id", vec![2, 4, 1], Closes),
        ("a body that is one open varint", vec![3, 0x84, 0x80, 0x80], Closes),
        ("a length without end", vec![0xff; 8], Closes),
        ("a header without end", [vec![12], vec![0xff; 12]].concat(), Closes),
        ("an id without end", [vec![12, 4, 1], vec![0xff; 10]].concat(), Closes),
        ("a frame one byte too long", varint(MAX_BODY as u64 + 1), Closes),
        ("a frame of 2^55 bytes", varint(1 << 55), Closes),
        ("the longest frame, announced and not sent", varint(MAX_BODY as u64), Waits),
        ("half a frame", vec![10, 4, 1, 9], Waits),
        ("the largest id", raw(1 << 2, 1, (1 << 56) - 2, b""), Answers),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: somebody who is lost\r\nAccept: */*\r\n\r\n"
                .to_vec(),
            Closes,
        ),
        ("TLS", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), vec![0xa5; 600]].concat(), Closes),
        // Messages.
        ("no message where one is needed", raw(3 << 2, 1, 9, b""), Fails("lacks its field 1")),
        ("a message that lacks a field", raw(3 << 2, 1, 9, b"\x08\0\x10\0"), Fails("lacks its field 3")),
        ("a message cut short", raw(3 << 2, 2, 9, b"\x08\0\x12\x7fabc"), Fails("cannot be decoded")),
        ("a number as text", raw(3 << 2, 5, 9, b"\x0a\x01x\x10\0"), Fails("cannot be decoded")),
        ("field 0", raw(3 << 2, 5, 9, b"\0\0\x08\0\x10\0"), Fails("cannot be decoded")),
        ("a group without end", raw(3 << 2, 5, 9, b"\x0b\x08\0\x10\0"), Fails("cannot be decoded")),
        ("an unassigned wire type", raw(3 << 2, 5, 9, b"\x0f\x08\0\x10\0"), Fails("cannot be decoded")),
        ("an unknown field", raw(3 << 2, 5, 9, b"\x08\0\x10\0\xfa\x3f\x03abc"), Answers),
        ("groups in groups", raw(3 << 2, 5, 9, &[0x0b; 5000]), Fails("cannot be decoded")),
        (
            "a varint of eleven bytes",
            raw(3 << 2, 5, 9, &[&[0x08][..], &[0xff; 10], &[1]].concat()),
            Fails("cannot be decoded"),
        ),
        (
            "a name that is no text",
            raw(2 << 2, 1, 9, b"\x08\x05\x1a\x02\xff\xfe"),
            Fails("cannot be decoded"),
        ),
        (
            "two million empty blocks",
            raw(3 << 2, 2, 9, &[&[8, 0][..], &[0x12, 0].repeat(2 << 20)].concat()),
            Fails("too many parts"),
        ),
        // Cores.
        ("a key of 31 bytes", open(5, Some(&[1; 31]), None), Fails("key")),
        ("a key of 33 bytes", open(5, Some(&[1; 33]), None), Fails("key")),
        ("an id in use", open(OWN, None, Some("other")), Fails("Session already in use.")),
        ("a name of the server's own", open(5, None, Some("@hyperspace/networks")), Fails("server's own")),
        ("a name of a megabyte", open(5, None, Some(&"n".repeat(1 << 20))), Fails("")),
        (
            "a core that is not open",
            call::<hypercore::Has>(HasRequest { id: 99, seq: 0 }),
            Fails("Invalid hypercore: 99"),
        ),
        (
            "an id beyond 32 bits",
            call::<hypercore::AcquireLock>(lock(1 << 40)),
            Fails("Invalid hypercore: 1099511627776"),
        ),
        ("a block at the end of the world", call::<hypercore::Get>(local), Fails("Block not downloaded")),
        (
            "an append to somebody else's core",
            call::<hypercore::Append>(append(FOREIGN, b"x")),
            Fails("This feed is not writable"),
        ),
        ("a block of 16 MiB", blocks(vec![vec![0; 16 << 20].into()], None), Fails("too large")),
        (
            "an append that expects another length",
            blocks(vec!["x".into()], Some(77)),
            Fails("not what the append expected"),
        ),
        ("a seek beyond the end", call::<hypercore::Seek>(seek), Fails("Seek not available from peers")),
        (
            "an update to the end of the world",
            call::<hypercore::Update>(update),
            Fails("No update available from peers"),
        ),
        ("a download backwards", download(9, 3, vec![]), Fails("ends before it starts")),
        (
            "a count backwards",
            call::<hypercore::Downloaded>(DownloadedRequest { id: OWN.into(), start: Some(9), end: Some(3) }),
            Answers,
        ),
        (
            "a count of everything",
            call::<hypercore::Downloaded>(DownloadedRequest {
                id: OWN.into(),
                start: Some(0),
                end: Some(u64::MAX),
            }),
            Answers,
        ),
        (
            "a clear backwards",
            call::<hypercore::Clear>(ClearRequest { id: FOREIGN, start: u64::MAX, end: 0 }),
            Answers,
        ),
        (
            "a clear of everything",
            call::<hypercore::Clear>(ClearRequest { id: FOREIGN, start: 0, end: u64::MAX }),
            Answers,
        ),
        (
            "a cancel on no core",
            call::<hypercore::Cancel>(CancelRequest { id: 99, resource_id: 0 }),
            Fails("Invalid hypercore: 99"),
        ),
        (
            "a cancel of nothing",
            call::<hypercore::Cancel>(CancelRequest { id: OWN.into(), resource_id: 1 << 60 }),
            Answers,
        ),
        (
            "an undownload of nothing",
            call::<hypercore::Undownload>(UndownloadRequest { id: OWN.into(), resource_id: 3 }),
            Answers,
        ),
        (
            "a second close",
            [raw(3 << 2, 10, 0, b"\x08\x01"), call::<hypercore::Close>(CloseRequest { id: FOREIGN })]
                .concat(),
            Fails("Invalid hypercore: 1"),
        ),
        (
            "a release of what is not locked",
            call::<hypercore::ReleaseLock>(lock(OWN.into())),
            Fails("Core is not locked"),
        ),
        (
            "a watch on no core",
            call::<hypercore::WatchUploads>(WatchRequest { id: 99 }),
            Fails("Invalid hypercore: 99"),
        ),
        // Resources.
        (
            "an extension twice",
            [raw(3 << 2, 11, 0, b"\x08\0\x10\x07\x1a\x01x"), extension(OWN.into(), "x")].concat(),
            Fails("Resource already exists: 7"),
        ),
        (
            "a get under an extension's id",
            [raw(3 << 2, 11, 0, b"\x08\0\x10\x07\x1a\x01x"), call::<hypercore::Get>(get(OWN, 0, 7))].concat(),
            Fails("Resource already exists: 7"),
        ),
        ("an extension on no core", extension(99, "x"), Fails("Invalid hypercore: 99")),
        (
            "an unregister of nothing",
            call::<hypercore::UnregisterExtension>(resource(OWN.into(), 8)),
            Fails("Invalid resource: 8"),
        ),
        (
            "an unregister by way of another core",
            [
                raw(3 << 2, 11, 0, b"\x08\0\x10\x07\x1a\x01x"),
                call::<hypercore::UnregisterExtension>(resource(FOREIGN.into(), 7)),
            ]
            .concat(),
            Fails("Invalid resource: 7"),
        ),
        (
            "a message by an extension that is not",
            call::<hypercore::SendExtension>(message(8)),
            Fails("Invalid resource: 8"),
        ),
        (
            "a network message by an extension that is not",
            call::<network::SendExtension>(message(8)),
            Fails("Invalid resource: 8"),
        ),
        // Network.
        ("a topic of 5 bytes", configure(&[1; 5], None), Fails("Invalid discovery key.")),
        (
            "a copy from 7 bytes",
            configure(&[1; 32], Some(&[1; 7])),
            Fails("Must copy from a valid discovery key."),
        ),
        ("a configuration of nothing", raw(4 << 2, 2, 9, b"\x10\0"), Fails("lacks its field 1")),
        (
            "a configuration without a topic",
            raw(4 << 2, 2, 9, b"\x0a\x02\x10\x01"),
            Fails("Invalid discovery key."),
        ),
        (
            "the status of 31 bytes",
            call::<network::Status>(NetworkStatusRequest { discovery_key: vec![1; 31].into() }),
            Fails("Invalid discovery key."),
        ),
    ]
}

/// The binary, with a socket and a folder of its own.
struct Server {
    child: Child,
    socket: PathBuf,
    _folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_hyperspace"))
            .args(["--memory-only", "-h", "hostile"])
            .env("TMPDIR", folder.path())
            .env("HYPERSPACE_BOOTSTRAP", "none")
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next_line().await.unwrap().expect("it ended").starts_with("Listening on ") {}
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, socket: folder.path().join("hostile.sock"), _folder: folder }
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// A session that does nothing wrong.
struct Healthy {
    client: Client,
    length: u64,
}

impl Healthy {
    async fn start(socket: &Path) -> Self {
        let mut client = Client::connect(socket).await;
        client.open(0, "healthy").await;
        Self { client, length: 0 }
    }

    /// Everything still works, and nothing was heard of the others.
    async fn check(&mut self, after: &str) {
        let block = format!("after {after}");
        assert_eq!(self.client.append(0, block.as_bytes()).await.seq, self.length);
        self.length += 1;
        let got = self.client.call::<hypercore::Get>(&get(0, self.length - 1, 0)).await.unwrap();
        assert_eq!(got.block.unwrap(), block);
        for event in self.client.events.drain(..) {
            assert!(
                matches!(event, Event::OnFeed(_) | Event::OnAppend(AppendEvent { id: 0, .. })),
                "{event:?}"
            );
        }
    }
}

async fn attacker(socket: &Path) -> Client {
    let mut client = Client::connect(socket).await;
    client.open(OWN, "attacked").await;
    if client.open_key(FOREIGN, &[0x5e; 32]).await.writable {
        panic!("nobody has that key");
    }
    client
}

/// Tries one case; says what was wrong with its outcome.
async fn attempt(socket: &Path, bytes: &[u8], outcome: &Outcome) -> Result<(), String> {
    let mut client = attacker(socket).await;
    client.try_send(bytes).await;
    match outcome {
        Closes => match client.is_served().await {
            true => Err("the connection was not closed".into()),
            false => Ok(()),
        },
        Waits => Ok(()),
        Fails(_) | Answers | Silence => {
            let expected = match outcome {
                Silence => None,
                _ => Some(client.frame().await.ok_or("the connection was closed")?),
            };
            match (expected, outcome) {
                (Some(frame), Fails(text)) => {
                    let error = RpcError::decode(frame.payload).map_err(|e| e.to_string())?;
                    if frame.kind != Kind::Error || frame.id != 9 || !error.message.contains(text) {
                        return Err(format!("answered {:?} {error:?}", frame.kind));
                    }
                }
                (Some(frame), Answers) if frame.kind != Kind::Response => {
                    return Err(format!("answered {:?}", RpcError::decode(frame.payload)));
                }
                _ => {}
            }
            match client.is_served().await {
                true => Ok(()),
                false => Err("the connection was closed".into()),
            }
        }
    }
}

#[tokio::test]
async fn every_kind_of_bad_frame_and_request() {
    let server = Server::start().await;
    let mut healthy = Healthy::start(&server.socket).await;
    let cases = cases();
    assert!(cases.len() >= 50, "{}", cases.len());
    let mut wrong = Vec::new();
    let mut warm = 0;
    for round in 0..24 {
        for (what, bytes, outcome) in &cases {
            if let Err(error) = attempt(&server.socket, bytes, outcome).await {
                wrong.push(format!("{what}: {error}"));
            }
            healthy.check(what).await;
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
        if round == 3 {
            warm = server.resident_kib();
        }
    }
    let now = server.resident_kib();
    // Once, sooner or later, the store puts what came in its place, which takes some 13 MiB
    // of caches and threads. The large cases alone would have left more than 100 MiB.
    assert!(now < warm + 24 * 1024, "{warm} KiB became {now} KiB");
}

/// A small generator of numbers that anyone can repeat (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % sides as u64) as usize
    }
}

#[tokio::test]
async fn seeded_fuzz() {
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_201_122);
    let server = Server::start().await;
    let mut healthy = Healthy::start(&server.socket).await;
    let cases: Vec<_> = cases().into_iter().filter(|(_, bytes, _)| bytes.len() < 1000).collect();
    let mut dice = Dice(seed);
    let mut warm = 0;
    for round in 0..100 {
        let mut wire = Vec::new();
        for _ in 0..1 + dice.roll(30) {
            // Well-formed requests of any method, and the bad ones, spoilt some more.
            let mut frame = match dice.roll(3) {
                0 => cases[dice.roll(cases.len())].1.clone(),
                1 => {
                    let payload: Vec<_> =
                        (1..=dice.roll(6)).flat_map(|n| [n as u8 * 8, dice.roll(3) as u8]).collect();
                    raw((dice.roll(5) << 2) as u64, dice.roll(32) as u64, dice.roll(4) as u64, &payload)
                }
                _ => call::<hypercore::Append>(append(OWN, &vec![7; dice.roll(5000)])),
            };
            // The method Hyperspace.Stop does what it says.
            if frame.get(1..3) == Some(&[4, 2]) {
                continue;
            }
            match dice.roll(4) {
                0 if !frame.is_empty() => {
                    let at = dice.roll(frame.len());
                    frame[at] ^= 1 << dice.roll(8);
                }
                1 => frame.truncate(dice.roll(frame.len() + 1)),
                _ => {}
            }
            wire.extend(frame);
        }
        if wire.windows(2).any(|pair| pair == [4, 2]) {
            continue;
        }
        let mut client = attacker(&server.socket).await;
        for piece in wire.chunks(1 + dice.roll(2000)) {
            client.try_send(piece).await;
        }
        drop(client);
        if round % 20 == 0 {
            healthy.check(&format!("round {round} of seed {seed}")).await;
        }
        if round == 200 {
            warm = server.resident_kib();
        }
    }
    healthy.check("the fuzz").await;
    let now = server.resident_kib();
    assert!(now < warm + 24 * 1024, "seed {seed}: {warm} KiB became {now} KiB");
}
