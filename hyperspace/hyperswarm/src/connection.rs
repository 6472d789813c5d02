//! A connection to a peer: a secret stream over any byte stream of tokio, and the channels
//! on it.
//!
//! A [`Connection`] belongs to one owner, who asks it for the [`Event`]s of
//! all its channels, in the order in which they came. To send, to open and to close, there
//! are as many [`Sender`]s as one likes. Behind both is one task, which ends with the
//! owner; a channel costs an entry in a table, and no task.
//!
//! # Back-pressure
//! * What arrives waits for the owner: when that is more than [`Options::incoming`], nothing
//!   is read from the transport until the owner has asked for some.
//! * What is sent waits for the transport: [`Sender::send`] queues it at once, and fails
//!   only at [`Limits::outgoing`](crate::protomux::Limits::outgoing). Whoever sends much
//!   awaits [`Sender::ready`] before each message.
//!
//! Two owners who each wait to send, and do not read meanwhile, would wait for ever. So an
//! owner that serves requests goes on with [`Connection::next`] while it waits for
//! [`Sender::ready`], and bounds the requests it remembers.

mod driver;
mod sender;
mod shared;

pub use sender::Sender;

use crate::key_pair::{KeyPair, PublicKey};
use crate::noise::{Handshake, HandshakeError, Pattern};
use crate::protomux::{Event, Limits, MuxError};
use crate::secret_stream::{Config, Event as StreamEvent, Opening, SecretStream, StreamError};
use driver::Driver;
use shared::Shared;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Why a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Io(Arc<io::Error>),
    /// The other side is not who it should be, or the stream was tampered with.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The other side does not keep to the protocol.
    #[error(transparent)]
    Mux(#[from] MuxError),
    /// We gave it up, for that reason. The other side is not told it.
    #[error("given up: {0}")]
    GivenUp(String),
    /// Its owner is gone.
    #[error("the connection's owner is gone")]
    Dropped,
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<HandshakeError> for ConnectionError {
    fn from(error: HandshakeError) -> Self {
        Self::Stream(error.into())
    }
}

/// The times and limits of a connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// Those of the secret stream.
    pub stream: Config,
    /// Those of its channels.
    pub limits: Limits,
    /// How many bytes may wait for the owner, before nothing more is read. 1 MiB; a message
    /// may exceed it.
    pub incoming: usize,
    /// How many bytes may wait to be sent, before [`Sender::ready`] waits. 1 MiB.
    pub outgoing: usize,
    /// How long [`Connection::close`] waits for the other side. 5 s.
    pub close_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stream: Config::default(),
            limits: Limits::default(),
            incoming: 1 << 20,
            outgoing: 1 << 20,
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// How much has gone over a connection, in bytes of its transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What has come.
    pub received: u64,
    /// What has gone.
    pub sent: u64,
}

/// Whom a connection leads to.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    is_initiator: bool,
    public_key: PublicKey,
    remote_public_key: PublicKey,
    handshake_hash: [u8; 64],
    round_trip: Option<Duration>,
}

/// A connection, as its owner has it: the events of its channels, and, by way of
/// [`Sender`], everything else. Dropped, it ends at once.
pub struct Connection {
    sender: Sender,
    task: JoinHandle<()>,
    close_timeout: Duration,
}

impl Connection {
    /// Opens a connection over a byte stream that was just opened, as the one who opened it
    /// (`initiator`) or the other, by a handshake of pattern XX.
    pub async fn new<T>(
        io: T,
        initiator: bool,
        pair: &KeyPair,
        options: Options,
    ) -> Result<Self, ConnectionError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = if initiator {
            Handshake::initiator(Pattern::Xx, pair, b"")?
        } else {
            Handshake::responder(Pattern::Xx, pair, b"")?
        };
        Self::open_with(io, handshake, options).await
    }

    /// The same with another handshake, or with keys that were agreed on elsewhere.
    pub async fn open_with<T>(
        mut io: T,
        opening: impl Into<Opening>,
        options: Options,
    ) -> Result<Self, ConnectionError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stream = SecretStream::new(opening, options.stream.clone(), Instant::now().into_std())?;
        shake(&mut io, &mut stream).await?;
        let keys = stream.keys().ok_or(StreamError::EndedEarly)?;
        let peer = Peer {
            is_initiator: keys.is_initiator,
            public_key: keys.public_key,
            remote_public_key: keys.remote_public_key,
            handshake_hash: keys.handshake_hash,
            round_trip: stream.round_trip(),
        };
        let shared = Arc::new(Shared::new(&options));
        let task = tokio::spawn(Driver::new(io, stream, Arc::clone(&shared)).run());
        let sender = Sender::new(shared, Arc::new(peer));
        Ok(Self { sender, task, close_timeout: options.close_timeout })
    }

    /// What the other side did next, on whatever channel. `None` when the connection is
    /// over, and all its channels with it: [`Sender::error`] tells why. May be cancelled.
    pub async fn next(&mut self) -> Option<Event> {
        self.sender.shared().next().await
    }

    /// The same, if there is something already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.sender.shared().try_next()
    }

    /// Another handle to send with.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Sends what waits to be sent, ends our side, and waits until the other side has ended
    /// its own. What it sends meanwhile is not read.
    pub async fn close(self) -> Result<(), ConnectionError> {
        self.sender.shared().end();
        let ended = tokio::time::timeout(self.close_timeout, self.sender.closed()).await;
        ended.unwrap_or(Ok(()))
    }
}

impl Deref for Connection {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// Goes on with a stream until its keys are agreed on, or it is too late.
async fn shake<T>(io: &mut T, stream: &mut SecretStream) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        if let Some(StreamEvent::Connected) = stream.poll()? {
            return Ok(());
        }
        let until = stream.poll_timeout();
        let step = async {
            if !stream.outgoing().is_empty() {
                io.write_all_buf(stream.outgoing()).await?;
                io.flush().await?;
            }
            stream.read_buffer().reserve(1024);
            io.read_buf(stream.read_buffer()).await
        };
        let read = match until {
            None => step.await,
            Some(at) => match tokio::time::timeout_at(at.into(), step).await {
                Ok(read) => read,
                Err(_) => {
                    stream.handle_timeout(Instant::now().into_std())?;
                    continue;
                }
            },
        };
        match read? {
            0 => stream.received_end(),
            _ => stream.received(Instant::now().into_std()),
        }
    }
}
