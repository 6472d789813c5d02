//! The times and limits of a stream, and the errors that follow from them.

use super::MAX_MESSAGE;
use crate::noise::HandshakeError;
use std::time::Duration;

/// Why a stream had to be given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The first frame after the handshake is no header.
    #[error("Invalid header received")]
    InvalidHeader,
    /// A message was changed under way, or is not one.
    #[error("Invalid message received")]
    InvalidMessage,
    /// A frame is longer than is accepted.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// A message that we were to send is longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is too long to be sent")]
    CannotSend(usize),
    /// A message was to be sent before the keys were agreed on, or after the end.
    #[error("the stream is not open for sending")]
    NotOpen,
    /// The byte stream ended in the middle of a frame, or before the handshake was over.
    #[error("the stream ended early")]
    EndedEarly,
    /// The handshake took longer than [`Config::handshake_timeout`].
    #[error("the handshake timed out")]
    HandshakeTimedOut,
    /// Nothing was received for [`Config::timeout`].
    #[error("Stream timed out")]
    TimedOut,
    /// The system gave no random numbers.
    #[error("no random numbers for a header")]
    NoRandom,
}

/// The times and limits of a stream.
#[derive(Clone, Debug)]
pub struct Config {
    /// An empty message is sent when nothing else was for so long. 5 s, as everybody in
    /// the network does; `None`: never.
    pub keep_alive: Option<Duration>,
    /// The stream is given up when no byte arrives for so long. Off by default: a peer
    /// need not send keep-alives.
    pub timeout: Option<Duration>,
    /// The other side must have authenticated itself within this time. 20 s.
    pub handshake_timeout: Option<Duration>,
    /// The longest message that is accepted: by default, the longest there can be, 16 MiB.
    pub max_message: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep_alive: Some(Duration::from_secs(5)),
            timeout: None,
            handshake_timeout: Some(Duration::from_secs(20)),
            max_message: MAX_MESSAGE,
        }
    }
}
