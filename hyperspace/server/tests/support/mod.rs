//! A client that speaks HRPC by hand, so that it can misbehave.
#![allow(dead_code)]

use bytes::BytesMut;
use data_encoding::HEXLOWER;
use hyperspace::{Config, Endpoint, Limits, RunningServer, Storage};
use hyperspace_schema::frame::{self, Decoder, Frame, Kind};
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{Event, Method, corestore, hypercore, hyperspace as hyper};
use prost::Message;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// What takes longer than this hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server in memory, on a socket of its own.
pub struct TestServer {
    pub running: RunningServer,
    pub socket: PathBuf,
    _folder: TempDir,
}

pub async fn server() -> TestServer {
    server_with(Limits::default()).await
}

pub async fn server_with(limits: Limits) -> TestServer {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s.sock");
    let config = Config {
        storage: Storage::Memory,
        endpoint: Some(Endpoint::Unix(socket.clone())),
        limits,
        ..Config::default()
    };
    TestServer { running: hyperspace::start(config).await.unwrap(), socket, _folder: folder }
}

impl TestServer {
    pub async fn client(&self) -> Client {
        Client::connect(&self.socket).await
    }
}

pub struct Client {
    pub stream: UnixStream,
    pub input: BytesMut,
    /// Events that came while something else was waited for.
    pub events: VecDeque<Event>,
    next: u64,
}

pub fn unhex(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.replace([' ', '|'], "").as_bytes()).unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

impl Client {
    pub async fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await.unwrap();
        Self { stream, input: BytesMut::new(), events: VecDeque::new(), next: 1 }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server does not read").unwrap();
    }

    /// Sends `bytes`, and does not mind if the server has closed the connection.
    pub async fn try_send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server does not read");
    }

    /// The next frame; `None` when the server has closed the connection.
    pub async fn frame(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.frame_if_any()).await.expect("the server does not answer")
    }

    async fn frame_if_any(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Decoder::default().next(&mut self.input).unwrap() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next raw bytes, exactly so many.
    pub async fn raw(&mut self, length: usize) -> Vec<u8> {
        while self.input.len() < length {
            let n =
                timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await.expect("no bytes").unwrap();
            assert_ne!(n, 0, "closed; got {} of {length} bytes: {}", self.input.len(), hex(&self.input));
        }
        self.input.split_to(length).to_vec()
    }

    /// Sends a call and returns its id.
    pub async fn ask<M: Method>(&mut self, request: &M::Request) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut wire = BytesMut::new();
        frame::request::<M>(&mut wire, id, request);
        self.send(&wire).await;
        id
    }

    /// Waits for the answer to call `id`; events that come first are kept.
    pub async fn answer<M: Method>(&mut self, id: u64) -> Result<M::Response, RpcError> {
        loop {
            let frame = self.frame().await.expect("the server closed the connection");
            match frame.kind {
                Kind::Request => {
                    assert_eq!(frame.id, 0, "events ask for no reply");
                    self.events.push_back(Event::decode(frame.service, frame.method, frame.payload).unwrap());
                }
                Kind::Response if frame.id == id => {
                    assert_eq!((frame.service, frame.method), (M::SERVICE, M::METHOD));
                    return Ok(M::Response::decode(frame.payload).unwrap());
                }
                Kind::Error if frame.id == id => {
                    assert_eq!((frame.service, frame.method), (M::SERVICE, M::METHOD));
                    return Err(RpcError::decode(frame.payload).unwrap());
                }
                _ => panic!("an answer to another call: {frame:?}"),
            }
        }
    }

    pub async fn call<M: Method>(&mut self, request: &M::Request) -> Result<M::Response, RpcError> {
        let id = self.ask::<M>(request).await;
        self.answer::<M>(id).await
    }

    /// The text of the error that a call fails with.
    pub async fn failure<M: Method<Response: std::fmt::Debug>>(&mut self, request: &M::Request) -> String {
        self.call::<M>(request).await.expect_err("it should fail").message
    }

    /// The next event.
    pub async fn event(&mut self) -> Event {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        let frame = self.frame().await.expect("the server closed the connection");
        assert_eq!((frame.kind, frame.id), (Kind::Request, 0), "no event: {frame:?}");
        Event::decode(frame.service, frame.method, frame.payload).unwrap()
    }

    /// All events that the server had for us before it answers this.
    pub async fn events(&mut self) -> Vec<Event> {
        self.call::<hyper::Status>(&Void {}).await.unwrap();
        self.events.drain(..).collect()
    }

    pub async fn open(&mut self, id: u32, name: &str) -> OpenResponse {
        let request = OpenRequest { id, key: None, name: Some(name.into()), weak: None };
        self.call::<corestore::Open>(&request).await.unwrap()
    }

    pub async fn open_key(&mut self, id: u32, key: &[u8]) -> OpenResponse {
        let request = OpenRequest { id, key: Some(key.to_vec().into()), name: None, weak: None };
        self.call::<corestore::Open>(&request).await.unwrap()
    }

    pub async fn append(&mut self, id: u32, block: &[u8]) -> AppendResponse {
        self.call::<hypercore::Append>(&append(id, block)).await.unwrap()
    }

    /// Is the server still answering this connection?
    pub async fn is_served(&mut self) -> bool {
        let mut wire = BytesMut::new();
        let id = (1 << 56) - 1;
        frame::request::<hyper::Status>(&mut wire, id, &Void {});
        self.try_send(&wire).await;
        while let Some(frame) = self.frame().await {
            if frame.id == id {
                return true;
            }
        }
        false
    }
}

pub fn append(id: u32, block: &[u8]) -> AppendRequest {
    AppendRequest { id, blocks: vec![block.to_vec().into()], expected_length: None }
}

pub fn get(id: u32, seq: u64, resource_id: u64) -> GetRequest {
    GetRequest { id, seq, resource_id, wait: None, if_available: None, on_wait_id: None }
}

/// A get that waits until somebody has the block.
pub fn patient_get(id: u32, seq: u64, resource_id: u64) -> GetRequest {
    GetRequest { if_available: Some(false), ..get(id, seq, resource_id) }
}
