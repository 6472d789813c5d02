//! What the program wants of a node.

use super::super::connect::{Dialing, ListenOptions};
use super::super::node::{Dht, Event};
use super::super::operations::OperationId;
use super::super::signing::target_of;
use super::streams::{Accepts, Reply};
use super::{Driver, Presence};
use crate::dht::Id;
use crate::key_pair::KeyPair;
use crate::udx::UdxStream;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long the end waits for servers to be taken back.
const CLOSING: Duration = Duration::from_secs(5);

/// Begins an operation.
pub(in super::super) type Act = Box<dyn FnOnce(&mut Dht, Instant) -> OperationId + Send>;

/// What the program wants.
pub(in super::super) enum Request {
    /// An operation. What it gives is bounded by the nodes that one query asks. When
    /// nobody listens any more, it ends.
    Begin { act: Act, events: mpsc::UnboundedSender<Event> },
    /// A server; none if there is one of that key.
    Listen { pair: KeyPair, options: ListenOptions, reply: oneshot::Sender<Option<Accepts>> },
    /// The end of one.
    Unlisten { server: Id, done: oneshot::Sender<()> },
    /// A connection.
    Dial { stream: UdxStream, dialing: Box<Dialing>, reply: Reply },
    /// Nobody is to find us for now.
    Suspend(oneshot::Sender<()>),
    /// And now again.
    Resume,
    /// The network of this machine is another.
    NetworkChanged,
    /// The end.
    Close(oneshot::Sender<()>),
}

/// Something that nobody holds any more.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Dropped {
    Dial(u32),
    Server(Id),
}

impl Driver {
    pub(super) fn requested(&mut self, request: Request) {
        let now = Instant::now();
        match request {
            Request::Begin { act, events } => {
                // Who is suspended finds nothing.
                if self.presence == Presence::There {
                    let operation = act(&mut self.dht, now);
                    self.listeners.insert(operation, events);
                }
            }
            Request::Listen { pair, options, reply } => {
                let server = target_of(&pair.public_key());
                let accepts = self.dht.listen(now, &pair, options).then(|| self.streams.serve(server));
                if reply.send(accepts).is_err() {
                    self.dht.close_server(now, server);
                }
            }
            Request::Unlisten { server, done } => {
                if let Some(served) = self.streams.servers.get_mut(&server) {
                    served.closed.push(done);
                    self.dht.close_server(now, server);
                }
            }
            Request::Dial { stream, dialing, reply } => {
                self.streams.dial(stream, reply);
                self.dht.dial(now, *dialing);
            }
            Request::Suspend(done) => {
                self.suspending.push(done);
                match self.presence {
                    Presence::There => {
                        self.presence = Presence::Leaving;
                        self.dht.suspend(now);
                    }
                    Presence::Leaving | Presence::Suspended => {}
                }
            }
            Request::Resume => {
                if self.presence != Presence::There {
                    self.presence = Presence::There;
                    self.suspending.clear();
                    self.falling_silent = None;
                    self.sockets.udx().resume();
                    self.look_around();
                    self.dht.resume(now);
                }
            }
            Request::NetworkChanged => {
                self.renewals += 1;
                self.dht.network_changed(now);
            }
            Request::Close(done) => {
                let servers: Vec<Id> = self.streams.servers.keys().copied().collect();
                for server in servers {
                    self.dht.close_server(now, server);
                }
                self.closing = Some((done, now + CLOSING));
            }
        }
    }

    pub(super) fn dropped(&mut self, dropped: Dropped) {
        let now = Instant::now();
        match dropped {
            Dropped::Dial(stream) => {
                self.relaying.end(stream);
                self.streams.forget_dial(stream);
                self.dht.give_up(now, stream);
            }
            Dropped::Server(server) => self.dht.close_server(now, server),
        }
    }

    /// Nobody knows of us any more: those who have connections are told that these are over.
    pub(super) fn rested(&mut self) {
        if self.presence == Presence::Leaving && self.falling_silent.is_none() {
            let udx = self.sockets.udx().clone();
            self.falling_silent = Some(Box::pin(async move { udx.suspend().await }));
        }
    }

    /// The last datagram has left.
    pub(super) fn silent(&mut self) {
        self.falling_silent = None;
        self.presence = Presence::Suspended;
        self.listeners.clear();
    }

    /// Whoever wanted that is told so, once it can be seen.
    pub(super) fn tell_suspended(&mut self) {
        if self.presence == Presence::Suspended {
            for done in self.suspending.drain(..) {
                let _ = done.send(());
            }
        }
    }
}
