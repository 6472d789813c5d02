//! Listening, so that nobody else can read the socket, no live server is displaced,
//! and no file that is not a dead socket is touched.

use crate::config::Endpoint;
use crate::transport::Transport;
use nix::fcntl::OFlag;
use nix::sys::socket::{self, AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, fchmod};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A server answers there.
    #[error("a server is already listening on {0}")]
    InUse(Endpoint),
    /// Something else is there, and stays there.
    #[error("{0} exists and is not a socket; remove it or choose another name")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot listen on {endpoint}")]
    Io {
        /// Where.
        endpoint: Endpoint,
        /// What it said.
        source: io::Error,
    },
}

/// Where clients connect. Dropping it removes the socket.
#[derive(Debug)]
pub struct Listener {
    kind: ListenerKind,
    endpoint: Endpoint,
}

#[derive(Debug)]
enum ListenerKind {
    Unix { listener: UnixListener, _place: Place },
    Tcp(TcpListener),
}

/// A socket's path, ours for as long as this lives.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Device and inode of the socket that we made.
    made: Option<(u64, u64)>,
    lock_path: PathBuf,
    /// Held locked.
    _lock: File,
}

impl Listener {
    /// Starts to listen. Must be called within a tokio runtime.
    pub async fn bind(endpoint: Endpoint) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Io { endpoint: endpoint.clone(), source };
        match &endpoint {
            Endpoint::Unix(path) => {
                let mut place = Place::take(path)?;
                let listener = place.listen().map_err(failed)?;
                Ok(Self { kind: ListenerKind::Unix { listener, _place: place }, endpoint })
            }
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => ListenError::InUse(endpoint.clone()),
                    _ => failed(error),
                })?;
                let endpoint = Endpoint::Tcp(listener.local_addr().map_err(failed)?);
                Ok(Self { kind: ListenerKind::Tcp(listener), endpoint })
            }
        }
    }

    /// Where it listens; the port is the true one if 0 was asked for.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next client.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match &self.kind {
            ListenerKind::Unix { listener, .. } => Ok(Accepted::Unix(listener.accept().await?.0.into_std()?)),
            ListenerKind::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream.into_std()?))
            }
        }
    }
}

/// A client that was accepted, not yet bound to a runtime.
#[derive(Debug)]
pub enum Accepted {
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixStream),
    /// Over TCP.
    Tcp(std::net::TcpStream),
}

impl Accepted {
    /// Its byte stream, on the runtime of the caller.
    pub fn into_stream(self) -> io::Result<Stream> {
        match self {
            Self::Unix(stream) => Ok(Stream::Unix(UnixStream::from_std(stream)?)),
            Self::Tcp(stream) => Ok(Stream::Tcp(TcpStream::from_std(stream)?)),
        }
    }
}

impl Place {
    /// Makes sure that the path is free, and that only we may use it.
    ///
    /// Two servers that start at once are told apart by a lock file beside the
    /// socket. A server that knows nothing of it (npm's) is told by its answering.
    fn take(path: &Path) -> Result<Self, ListenError> {
        let endpoint = Endpoint::Unix(path.to_owned());
        let failed = |source| ListenError::Io { endpoint: endpoint.clone(), source };
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = loop {
            let lock = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&lock_path)
                .map_err(failed)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(ListenError::InUse(endpoint)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // A server that ended just now has removed the file, and we hold nothing.
            let held = lock.metadata().map_err(failed)?;
            if fs::symlink_metadata(&lock_path).is_ok_and(|now| now.ino() == held.ino()) {
                break lock;
            }
        };
        let place = Self { path: path.to_owned(), made: None, lock_path, _lock: lock };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ListenError::NotASocket(path.to_owned()));
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(ListenError::InUse(endpoint)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            },
        }
        Ok(place)
    }

    fn listen(&mut self) -> io::Result<UnixListener> {
        let address = UnixAddr::new(&self.path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket: OwnedFd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        // Linux makes the socket's file with the mode of the socket.
        fchmod(socket.as_fd(), Mode::from_bits_truncate(0o600))?;
        socket::bind(socket.as_raw_fd(), &address)?;
        let made = fs::symlink_metadata(&self.path)?;
        self.made = Some((made.dev(), made.ino()));
        if made.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600))?;
        }
        // Nobody can connect before this, whatever the mode was.
        socket::listen(&socket, Backlog::MAXCONN)?;
        UnixListener::from_std(socket.into())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(made) = self.made
            && fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == made)
        {
            let _ = fs::remove_file(&self.path);
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// An accepted client.
#[derive(Debug)]
pub enum Stream {
    /// Over a unix socket.
    Unix(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

impl Transport for Stream {
    fn read_now(&mut self, into: &mut [u8]) -> Option<io::Result<usize>> {
        let socket = match self {
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tcp(stream) => stream.as_raw_fd(),
        };
        Some(socket::recv(socket, into, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from))
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(cx))
    }
}
