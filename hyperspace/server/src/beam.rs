//! A pipe between two machines by a phrase, as npm `hyperbeam` 3: whoever knows the phrase
//! has the key pair that one side listens with, and the other dials with.
//!
//! It has a node of the DHT of its own, and nothing to do with a store or a server.

use crate::Bootstrap;
use argon2::Argon2;
use data_encoding::BASE32_NOPAD;
use hyperswarm::hyperdht::{DhtError, DialError, DialOptions, Dialed, Endpoint, ListenOptions, Options};
pub use hyperswarm::pipe::Until;
use hyperswarm::pipe::pipe;
use hyperswarm::{ConnectionError, KeyPair};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// The shortest phrase of one's own, in bytes: whoever guesses it has the pipe.
pub const MIN_PHRASE: usize = 16;
/// Of the phrases that people choose.
const SALT: &[u8] = b"hyperspace beam";

/// What both sides have to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Phrase {
    text: String,
    seed: [u8; 32],
}

/// Why a phrase cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// It is too easy to guess.
    #[error(
        "the phrase has to be of at least {MIN_PHRASE} characters: whoever guesses it is at the other end"
    )]
    TooShort,
    /// No key can be made of it, for want of memory or since it is endless.
    #[error("no key can be made of the phrase: {0}")]
    Unusable(#[from] argon2::Error),
}

/// Why there is no pipe, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum BeamError {
    /// There is no UDP socket.
    #[error("no UDP socket can be bound: {0}")]
    Bind(io::Error),
    /// There is no network.
    #[error("a beam goes through the swarm: leave out --bootstrap none")]
    NoNetwork,
    /// Nobody can dial us.
    #[error("cannot wait for the other side: {0}")]
    Listen(#[from] DhtError),
    /// The other side cannot be dialled.
    #[error("the other side is not reached: {0}")]
    Dial(#[from] DialError),
    /// The other side has gone, and had not said by then that it has everything.
    #[error("the other side may not have got the last of it: {0}")]
    Unheard(io::Error),
    /// The pipe broke.
    #[error("the pipe broke: {0}")]
    Broken(#[from] ConnectionError),
}

impl Phrase {
    /// A new one, which nobody guesses.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn random() -> io::Result<Self> {
        let seed = *KeyPair::generate().map_err(io::Error::other)?.seed();
        let text = BASE32_NOPAD.encode(&seed).to_ascii_lowercase();
        Ok(Self { text, seed })
    }

    /// One that somebody has given: 32 bytes in base 32, as [`random`](Self::random) makes
    /// them, or any text.
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        let text = text.trim();
        let decoded = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok();
        let seed = match decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(seed) => seed,
            None if text.len() < MIN_PHRASE => return Err(PhraseError::TooShort),
            // Nodes of the DHT see the key that comes of it: guessing at it has to be slow.
            None => {
                let mut seed = [0; 32];
                Argon2::default().hash_password_into(text.as_bytes(), SALT, &mut seed)?;
                seed
            }
        };
        Ok(Self { text: text.to_owned(), seed })
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phrase(secret)")
    }
}

/// Our side of a beam.
pub struct Beam {
    endpoint: Endpoint,
    pair: KeyPair,
}

impl Beam {
    /// A node of the DHT, and no more yet.
    pub async fn new(phrase: &Phrase, bootstrap: &Bootstrap) -> Result<Self, BeamError> {
        let bootstrap = bootstrap.nodes().ok_or(BeamError::NoNetwork)?;
        let options = Options { bootstrap, port: 0, ephemeral: Some(true), ..Options::default() };
        let endpoint = Endpoint::bind(options).await.map_err(BeamError::Bind)?;
        Ok(Self { endpoint, pair: KeyPair::from_seed(&phrase.seed) })
    }

    /// Waits for the other side. `ready` is called once it can dial.
    pub async fn wait(&self, ready: impl FnOnce()) -> Result<Dialed, BeamError> {
        let ours = self.pair.public_key();
        let options = ListenOptions {
            firewall: Some(Arc::new(move |key, _| *key != ours)),
            ..ListenOptions::default()
        };
        let mut server = self.endpoint.listen(&self.pair, options).await?;
        server.announced().await;
        ready();
        let dialed = server.accept().await.ok_or(DhtError::Closed)?;
        // One beam has two ends: nobody else is to find this one.
        server.close().await;
        Ok(dialed)
    }

    /// Dials the other side, which has to wait already.
    pub async fn dial(&self) -> Result<Dialed, BeamError> {
        Ok(self.endpoint.dial(&self.pair.public_key(), DialOptions::new(&self.pair)).await?)
    }

    /// Sends `input`, and gives what comes to `output`, to the end. Returns when all of it has
    /// arrived, [until](Until) both have ended; else, when the other side has.
    pub async fn run<R, W>(self, dialed: Dialed, input: R, output: W, until: Until) -> Result<(), BeamError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut stream = dialed.stream;
        let piped = pipe(&mut stream, dialed.opening, input, output, until).await;
        let arrived = match (&piped, until) {
            // The end of this process is the end of what is still under way.
            (Ok(()), Until::BothEnd) => match stream.acknowledged().await {
                // The other side has ended as well, and has gone: its last word, that it has got
                // ours, may have been lost on the way.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                arrived => arrived,
            },
            _ => Ok(()),
        };
        drop(stream);
        self.close().await;
        piped?;
        arrived.map_err(BeamError::Unheard)
    }

    /// Leaves the network.
    pub async fn close(self) {
        self.endpoint.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases() {
        let random = Phrase::random().expect("random numbers");
        assert_eq!(random.to_string().len(), 52);
        assert_eq!(Phrase::parse(&random.to_string()), Ok(random.clone()));
        assert_eq!(
            Phrase::parse(&format!(" {}\n", random.to_string().to_uppercase())).map(|p| p.seed),
            Ok(random.seed)
        );
        assert!(Phrase::random().expect("random numbers") != random);
        assert_eq!(Phrase::parse("correct horse").map(|_| ()), Err(PhraseError::TooShort));
        let own = Phrase::parse("correct horse battery staple").expect("it is long enough");
        assert!(own != Phrase::parse("correct horse battery stable").expect("it is long enough"));
        assert!(!format!("{own:?}").contains("horse"));
    }
}
