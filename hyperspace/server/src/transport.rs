//! The byte streams that a session may run over.

use std::io;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

/// A connected client's byte stream.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Reads what has come, past the event loop: an error of kind
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing has. `None` where there is
    /// no such way.
    fn read_now(&mut self, _into: &mut [u8]) -> Option<io::Result<usize>> {
        None
    }
}

impl Transport for DuplexStream {}
