//! The byte streams that a session may run over.

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, UnixStream};

/// A connected client's byte stream.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl Transport for UnixStream {}
impl Transport for TcpStream {}
impl Transport for DuplexStream {}
