//! Peers that are met at a third one: a relay, which passes the packets of their streams on
//! and cannot read them. Meanwhile a direct way is looked for; when there is one, the stream
//! moves there.

use super::super::connect::{Established, Meeting};
use super::super::endpoint::{DialOptions, Handle};
use super::Driver;
use crate::blind_relay::Client;
use crate::connection;
use crate::key_pair::KeyPair;
use crate::udx::{UdxSocket, Verdict, Way};
use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, JoinSet};

/// How long it may take until the relay has brought two together.
const PAIRING: Duration = Duration::from_secs(15);

/// How long the relay is kept after a stream has moved: what is under way by it arrives, and
/// the other side, which hears of us from the new place, moves as well.
const LINGER: Duration = Duration::from_secs(10);

/// What came of a task.
pub(super) enum Outcome {
    /// They can meet: at that stream of the relay, which is there.
    Paired { meeting: Box<Meeting>, client: Client, socket: UdxSocket, at: SocketAddrV4, id: u32 },
    /// They cannot.
    NotPaired { stream: u32 },
    /// The stream is over, or does not need the relay any more.
    Over { stream: u32 },
}

/// One stream.
struct Relayed {
    /// Ends the task.
    task: AbortHandle,
    way: Option<Way>,
    /// Kept, so that the relay goes on.
    _client: Option<Client>,
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All of them.
pub(super) struct Relaying {
    handle: Handle,
    /// By which relays know us. They need not know who we are.
    pair: KeyPair,
    streams: HashMap<u32, Relayed>,
    tasks: JoinSet<Outcome>,
}

async fn pair_up(handle: Handle, pair: KeyPair, meeting: Box<Meeting>) -> Outcome {
    let stream = meeting.stream;
    let paired = async {
        let dialed = handle.dial(&meeting.through.public_key, DialOptions::new(&pair)).await.ok()?;
        let (socket, address) = (dialed.socket.clone(), dialed.remote_address);
        let SocketAddr::V4(at) = address else { return None };
        let connection = dialed.connect(connection::Options::default()).await.ok()?;
        let mut client = Client::new(connection).ok()?;
        let id = client.pair(meeting.is_initiator, meeting.through.token, stream).await.ok()?;
        Some((client, socket, at, id))
    };
    match tokio::time::timeout(PAIRING, paired).await {
        Ok(Some((client, socket, at, id))) => Outcome::Paired { meeting, client, socket, at, id },
        _ => Outcome::NotPaired { stream },
    }
}

impl Relaying {
    pub(super) fn new(handle: Handle, pair: KeyPair) -> Self {
        Self { handle, pair, streams: HashMap::new(), tasks: JoinSet::new() }
    }

    pub(super) fn begin(&mut self, meeting: Meeting) {
        let stream = meeting.stream;
        let task = self.tasks.spawn(pair_up(self.handle.clone(), self.pair.clone(), Box::new(meeting)));
        self.streams.insert(stream, Relayed { task, way: None, _client: None });
    }

    /// What has come of one of them next.
    pub(super) async fn next(&mut self) -> Option<Outcome> {
        loop {
            // One that was ended has come to nothing.
            if let Ok(outcome) = self.tasks.join_next().await? {
                return Some(outcome);
            }
        }
    }

    /// A stream does not need a relay: it found another way, or is no more.
    pub(super) fn end(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }
}

impl Driver {
    pub(super) fn relaying(&mut self, outcome: Outcome) {
        let now = Instant::now();
        match outcome {
            Outcome::NotPaired { stream } => {
                self.relaying.end(stream);
                self.dht.met(now, stream, false);
            }
            Outcome::Over { stream } => {
                self.relaying.end(stream);
                self.dht.give_up(now, stream);
            }
            Outcome::Paired { meeting, client, socket, at, id } => {
                let Meeting { stream, established, .. } = *meeting;
                let Some(way) = self.streams.met(*established, (socket, id, at)) else { return };
                let watched = way.clone();
                let task = self.relaying.tasks.spawn(async move {
                    // However it ends.
                    let _ = watched.closed().await;
                    Outcome::Over { stream }
                });
                let relayed = Relayed { task, way: Some(way), _client: Some(client) };
                self.relaying.streams.insert(stream, relayed);
                self.dht.met(now, stream, true);
            }
        }
    }

    /// A stream that is relayed can do without.
    pub(super) fn moved(&mut self, established: &Established) {
        let stream = established.stream;
        let Some(socket) = self.sockets.get(established.socket).cloned() else { return };
        let Some(relayed) = self.relaying.streams.get_mut(&stream) else { return };
        let Some(way) = relayed.way.clone() else { return };
        way.redirect(&socket, established.remote_stream, established.remote.into());
        // What still comes from the relay is taken, and changes nothing.
        way.set_firewall(|_, _| Verdict::Take);
        relayed.task.abort();
        relayed.task = self.relaying.tasks.spawn(async move {
            let moved = async {
                if way.redirected().await.is_ok() {
                    // So that the other side hears from there, even if there is nothing to say.
                    let _ = way.send_message(Vec::new());
                    tokio::time::sleep(LINGER).await;
                }
            };
            tokio::select! {
                () = moved => {}
                _ = way.closed() => {}
            }
            Outcome::Over { stream }
        });
    }
}
