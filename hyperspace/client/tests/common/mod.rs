//! A server played by a test, over a real socket or over a stream in memory.
#![allow(dead_code)]

use bytes::{Bytes, BytesMut};
use hyperspace_api::{Corestore, OpenTarget};
use hyperspace_client::{ClientOptions, Endpoint, HyperspaceClient, RemoteHypercore};
use hyperspace_schema::frame::{self, Decoder, Frame, Kind};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::{Method, corestore, hypercore};
use prost::Message;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{UnixListener, UnixStream};

pub const KEY: [u8; 32] = [7; 32];

/// The server's end of a connection.
pub struct Peer<S> {
    pub stream: S,
    input: BytesMut,
    out: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), out: BytesMut::new() }
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Decoder::default().next(&mut self.input).expect("the client speaks HRPC") {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.input).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next frame, which must be a call of `M`.
    pub async fn expect<M: Method>(&mut self) -> (u64, M::Request) {
        let frame = self.next().await.expect("the connection stays");
        assert_eq!(
            (frame.kind, frame.service, frame.method),
            (Kind::Request, M::SERVICE, M::METHOD),
            "{}",
            M::NAME
        );
        (frame.id, M::Request::decode(frame.payload).expect("its message"))
    }

    /// Is nothing sent for a while?
    pub async fn hears_nothing(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(50), self.next()).await.is_err()
    }

    pub fn queue<M: Method>(&mut self, id: u64, response: &M::Response) {
        frame::response::<M>(&mut self.out, id, response);
    }

    pub fn queue_event<M: Method>(&mut self, event: &M::Request) {
        frame::request::<M>(&mut self.out, 0, event);
    }

    pub fn queue_error<M: Method>(&mut self, id: u64, message: &str) {
        let error = m::RpcError { message: message.into(), ..m::RpcError::default() };
        frame::error(&mut self.out, M::SERVICE, M::METHOD, id, &error);
    }

    pub async fn flush(&mut self) {
        let out = self.out.split();
        self.stream.write_all(&out).await.expect("the client reads");
    }

    pub async fn reply<M: Method>(&mut self, id: u64, response: &M::Response) {
        self.queue::<M>(id, response);
        self.flush().await;
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client reads");
    }

    /// Answers an `Open` for the core with [`KEY`]; returns the client's id for it.
    pub async fn open(&mut self, length: u64) -> u32 {
        let (id, request) = self.expect::<corestore::Open>().await;
        self.reply::<corestore::Open>(id, &opened(length)).await;
        request.id
    }
}

pub fn opened(length: u64) -> m::OpenResponse {
    m::OpenResponse {
        key: Bytes::copy_from_slice(&KEY),
        length,
        byte_length: length * 10,
        writable: true,
        ..m::OpenResponse::default()
    }
}

pub fn block(index: u64) -> m::GetResponse {
    m::GetResponse { block: Some(format!("block {index}").into()) }
}

/// Neither cache nor read-ahead, and not patient.
pub fn plain() -> ClientOptions {
    ClientOptions { cache_bytes: 0, patience: Duration::from_secs(2), ..ClientOptions::default() }
}

pub async fn in_memory(options: ClientOptions) -> (HyperspaceClient, Peer<DuplexStream>) {
    let (ours, theirs) = duplex(1 << 20);
    let client = HyperspaceClient::connect_stream(ours, options).await.expect("a stream that is there");
    (client, Peer::new(theirs))
}

pub struct Listening {
    pub listener: UnixListener,
    pub endpoint: Endpoint,
    _dir: tempfile::TempDir,
}

impl Listening {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("server.sock");
        let listener = UnixListener::bind(&path).expect("a socket in it");
        Self { listener, endpoint: Endpoint::Unix(path), _dir: dir }
    }

    pub async fn accept(&self) -> Peer<UnixStream> {
        Peer::new(self.listener.accept().await.expect("a client comes").0)
    }

    pub async fn connect(&self, options: ClientOptions) -> (HyperspaceClient, Peer<UnixStream>) {
        let (client, peer) =
            tokio::join!(HyperspaceClient::connect_with(self.endpoint.clone(), options), self.accept());
        (client.expect("it listens"), peer)
    }
}

/// Opens the core with [`KEY`], of `length` blocks.
pub async fn open_core<S: AsyncRead + AsyncWrite + Unpin>(
    client: &HyperspaceClient,
    peer: &mut Peer<S>,
    length: u64,
) -> RemoteHypercore {
    let store = client.corestore(None);
    let (core, _) = tokio::join!(store.open(OpenTarget::Key(KEY.into())), peer.open(length));
    core.expect("it was opened")
}

/// Plays a server that has every block of one core, until the client leaves.
pub async fn serve_blocks<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut Peer<S>) {
    while let Some(frame) = peer.next().await {
        if (frame.service, frame.method) == (hypercore::Get::SERVICE, hypercore::Get::METHOD) {
            let request = m::GetRequest::decode(frame.payload).expect("a get");
            peer.queue::<hypercore::Get>(frame.id, &block(request.seq));
        }
        if Decoder::default().next(&mut peer.input.clone()).expect("HRPC").is_none() {
            let out = peer.out.split();
            if peer.stream.write_all(&out).await.is_err() {
                return; // it left without waiting for answers to what it had cancelled
            }
        }
    }
}
