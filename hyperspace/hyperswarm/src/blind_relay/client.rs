//! An end: has a relay bring it together with another.

use super::messages::{PAIR, PROTOCOL, Pair, Token, UNPAIR, Unpair};
use crate::connection::{Connection, ConnectionError};
use crate::protomux::{ChannelId, Event, OpenError, SendError};
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// How long the other end may take to come.
pub const PAIRING_TIMEOUT: Duration = Duration::from_secs(15);

/// Why two ends were not brought together.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The other peer does not relay.
    #[error("the peer is no relay")]
    Refused,
    /// The other end did not come in time.
    #[error("the other end did not come")]
    TimedOut,
    /// The connection to the relay has ended.
    #[error("the connection to the relay has ended: {0:?}")]
    Ended(Option<ConnectionError>),
    /// The channel could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nothing could be sent on it.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// A connection to a relay. The pairings that it has made last as long as it does.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    channel: ChannelId,
}

impl Client {
    /// Asks a peer to relay.
    pub fn new(connection: Connection) -> Result<Self, PairError> {
        let channel = connection.open(PROTOCOL, &connection.public_key(), "")?;
        Ok(Self { connection, channel })
    }

    /// Waits for the other end of a pairing, of which we are the initiator, or the other.
    /// `stream` is the number of ours; the result is that of the relay's stream, to which
    /// ours is to be connected, at the address of the relay, by the socket of the connection
    /// to it. Gives up after [`PAIRING_TIMEOUT`], or when dropped.
    pub async fn pair(&mut self, is_initiator: bool, token: Token, stream: u32) -> Result<u32, PairError> {
        self.connection.send(self.channel, PAIR, Pair { is_initiator, token, stream }.encode())?;
        let mut waiting = Waiting { client: self, token, done: false };
        let answer = timeout(PAIRING_TIMEOUT, waiting.client.answer(is_initiator, &token)).await;
        waiting.done = answer.is_ok();
        answer.unwrap_or(Err(PairError::TimedOut))
    }

    async fn answer(&mut self, is_initiator: bool, token: &Token) -> Result<u32, PairError> {
        loop {
            match self.connection.next().await {
                Some(Event::Message { channel, kind: PAIR, payload }) if channel == self.channel => {
                    let pair = Pair::decode(&payload).ok();
                    let ours = |pair: &Pair| pair.token == *token && pair.is_initiator == is_initiator;
                    if let Some(pair) = pair.filter(ours) {
                        return Ok(pair.stream);
                    }
                }
                Some(Event::Closed { channel, .. }) if channel == self.channel => {
                    return Err(PairError::Refused);
                }
                Some(_) => {}
                None => return Err(PairError::Ended(self.connection.error())),
            }
        }
    }

    /// Ends a pairing, or a waiting for it.
    pub fn unpair(&self, token: Token) -> Result<(), SendError> {
        self.connection.send(self.channel, UNPAIR, Unpair { token }.encode())
    }

    /// Waits until the connection to the relay is over.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let sender = self.connection.sender();
        async move {
            // Why does not matter: what it carried is over.
            let _ = sender.closed().await;
        }
    }

    /// Ends all pairings, and the connection to the relay.
    pub async fn close(self) {
        // It is over either way.
        let _ = self.connection.close().await;
    }
}

/// Tells the relay, if we do not wait any more.
struct Waiting<'a> {
    client: &'a mut Client,
    token: Token,
    done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.done {
            // If nothing can be sent, the pairing is over as well.
            let _ = self.client.unpair(self.token);
        }
    }
}
