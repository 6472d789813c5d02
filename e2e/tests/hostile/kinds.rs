//! The kinds of bad frame and bad request, and what is to come of each.

use bytes::{BufMut, Bytes, BytesMut};
use hyperspace_schema::frame;
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{Method, corestore, hypercore, hyperspace, network};

/// The id under which the cases ask.
pub const ASKED: u64 = 1000;

/// What a bad frame is to come to.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// An error reply whose code or message has this in it; the connection stays.
    Error(&'static str),
    /// A reply; the connection stays.
    Answer,
    /// A reply of either sort; the connection stays.
    Either,
    /// No reply; the connection stays.
    Silence,
    /// This connection is closed.
    Closed,
    /// Whatever comes of this connection, the server and the others go on.
    Anything,
}

/// One kind.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub expect: Expect,
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, expect: Expect) -> Case {
    Case { name, bytes: bytes.into(), expect }
}

/// A well-formed frame that calls `M`.
pub fn request<M: Method>(id: u64, message: &M::Request) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::request::<M>(&mut out, id, message);
    out.to_vec()
}

fn ask<M: Method>(message: M::Request) -> Vec<u8> {
    request::<M>(ASKED, &message)
}

fn varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// A frame around any payload.
fn raw(service: u64, kind: u64, method: u64, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    varint(&mut body, service << 2 | kind);
    varint(&mut body, method);
    varint(&mut body, id);
    body.put_slice(payload);
    let mut out = Vec::new();
    varint(&mut out, body.len() as u64);
    out.extend(body);
    out
}

fn call(service: u64, method: u64, payload: &[u8]) -> Vec<u8> {
    raw(service, 0, method, ASKED, payload)
}

/// All of them.
pub fn all() -> Vec<Case> {
    let mut cases = frames();
    cases.extend(strangers());
    cases.extend(payloads());
    cases.extend(opens());
    cases.extend(cores());
    cases.extend(resources());
    cases.extend(networks());
    cases
}

/// Bytes that are no frames, or frames that mean nothing.
fn frames() -> Vec<Case> {
    use Expect::{Anything, Closed, Silence};
    let announced = |length: u64| {
        let mut out = Vec::new();
        varint(&mut out, length);
        out.extend([0x04, 0x01]);
        out
    };
    vec![
        case("a length without an end", [0x80; 16], Closed),
        case("a length of ones", [0xff; 16], Closed),
        case("a length of 2^55", announced(1 << 55), Closed),
        case("a length of 65 MiB", announced(65 << 20), Closed),
        case("a large length, and then nothing", announced(60 << 20), Anything),
        case("half a frame, and then nothing", [0x0a, 0x08, 0x01], Anything),
        case("a body of the header alone", [0x01, 0x04], Closed),
        case("a body without an id", [0x02, 0x04, 0x01], Closed),
        case("a header without an end", [0x03, 0x84, 0x81, 0x81], Closed),
        case("a method without an end", [0x04, 0x04, 0x81, 0x81, 0x81], Closed),
        case("an id without an end", [0x04, 0x04, 0x01, 0x81, 0x81], Closed),
        case("an id of nine bytes", [&[0x0b, 0x04, 0x01][..], &[0x81; 9]].concat(), Closed),
        case("keep-alives", vec![0; 100_000], Silence),
        case("a frame of the fourth type", raw(3, 3, 1, ASKED, b""), Silence),
        case("a frame of the fourth type, with noise", raw(9, 3, 99, ASKED, &[0xff; 100]), Silence),
        case("the answer to a call never made", raw(3, 1, 1, ASKED, &[0x0a, 0x00]), Closed),
        case("the failure of a call never made", raw(3, 2, 1, ASKED, b"\x0a\x01x"), Closed),
        case("HTTP", *b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Anything),
        case("TLS", [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0x55, 0x55, 0x55], Anything),
        case("64 KiB of ones", vec![0xff; 65_536], Closed),
        case("text", vec![b'y'; 10_000], Anything),
    ]
}

/// Methods and services that there are not, or not on this side.
fn strangers() -> Vec<Case> {
    use Expect::{Error, Silence};
    vec![
        case("service 0", call(0, 1, b""), Error("Unknown method (1) on service (0)")),
        case("service 5", call(5, 1, b""), Error("Unknown method (1) on service (5)")),
        case("an enormous service", call(1 << 50, 1, b""), Error("Unknown method")),
        case("Hyperspace method 3", call(1, 3, b""), Error("Unknown method (3) on service (1)")),
        case("Corestore method 3", call(2, 3, b""), Error("Unknown method (3) on service (2)")),
        case("Hypercore method 0", call(3, 0, b""), Error("Unknown method (0) on service (3)")),
        case("Hypercore method 99", call(3, 99, &[0xff; 9]), Error("Unknown method (99) on service (3)")),
        case("Network method 11", call(4, 11, b""), Error("Unknown method (11) on service (4)")),
        case("an enormous method", call(3, 1 << 50, b""), Error("Unknown method")),
        case("an unknown method that wants no reply", raw(3, 0, 99, 0, b""), Silence),
        case(
            "an event sent to the server",
            ask::<hypercore::OnAppend>(AppendEvent { id: 0, length: 9, byte_length: 9 }),
            Error(""),
        ),
        case(
            "OnFeed sent to the server",
            ask::<corestore::OnFeed>(FeedEvent { key: vec![1; 32].into() }),
            Error(""),
        ),
        case(
            "an event as it should be, sent to the server",
            raw(3, 0, 16, 0, &[0x08, 0, 0x10, 9, 0x18, 9]),
            Silence,
        ),
    ]
}

/// Payloads that are not the method's message.
fn payloads() -> Vec<Case> {
    use Expect::{Either, Error, Silence};
    let groups = vec![0x0b; 100_000]; // field 1, start of a group, again and again
    let mut unknown = Vec::new();
    for field in 100..2_000 {
        varint(&mut unknown, field << 3);
        varint(&mut unknown, 1);
    }
    vec![
        case("Status with a message", call(1, 1, &[0x08, 0x01]), Either),
        case("Status with noise", call(1, 1, &[0xff; 64]), Either),
        case("Get with nothing", call(3, 1, b""), Either),
        case("Get with noise", call(3, 1, &[0xff; 64]), Error("cannot be decoded")),
        case("Get with a text for a number", call(3, 1, b"\x0a\x03abc"), Error("cannot be decoded")),
        case(
            "Get with a number of eleven bytes",
            call(3, 1, &[&[0x08][..], &[0x81; 11]].concat()),
            Error(""),
        ),
        case("Get cut short", call(3, 1, &[0x08, 0x00, 0x10]), Error("cannot be decoded")),
        case("field 0", call(3, 1, &[0x00, 0x01]), Error("cannot be decoded")),
        case("a wire type that there is not", call(3, 1, &[0x0f, 0x01]), Error("cannot be decoded")),
        case("groups within groups", call(3, 1, &groups), Error("cannot be decoded")),
        case("the end of a group never begun", call(3, 1, &[0x0c]), Error("cannot be decoded")),
        case(
            "a block longer than its message",
            call(3, 2, &[0x08, 0, 0x12, 0xff, 0xff, 0xff, 0x7f]),
            Error(""),
        ),
        case("2,000 unknown fields", call(1, 1, &unknown), Either),
        case("noise that wants no reply", raw(3, 0, 2, 0, &[0xff; 64]), Silence),
    ]
}

/// `Open` gone wrong.
fn opens() -> Vec<Case> {
    use Expect::{Either, Error};
    let key = |length: usize| {
        let key = Some(Bytes::from(vec![3; length]));
        ask::<corestore::Open>(OpenRequest { id: 9, key, ..OpenRequest::default() })
    };
    let named = |name: String| {
        ask::<corestore::Open>(OpenRequest { id: 9, name: Some(name), ..OpenRequest::default() })
    };
    vec![
        case(
            "an id in use",
            ask::<corestore::Open>(OpenRequest::default()),
            Error("Session already in use."),
        ),
        case("a key of 31 bytes", key(31), Error("")),
        case("a key of 33 bytes", key(33), Error("")),
        case("a key of 1 MiB", key(1 << 20), Error("")),
        case("a name of 16 MiB", named("n".repeat(16 << 20)), Error("")),
        case("a name of NULs", named("\0".repeat(99)), Either),
        case("a name that is a path", named("../../../../etc/passwd".into()), Either),
        case("a name that is not UTF-8", call(2, 1, &[0x08, 9, 0x1a, 2, 0xff, 0xfe]), Error("")),
        case("a nameless core that no reply can tell of", raw(2, 0, 1, 0, &[0x08, 9]), Expect::Silence),
    ]
}

/// Core methods with arguments that make no sense.
fn cores() -> Vec<Case> {
    use Expect::{Answer, Either, Error};
    const FAR: u64 = (1 << 63) + 5;
    let blocks = vec![Bytes::from_static(b"x")];
    let get = |id, seq| GetRequest { id, seq, resource_id: 1, wait: Some(false), ..GetRequest::default() };
    vec![
        case("Get of an unknown core", ask::<hypercore::Get>(get(77, 0)), Error("Invalid hypercore: 77")),
        case("Get of block 2^63", ask::<hypercore::Get>(get(0, FAR)), Error("Block not downloaded")),
        case(
            "Get of the largest block",
            ask::<hypercore::Get>(get(0, u64::MAX)),
            Error("Block not downloaded"),
        ),
        case(
            "Append to an unknown core",
            ask::<hypercore::Append>(AppendRequest {
                id: 77,
                blocks: blocks.clone(),
                ..AppendRequest::default()
            }),
            Error("Invalid hypercore: 77"),
        ),
        case(
            "Append to somebody else's core",
            ask::<hypercore::Append>(AppendRequest {
                id: 1,
                blocks: blocks.clone(),
                ..AppendRequest::default()
            }),
            Error("This feed is not writable"),
        ),
        case(
            "Append where another length was expected",
            ask::<hypercore::Append>(AppendRequest { id: 0, blocks, expected_length: Some(1) }),
            Error("CONFLICT"),
        ),
        case(
            "Append without blocks where another length was expected",
            ask::<hypercore::Append>(AppendRequest {
                id: 0,
                blocks: vec![],
                expected_length: Some(u64::MAX),
            }),
            Either,
        ),
        case(
            "Seek beyond everything",
            ask::<hypercore::Seek>(SeekRequest { id: 0, byte_offset: u64::MAX, ..SeekRequest::default() }),
            Error("Seek not available"),
        ),
        case(
            "Seek in a range that ends before it starts",
            ask::<hypercore::Seek>(SeekRequest {
                id: 0,
                start: Some(9),
                end: Some(1),
                ..SeekRequest::default()
            }),
            Either,
        ),
        case("Has far beyond the end", ask::<hypercore::Has>(HasRequest { id: 0, seq: u64::MAX }), Answer),
        case(
            "Downloaded of a range that ends before it starts",
            ask::<hypercore::Downloaded>(DownloadedRequest { id: 0, start: Some(9), end: Some(1) }),
            Either,
        ),
        case(
            "Downloaded of everything imaginable",
            ask::<hypercore::Downloaded>(DownloadedRequest { id: 0, start: Some(0), end: Some(u64::MAX) }),
            Answer,
        ),
        case(
            "Update to the largest length",
            ask::<hypercore::Update>(UpdateRequest {
                id: 0,
                min_length: Some(u64::MAX),
                ..UpdateRequest::default()
            }),
            Error("No update available"),
        ),
        case(
            "Clear of a range that ends before it starts",
            ask::<hypercore::Clear>(ClearRequest { id: 0, start: 9, end: 1 }),
            Either,
        ),
        case(
            "Clear far beyond the end",
            ask::<hypercore::Clear>(ClearRequest { id: 0, start: FAR, end: u64::MAX }),
            Either,
        ),
        case(
            "Flush of an unknown core",
            ask::<hypercore::Flush>(FlushRequest { id: 77 }),
            Error("Invalid hypercore: 77"),
        ),
        case(
            "Info of an unknown core",
            ask::<hypercore::Info>(InfoRequest { id: 77 }),
            Error("Invalid hypercore: 77"),
        ),
        case(
            "Close of an unknown core",
            ask::<hypercore::Close>(CloseRequest { id: 77 }),
            Error("Invalid hypercore: 77"),
        ),
        case(
            "Close, twice",
            [
                request::<hypercore::Close>(5, &CloseRequest { id: 0 }),
                ask::<hypercore::Close>(CloseRequest { id: 0 }),
            ]
            .concat(),
            Error("Invalid hypercore: 0"),
        ),
        case(
            "a lock never held",
            ask::<hypercore::ReleaseLock>(LockRequest { id: 0 }),
            Error("Core is not locked"),
        ),
        case(
            "a lock of a core with an id of 33 bits",
            ask::<hypercore::AcquireLock>(LockRequest { id: 1 << 32 }),
            Error("Invalid hypercore"),
        ),
        case(
            "a watch of an unknown core",
            ask::<hypercore::WatchUploads>(WatchRequest { id: 77 }),
            Error("Invalid hypercore: 77"),
        ),
    ]
}

/// Resources: gets, downloads and extensions.
fn resources() -> Vec<Case> {
    use Expect::{Answer, Either, Error};
    let waiting =
        GetRequest { id: 1, seq: 0, resource_id: 5, if_available: Some(false), ..GetRequest::default() };
    let download =
        DownloadRequest { id: 1, resource_id: 5, start: Some(0), end: Some(9), ..DownloadRequest::default() };
    let extension = RegisterExtensionRequest { id: 0, resource_id: 5, name: "x".into() };
    let twice = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    vec![
        case(
            "two gets of one resource id",
            twice(request::<hypercore::Get>(5, &waiting), ask::<hypercore::Get>(waiting)),
            Error("Resource already exists: 5"),
        ),
        case(
            "two downloads of one resource id",
            twice(request::<hypercore::Download>(5, &download), ask::<hypercore::Download>(download.clone())),
            Error("Resource already exists: 5"),
        ),
        case(
            "two extensions of one resource id",
            twice(
                request::<hypercore::RegisterExtension>(5, &extension),
                ask::<hypercore::RegisterExtension>(extension.clone()),
            ),
            Error("Resource already exists: 5"),
        ),
        case(
            "a download that ends before it starts",
            ask::<hypercore::Download>(DownloadRequest {
                id: 0,
                start: Some(9),
                end: Some(3),
                ..download.clone()
            }),
            Either,
        ),
        case(
            "a download of 500,000 listed blocks",
            twice(
                request::<hypercore::Download>(
                    5,
                    &DownloadRequest { blocks: (0..500_000).collect(), end: None, start: None, ..download },
                ),
                ask::<hypercore::Undownload>(UndownloadRequest { id: 1, resource_id: 5 }),
            ),
            Answer,
        ),
        case("Cancel of nothing", ask::<hypercore::Cancel>(CancelRequest { id: 0, resource_id: 99 }), Answer),
        case(
            "Cancel on an unknown core",
            ask::<hypercore::Cancel>(CancelRequest { id: 77, resource_id: 5 }),
            Error("Invalid hypercore: 77"),
        ),
        case(
            "Undownload of nothing",
            ask::<hypercore::Undownload>(UndownloadRequest { id: 0, resource_id: 99 }),
            Answer,
        ),
        case(
            "an extension never registered, unregistered",
            ask::<hypercore::UnregisterExtension>(UnregisterExtensionRequest { id: 0, resource_id: 99 }),
            Error("Invalid resource: 99"),
        ),
        case(
            "a message of an extension never registered",
            ask::<hypercore::SendExtension>(ExtensionMessage {
                id: 0,
                resource_id: 99,
                remote_public_key: None,
                data: Bytes::from_static(b"x"),
            }),
            Either,
        ),
        case(
            "an extension of an enormous name",
            ask::<hypercore::RegisterExtension>(RegisterExtensionRequest {
                name: "x".repeat(1 << 20),
                ..extension
            }),
            Either,
        ),
        case(
            "thousands of gets that nobody can answer",
            (0..20_000u64)
                .flat_map(|i| {
                    let get = GetRequest {
                        id: 1,
                        seq: i,
                        resource_id: 10_000 + i,
                        if_available: Some(false),
                        ..GetRequest::default()
                    };
                    request::<hypercore::Get>(10_000 + i, &get)
                })
                .collect::<Vec<u8>>(),
            Expect::Anything,
        ),
    ]
}

/// Network methods with arguments that make no sense.
fn networks() -> Vec<Case> {
    use Expect::{Either, Error};
    let status = |length: usize| NetworkStatus {
        discovery_key: Bytes::from(vec![1; length]),
        lookup: Some(true),
        ..NetworkStatus::default()
    };
    let configure = |configuration, copy_from: Option<Bytes>| {
        ask::<network::Configure>(ConfigureNetworkRequest {
            configuration,
            copy_from,
            ..ConfigureNetworkRequest::default()
        })
    };
    vec![
        case("a topic of 31 bytes", configure(status(31), None), Error("Invalid discovery key.")),
        case("a topic of no bytes", configure(status(0), None), Error("Invalid discovery key.")),
        case(
            "a copy of a topic of 5 bytes",
            configure(status(32), Some(Bytes::from_static(b"short"))),
            Error("Must copy from a valid discovery key."),
        ),
        case("Configure with nothing", call(4, 2, b""), Error("")),
        case(
            "the status of a topic of 3 bytes",
            ask::<network::Status>(NetworkStatusRequest { discovery_key: Bytes::from_static(b"abc") }),
            Either,
        ),
        case(
            "a network extension never registered, unregistered",
            ask::<network::UnregisterExtension>(UnregisterExtensionRequest { id: 0, resource_id: 99 }),
            Error("Invalid resource: 99"),
        ),
        case(
            "Status, a thousand times in one piece",
            ask::<hyperspace::Status>(Void {}).repeat(1000),
            Expect::Answer,
        ),
    ]
}
