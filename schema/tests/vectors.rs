//! The bytes that npm hyperspace 3.19 and its client exchange (captured from the
//! packages; the 32-byte keys are our own), in both directions.

use bytes::BytesMut;
use data_encoding::HEXLOWER;
use hyperspace_schema::frame::{self, Decoder, Frame, Kind};
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{Call, Event, Method, corestore, hypercore, hyperspace, network};
use prost::Message;

/// Stands for a core's key in the vectors.
const KEY: [u8; 32] = [0xaa; 32];
/// Stands for a discovery key.
const DISCOVERY: [u8; 32] = [0xbb; 32];

fn bytes(hex: &str) -> BytesMut {
    let hex = hex
        .replace("KEY", &HEXLOWER.encode(&KEY))
        .replace("DISCOVERY", &HEXLOWER.encode(&DISCOVERY))
        .replace([' ', '|'], "");
    BytesMut::from(&HEXLOWER.decode(hex.as_bytes()).unwrap()[..])
}

fn one_frame(hex: &str) -> Frame {
    let mut wire = bytes(hex);
    let frame = Decoder::default().next(&mut wire).unwrap().unwrap_or_else(|| panic!("incomplete: {hex}"));
    assert!(wire.is_empty(), "left over: {hex}");
    frame
}

/// Both ways for something a client sends.
fn call<M: Method>(hex: &str, id: u64, message: M::Request, call: Call) {
    let mut wire = BytesMut::new();
    frame::request::<M>(&mut wire, id, &message);
    assert_eq!(wire, bytes(hex), "{}", M::NAME);
    let frame = one_frame(hex);
    assert_eq!((frame.kind, frame.id), (Kind::Request, id));
    assert_eq!(Call::decode(frame.service, frame.method, frame.payload).unwrap(), call);
}

/// Both ways for an answer.
fn answer<M: Method<Response: PartialEq + std::fmt::Debug>>(hex: &str, id: u64, message: M::Response) {
    let mut wire = BytesMut::new();
    frame::response::<M>(&mut wire, id, &message);
    assert_eq!(wire, bytes(hex), "{}", M::NAME);
    let frame = one_frame(hex);
    assert_eq!(
        (frame.kind, frame.service, frame.method, frame.id),
        (Kind::Response, M::SERVICE, M::METHOD, id)
    );
    assert_eq!(M::Response::decode(frame.payload).unwrap(), message);
}

/// Both ways for an event.
fn event<M: Method>(hex: &str, message: M::Request, event: Event) {
    let mut wire = BytesMut::new();
    frame::request::<M>(&mut wire, 0, &message);
    assert_eq!(wire, bytes(hex), "{}", M::NAME);
    let frame = one_frame(hex);
    assert_eq!((frame.kind, frame.id), (Kind::Request, 0));
    assert_eq!(Event::decode(frame.service, frame.method, frame.payload).unwrap(), event);
}

/// Both ways for a failure.
fn failure(hex: &str, service: u64, method: u64, id: u64, error: RpcError) {
    let mut wire = BytesMut::new();
    frame::error(&mut wire, service, method, id, &error);
    assert_eq!(wire, bytes(hex), "{error:?}");
    let frame = one_frame(hex);
    assert_eq!((frame.kind, frame.service, frame.method, frame.id), (Kind::Error, service, method, id));
    assert_eq!(RpcError::decode(frame.payload).unwrap(), error);
}

fn text(message: &str) -> RpcError {
    RpcError { message: message.into(), code: None, errno: None, details: None }
}

#[test]
fn status() {
    call::<hyperspace::Status>("03 04 01 01", 1, Void {}, Call::Status(Void {}));
    answer::<hyperspace::Status>(
        "15 05 01 01 | 0a06 312e31352e31 | 1a00 | 2206 332e31392e30",
        1,
        HyperspaceStatusResponse {
            api_version: hyperspace_schema::API_VERSION.into(),
            holepunchable: None,
            remote_address: Some(String::new()),
            version: Some("3.19.0".into()),
        },
    );
}

#[test]
fn open() {
    let by_name = OpenRequest { id: 0, key: None, name: Some("x".into()), weak: Some(false) };
    call::<corestore::Open>("0a 08 01 01 | 0800 | 1a0178 | 2000", 1, by_name.clone(), Call::Open(by_name));
    let feed = FeedEvent { key: KEY.to_vec().into() };
    event::<corestore::OnFeed>("25 08 02 00 | 0a20 KEY", feed.clone(), Event::OnFeed(feed));
    answer::<corestore::Open>(
        "4d 09 01 01 | 0a20 KEY | 1000 | 1800 | 2001 | 3220 DISCOVERY",
        1,
        OpenResponse {
            key: KEY.to_vec().into(),
            length: 0,
            byte_length: 0,
            writable: true,
            peers: vec![],
            discovery_key: Some(DISCOVERY.to_vec().into()),
        },
    );
    let by_key = OpenRequest { id: 1, key: Some(KEY.to_vec().into()), name: None, weak: None };
    call::<corestore::Open>("27 08 01 02 | 0801 | 1220 KEY", 2, by_key.clone(), Call::Open(by_key));
}

#[test]
fn append() {
    let two = AppendRequest { id: 0, blocks: vec!["hello".into(), "world".into()], expected_length: None };
    let hex = "13 0c 02 01 | 0800 | 1205 68656c6c6f | 1205 776f726c64";
    call::<hypercore::Append>(hex, 1, two.clone(), Call::Append(two));
    for (hex, told) in [
        ("09 0c 10 00 | 0800 | 1002 | 180a", AppendEvent { id: 0, length: 2, byte_length: 10 }),
        ("09 0c 10 00 | 0800 | 1003 | 180b", AppendEvent { id: 0, length: 3, byte_length: 11 }),
        ("09 0c 10 00 | 0801 | 1003 | 180b", AppendEvent { id: 1, length: 3, byte_length: 11 }),
    ] {
        event::<hypercore::OnAppend>(hex, told, Event::OnAppend(told));
    }
    let first = AppendResponse { length: 2, byte_length: 10, seq: 0 };
    answer::<hypercore::Append>("09 0d 02 01 | 0802 | 100a | 1800", 1, first);
    let second = AppendResponse { length: 3, byte_length: 11, seq: 2 };
    answer::<hypercore::Append>("09 0d 02 02 | 0803 | 100b | 1802", 2, second);
    let no_reply = AppendRequest { id: 0, blocks: vec!["nr".into()], expected_length: None };
    call::<hypercore::Append>("09 0c 02 00 | 0800 | 1202 6e72", 0, no_reply.clone(), Call::Append(no_reply));
}

#[test]
fn get() {
    let get = GetRequest { id: 0, seq: 0, resource_id: 0, wait: None, if_available: None, on_wait_id: None };
    call::<hypercore::Get>("09 0c 01 01 | 0800 | 1000 | 1800", 1, get, Call::Get(get));
    let hello = GetResponse { block: Some("hello".into()) };
    answer::<hypercore::Get>("0a 0d 01 01 | 0a05 68656c6c6f", 1, hello);
    let local =
        GetRequest { id: 0, seq: 5, resource_id: 1, wait: Some(false), if_available: None, on_wait_id: None };
    call::<hypercore::Get>("0b 0c 01 01 | 0800 1005 1801 2000", 1, local, Call::Get(local));
    failure(
        "19 0e 01 01 | 0a14 426c6f636b206e6f7420646f776e6c6f61646564",
        3,
        1,
        1,
        text("Block not downloaded"),
    );
}

#[test]
fn has_seek_close() {
    let has = HasRequest { id: 0, seq: 0 };
    call::<hypercore::Has>("07 0c0501 0800 1000", 1, has, Call::Has(has));
    let has = HasRequest { id: 0, seq: 1 };
    call::<hypercore::Has>("07 0c0501 0800 1001", 1, has, Call::Has(has));
    answer::<hypercore::Has>("05 0d0501 0801", 1, HasResponse { has: true });
    let seek = SeekRequest { id: 0, byte_offset: 6, start: None, end: None, wait: None, if_available: None };
    call::<hypercore::Seek>("07 0c0401 0800 1006", 1, seek, Call::Seek(seek));
    answer::<hypercore::Seek>("07 0d0401 0801 1001", 1, SeekResponse { seq: 1, block_offset: 1 });
    let close = CloseRequest { id: 1 };
    call::<hypercore::Close>("05 0c0a02 0801", 2, close, Call::Close(close));
    answer::<hypercore::Close>("03 0d0a02", 2, Void {});
}

#[test]
fn locks_and_a_failure() {
    let lock = LockRequest { id: 0 };
    call::<hypercore::AcquireLock>("05 0c0e02 0800", 2, lock, Call::AcquireLock(lock));
    answer::<hypercore::AcquireLock>("03 0d0e02", 2, Void {});
    call::<hypercore::ReleaseLock>("05 0c0f02 0800", 2, lock, Call::ReleaseLock(lock));
    answer::<hypercore::ReleaseLock>("03 0d0f02", 2, Void {});
    let nowhere = AppendRequest { id: 99, blocks: vec!["a".into()], expected_length: None };
    call::<hypercore::Append>("08 0c0202 0863 120161", 2, nowhere.clone(), Call::Append(nowhere));
    let hex = "1a 0e 02 02 | 0a15 496e76616c6964206879706572636f72653a203939";
    failure(hex, 3, 2, 2, text("Invalid hypercore: 99"));
}

#[test]
fn network_calls() {
    call::<network::Open>("03 10 01 01", 1, Void {}, Call::NetworkOpen(Void {}));
    let open = OpenNetworkResponse { public_key: KEY.to_vec().into(), peers: vec![] };
    answer::<network::Open>("25 11 01 01 | 0a20 KEY", 1, open);
    let status = NetworkStatus {
        discovery_key: DISCOVERY.to_vec().into(),
        announce: Some(true),
        lookup: Some(true),
        remember: Some(true),
    };
    let configure = ConfigureNetworkRequest {
        configuration: status.clone(),
        flush: Some(false),
        copy_from: None,
        overwrite: None,
    };
    let hex = "2f 10 02 02 | 0a28 0a20 DISCOVERY 1001 1801 2001 | 1000";
    call::<network::Configure>(hex, 2, configure.clone(), Call::Configure(configure));
    let hex = "2d 11 02 02 | 0a28 0a20 DISCOVERY 1001 1801 2001";
    answer::<network::Configure>(hex, 2, ConfigureNetworkResponse { status: Some(status) });
    answer::<network::Status>("03 11 03 02", 2, NetworkStatusResponse { status: None });
}

#[test]
fn keep_alives_and_our_own_methods() {
    let mut wire = bytes("00 00 03 04 01 01 00");
    assert_eq!(Decoder::default().next(&mut wire).unwrap().unwrap().id, 1);
    assert_eq!(Decoder::default().next(&mut wire), Ok(None));
    assert!(wire.is_empty());

    let guarded = AppendRequest { id: 1, blocks: vec!["a".into()], expected_length: Some(7) };
    call::<hypercore::Append>("0a 0c0203 0801 120161 1807", 3, guarded.clone(), Call::Append(guarded));
    let flush = FlushRequest { id: 1 };
    call::<hypercore::Flush>("05 0c1c03 0801", 3, flush, Call::Flush(flush));
}

#[test]
fn negative_numbers_of_errors_in_both_forms() {
    let error = RpcError {
        message: "x".into(),
        code: Some("ECANCELED".into()),
        errno: Some(-11),
        details: Some("7".into()),
    };
    // npm's form: the number + 2^32, in 5 bytes.
    let npm = "1a 0e0709 | 0a0178 | 1209 45 43 41 4e 43 45 4c 45 44 | 18 f5ffffff0f | 2201 37";
    failure(npm, 3, 7, 9, error.clone());
    // The protobuf standard's: 64 bits, in 10 bytes.
    let standard = bytes("0a0178 | 1209 45 43 41 4e 43 45 4c 45 44 | 18 f5ffffffffffffffff01 | 2201 37");
    assert_eq!(RpcError::decode(standard.freeze()).unwrap(), error);
}

#[test]
fn a_block_framed_apart_is_the_same() {
    for size in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
        let block = bytes::Bytes::from(vec![7; size]);
        let mut whole = BytesMut::new();
        frame::response::<hypercore::Get>(&mut whole, 300, &GetResponse { block: Some(block.clone()) });
        let mut apart = BytesMut::new();
        frame::get_response_head(&mut apart, 300, size);
        apart.extend_from_slice(&block);
        assert_eq!(apart, whole, "{size}");
    }
}
