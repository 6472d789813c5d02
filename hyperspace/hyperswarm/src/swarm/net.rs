//! What a swarm needs of a network: the DHT, or something that stands for it.

use super::gate::Gate;
use super::types::{Ask, Ended, Found};
use crate::connection::{Connection, ConnectionError, Options};
use crate::dht::Id;
use crate::key_pair::{KeyPair, PublicKey};
use std::future::Future;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// What has changed about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there again, or another one, or the machine has slept.
    Renewed,
    /// The network has ended for good.
    Ended,
}

/// The question of one round of a topic.
#[derive(Clone, Debug)]
pub struct Question {
    /// About what.
    pub topic: Id,
    /// What is asked, and told.
    pub ask: Ask,
    /// Who we are.
    pub pair: KeyPair,
    /// Nodes through which we are reached: they are told, when we announce ourselves.
    pub relays: Vec<SocketAddrV4>,
    /// Nodes to begin with.
    pub nodes: Vec<SocketAddrV4>,
}

/// How a peer is dialled.
#[derive(Clone, Debug)]
pub struct Dialling {
    /// Whom.
    pub key: PublicKey,
    /// Who we are.
    pub pair: KeyPair,
    /// Nodes through which it may be reached.
    pub relays: Vec<SocketAddrV4>,
    /// Peers who pass packets on, one of which may be used.
    pub relay_through: Vec<PublicKey>,
    /// There is no other way than through one of those.
    pub force_relay: bool,
    /// To be notified when the peer has answered, if it takes more than that to reach it.
    pub answered: Arc<Notify>,
}

/// A question that could not be asked, or that nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the DHT does not answer")]
pub struct Unanswered;

/// A network in which peers find and dial each other. A future that is dropped, is given up.
pub trait Net: Send + Sync + 'static {
    /// A way to a peer, whose key is proven.
    type Path: Path;
    /// Being reachable under a key.
    type Listener: Listener;

    /// Asks the nodes closest to a topic. What each tells is `found`; the result is the nodes
    /// that keep what was announced.
    fn ask(
        &self,
        question: Question,
        found: mpsc::Sender<Vec<Found>>,
    ) -> impl Future<Output = Result<Vec<SocketAddrV4>, Unanswered>> + Send;

    /// Becomes reachable under that key. Whoever dials us, and is not refused by `gate`, comes
    /// by `incoming`; when that is closed, we are reachable no more.
    fn listen(
        &self,
        pair: KeyPair,
        gate: Arc<Gate>,
        relay_through: Vec<PublicKey>,
        incoming: mpsc::Sender<Self::Path>,
    ) -> impl Future<Output = Result<Self::Listener, Unanswered>> + Send;

    /// Dials a peer.
    fn dial(&self, dialling: Dialling) -> impl Future<Output = Result<Self::Path, Ended>> + Send;

    /// Is to send nothing any more, for whomever, until [`resume`](Self::resume); returns when
    /// that is so. If it is given up, it may be so or not.
    fn suspend(&self) -> impl Future<Output = ()> + Send;

    /// May send again; returns when it can be asked.
    fn resume(&self) -> impl Future<Output = ()> + Send;

    /// The next change. May be cancelled. Asked again after [`Change::Ended`], it never
    /// returns.
    fn changed(&self) -> impl Future<Output = Change> + Send;
}

/// A way to a peer.
pub trait Path: Send + 'static {
    /// Who is there.
    fn remote_public_key(&self) -> PublicKey;
    /// Where.
    fn remote_address(&self) -> SocketAddr;
    /// Is it by way of somebody else?
    fn is_relayed(&self) -> bool;
    /// Makes a connection of it.
    fn connect(self, options: Options) -> impl Future<Output = Result<Connection, ConnectionError>> + Send;
}

/// Being reachable under a key. Dropped, it is so no more, but nobody is told.
pub trait Listener: Send + Sync + 'static {
    /// Waits until we can be found, or nobody is there who could help with that.
    fn announced(&self) -> impl Future<Output = ()> + Send + 'static;
    /// Nodes through which we are reached now.
    fn relay_addresses(&self) -> Vec<SocketAddrV4>;
    /// Ends it, and has it taken back.
    fn close(self) -> impl Future<Output = ()> + Send;
}
