//! HRPC without a client library: typed calls, and bytes that no client would send.

use bytes::{Bytes, BytesMut};
use hyperspace_schema::frame::{self, Decoder, Frame, Kind};
use hyperspace_schema::messages::{OpenRequest, OpenResponse, RpcError};
use hyperspace_schema::methods::{Method, corestore};
use prost::Message;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Why a call failed.
#[derive(Debug)]
pub enum Failure {
    /// The server said so.
    Remote(RpcError),
    /// The connection is gone, or the answer is none.
    Broken(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// One connection; calls are made one at a time.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    input: BytesMut,
    decoder: Decoder,
    last_id: u64,
}

impl Wire {
    /// Connects to the server at `socket`. Waits at most ten seconds for anything.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, input: BytesMut::new(), decoder: Decoder::default(), last_id: 0 })
    }

    /// Sends any bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// How long a send may take.
    pub fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(timeout))
    }

    /// Says that nothing more will come.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    /// The next frame; `None` when the server has closed the connection.
    pub fn receive(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let frame = self.decoder.next(&mut self.input);
            if let Some(frame) = frame.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                return Ok(Some(frame));
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(read) => self.input.extend_from_slice(&chunk[..read]),
                // The peer hung up on us: as good as an end.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// Calls `M` and waits for the answer; events on the way are skipped.
    pub fn call<M: Method>(&mut self, request: &M::Request) -> Result<M::Response, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let mut out = BytesMut::new();
        frame::request::<M>(&mut out, id, request);
        self.send(&out)?;
        loop {
            let frame = self.receive()?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            if frame.id != id {
                continue;
            }
            match frame.kind {
                Kind::Response => return decode(frame.payload).map_err(Failure::Broken),
                Kind::Error => return Err(Failure::Remote(decode(frame.payload)?)),
                Kind::Request | Kind::Unassigned => {}
            }
        }
    }

    /// Opens the core `name` under `id`.
    pub fn open(&mut self, id: u32, name: &str) -> Result<OpenResponse, Failure> {
        self.call::<corestore::Open>(&OpenRequest {
            id,
            name: Some(name.to_owned()),
            ..OpenRequest::default()
        })
    }
}

fn decode<T: Message + Default>(payload: Bytes) -> io::Result<T> {
    T::decode(payload).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
