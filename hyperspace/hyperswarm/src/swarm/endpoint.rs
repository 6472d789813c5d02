//! The DHT as the network of a swarm.

use super::gate::Gate;
use super::handle::{Events, Options, Swarm};
use super::net::{Change, Dialling, Listener, Net, Path, Question, Unanswered};
use super::types::{Ask, Ended, Found};
use crate::connection::{self, Connection, ConnectionError};
use crate::hyperdht::connect::RelayChoice;
use crate::hyperdht::{
    Announcement, DhtError, DialError, DialOptions, Dialed, Endpoint, ListenOptions, Lookup, NatKind, Server,
};
use crate::key_pair::{KeyPair, PublicKey};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// So long a swarm waits until its server is announced, before it announces topics without.
const ANNOUNCED: Duration = Duration::from_secs(15);

impl Swarm {
    /// A swarm by that node of the DHT, and what it tells. The node is the program's: it is
    /// not closed with the swarm. It is suspended and resumed with it, though, whatever else
    /// the program does by it.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    ///
    /// # Panics
    /// Outside of tokio.
    pub fn new(endpoint: Endpoint, options: Options) -> io::Result<(Self, Events)> {
        let renewals = endpoint.status().renewals;
        Self::over(Arc::new(Node { endpoint, renewals: watch::Sender::new(renewals) }), options)
    }
}

struct Node {
    endpoint: Endpoint,
    /// Those that the swarm has been told of.
    renewals: watch::Sender<u64>,
}

/// Any of these, each as likely as the others.
fn any(relays: &[PublicKey]) -> Option<PublicKey> {
    // Without random numbers, the first is as good.
    let number = getrandom::u64().unwrap_or(0);
    let at = number.checked_rem(relays.len() as u64)?;
    relays.get(at as usize).copied()
}

impl From<DhtError> for Unanswered {
    fn from(error: DhtError) -> Self {
        tracing::debug!(%error, "the DHT");
        Self
    }
}

impl Net for Node {
    type Path = Dialed;
    type Listener = Listening;

    async fn ask(
        &self,
        question: Question,
        found: mpsc::Sender<Vec<Found>>,
    ) -> Result<Vec<SocketAddrV4>, Unanswered> {
        let Question { topic, ask, pair, relays, nodes } = question;
        let lookup = match ask {
            Ask::Lookup => self.endpoint.lookup_from(topic, nodes).await?,
            Ask::Announce { clear } => {
                let announcement = Announcement { clear, nodes, ..Announcement::new(topic, &pair, relays) };
                self.endpoint.announcing(announcement).await?
            }
            Ask::Withdraw => self.endpoint.unannouncing(topic, &pair).await?,
            Ask::WithdrawThere => {
                self.endpoint.unannounce_at(topic, &pair, nodes).await?;
                return Ok(Vec::new());
            }
        };
        let kept_by = follow(lookup, found).await?;
        if kept_by.is_empty() && matches!(ask, Ask::Announce { .. }) {
            return Err(DhtError::TooFewNodes.into());
        }
        Ok(kept_by)
    }

    async fn listen(
        &self,
        pair: KeyPair,
        gate: Arc<Gate>,
        relay_through: Vec<PublicKey>,
        incoming: mpsc::Sender<Dialed>,
    ) -> Result<Listening, Unanswered> {
        // The node holds this, and must not hold itself.
        let nat = self.endpoint.watch_nat();
        let choice: RelayChoice = Arc::new(move || match nat() {
            NatKind::Random => any(&relay_through),
            _ => None,
        });
        let options = ListenOptions {
            firewall: Some(Arc::new(move |key, address| gate.refuses(key, Some(address.into())))),
            relay_through: Some(choice),
            ..ListenOptions::default()
        };
        let server = self.endpoint.listen(&pair, options).await?;
        let relays = server.watch_relay_addresses();
        let (close, closing) = oneshot::channel();
        tokio::spawn(serve(server, incoming, closing));
        Ok(Listening { relays, close })
    }

    async fn dial(&self, dialling: Dialling) -> Result<Dialed, Ended> {
        let Dialling { key, pair, relays, relay_through, force_relay, answered } = dialling;
        let wants_relay = force_relay || self.endpoint.status().nat == NatKind::Random;
        let options = DialOptions {
            relay_addresses: relays,
            relay_through: wants_relay.then(|| any(&relay_through)).flatten(),
            answered: Some(answered),
            ..DialOptions::new(&pair)
        };
        self.endpoint.dial(&key, options).await.map_err(|error| {
            tracing::debug!(%error, "a peer cannot be dialled");
            match error {
                DialError::HolepunchAborted
                | DialError::DoubleRandomizedNats
                | DialError::CannotHolepunch
                | DialError::RemoteNotHolepunchable => Ended::NoWay,
                _ => Ended::Anyhow,
            }
        })
    }

    async fn suspend(&self) {
        // Once it is closed, it is silent as well.
        let _ = self.endpoint.suspend().await;
    }

    async fn resume(&self) {
        let _ = self.endpoint.resume().await;
    }

    async fn changed(&self) -> Change {
        let known = *self.renewals.borrow();
        if !self.endpoint.wait_until(|status| status.renewals != known).await {
            return std::future::pending().await;
        }
        self.renewals.send_replace(self.endpoint.status().renewals);
        Change::Renewed
    }
}

/// Passes on what a lookup finds, and gives the nodes that keep now what was announced.
async fn follow(
    mut lookup: Lookup,
    found: mpsc::Sender<Vec<Found>>,
) -> Result<Vec<SocketAddrV4>, Unanswered> {
    while let Some((_, peers)) = lookup.next().await {
        let peers = peers.peers.into_iter().map(|peer| Found { key: peer.public_key, relays: peer.relays });
        // If nobody listens, this is given up soon.
        let _ = found.send(peers.collect()).await;
    }
    let summary = lookup.summary().ok_or(Unanswered)?;
    if summary.outcome.successes == 0 {
        return Err(DhtError::TooFewNodes.into());
    }
    Ok(summary.kept_by.iter().map(|(node, _)| *node).collect())
}

/// Hands on whoever comes, until it is to be closed, or nobody takes them.
async fn serve(
    mut server: Server,
    incoming: mpsc::Sender<Dialed>,
    closing: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let accepting = async {
        loop {
            // Those who wait in the server are bounded, too.
            let Ok(room) = incoming.reserve().await else { return };
            match server.accept().await {
                Some(dialed) => room.send(dialed),
                None => return,
            }
        }
    };
    let done = tokio::select! {
        done = closing => done.ok(),
        () = accepting => None,
    };
    server.close().await;
    if let Some(done) = done {
        // Who waited may have gone.
        let _ = done.send(());
    }
}

struct Listening {
    relays: watch::Receiver<Option<Vec<SocketAddrV4>>>,
    close: oneshot::Sender<oneshot::Sender<()>>,
}

impl Listener for Listening {
    fn announced(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut relays = self.relays.clone();
        async move {
            // It goes on trying.
            let _ = tokio::time::timeout(ANNOUNCED, relays.wait_for(Option::is_some)).await;
        }
    }

    fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        self.relays.borrow().clone().unwrap_or_default()
    }

    async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.close.send(done).is_ok() {
            // It is closed either way.
            let _ = closed.await;
        }
    }
}

impl Path for Dialed {
    fn remote_public_key(&self) -> PublicKey {
        self.remote_public_key
    }

    fn remote_address(&self) -> SocketAddr {
        self.remote_address
    }

    fn is_relayed(&self) -> bool {
        self.is_relayed
    }

    fn connect(
        self,
        options: connection::Options,
    ) -> impl Future<Output = Result<Connection, ConnectionError>> + Send {
        Dialed::connect(self, options)
    }
}
