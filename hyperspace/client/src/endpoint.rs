//! Where a server is, by the rules of npm `@hyperspace/rpc` 1.15.1.

use crate::mux::socket::Socket;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Names the socket of the default server, if set.
pub const SOCKET_VARIABLE: &str = "HYPERSPACE_SOCKET";

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Unix socket, by its path.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Endpoint {
    /// The Unix socket of that name: `<temp dir>/<name>.sock`, where the temp dir is
    /// the first of `$TMPDIR`, `$TMP`, `$TEMP` that is set, else `/tmp`. Without a
    /// name, that of the variable `HYPERSPACE_SOCKET`, else `hyperspace`. For a path
    /// of another kind there is [`Endpoint::Unix`].
    pub fn unix(name: Option<&str>) -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::unix_in(name, variable)
    }

    fn unix_in(name: Option<&str>, variable: impl Fn(&'static str) -> Option<String>) -> Self {
        let name = name
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .or_else(|| variable(SOCKET_VARIABLE))
            .unwrap_or_else(|| "hyperspace".to_owned());
        let dir = ["TMPDIR", "TMP", "TEMP"].into_iter().find_map(variable).unwrap_or_else(|| "/tmp".into());
        let dir = dir.strip_suffix('/').unwrap_or(&dir);
        Self::Unix(format!("{dir}/{name}.sock").into())
    }

    /// A TCP port.
    pub fn tcp(host: &str, port: u16) -> Self {
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.into() };
        Self::Tcp(format!("{host}:{port}"))
    }

    /// From the options `host` and `port`: with a port, TCP (on `localhost` unless a
    /// host is given); without one, the host is the name of a Unix socket.
    pub fn resolve(host: Option<&str>, port: Option<u16>) -> Self {
        match port {
            Some(port) => Self::tcp(host.unwrap_or("localhost"), port),
            None => Self::unix(host),
        }
    }
}

/// The server of [`Endpoint::unix`] without a name.
impl Default for Endpoint {
    fn default() -> Self {
        Self::unix(None)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// A byte stream that a connection may run over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

type Dialed = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// How connections are made, now and after the server was away.
#[derive(Clone)]
pub(crate) enum Dialer {
    Endpoint(Endpoint),
    /// The caller's own way.
    Custom(Arc<dyn Fn() -> Dialed + Send + Sync>),
}

impl Dialer {
    /// A socket connected to the server.
    pub async fn dial(&self) -> io::Result<Socket> {
        match self {
            Self::Endpoint(Endpoint::Unix(path)) => {
                Ok(Socket::Unix(UnixStream::connect(path).await?.into_std()?))
            }
            Self::Endpoint(Endpoint::Tcp(address)) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream.into_std()?))
            }
            Self::Custom(dial) => bridge(dial().await?),
        }
    }
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Custom(_) => f.write_str("the given stream"),
        }
    }
}

/// Joins any stream to a socket. Both directions end with either side.
fn bridge(mut stream: Box<dyn Stream>) -> io::Result<Socket> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let mut theirs = UnixStream::from_std(theirs)?;
    // Ends when the connection's socket is shut down, or the stream ends.
    tokio::spawn(async move {
        let (mut from_stream, mut to_stream) = tokio::io::split(&mut stream);
        let (mut from_socket, mut to_socket) = theirs.split();
        tokio::select! {
            _ = tokio::io::copy(&mut from_stream, &mut to_socket) => {}
            _ = tokio::io::copy(&mut from_socket, &mut to_stream) => {}
        }
    });
    Ok(Socket::Unix(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_npm_does() {
        let none = |_| None;
        assert_eq!(Endpoint::unix_in(None, none), Endpoint::Unix("/tmp/hyperspace.sock".into()));
        assert_eq!(Endpoint::unix_in(Some("x"), none), Endpoint::Unix("/tmp/x.sock".into()));
        let root = |name| (name == "TMP").then(|| "/".to_owned());
        assert_eq!(Endpoint::unix_in(Some("x"), root), Endpoint::Unix("/x.sock".into()));
        let set = |name| match name {
            "TMPDIR" => Some("/var/tmp/".to_owned()),
            SOCKET_VARIABLE => Some("mine".to_owned()),
            _ => None,
        };
        assert_eq!(Endpoint::unix_in(None, set), Endpoint::Unix("/var/tmp/mine.sock".into()));
        // The variable is ignored when a name is given.
        assert_eq!(Endpoint::unix_in(Some("x"), set), Endpoint::Unix("/var/tmp/x.sock".into()));
        assert_eq!(Endpoint::resolve(None, Some(80)), Endpoint::Tcp("localhost:80".into()));
        assert_eq!(Endpoint::resolve(Some("::1"), Some(80)), Endpoint::Tcp("[::1]:80".into()));
    }
}
