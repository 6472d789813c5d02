//! The streams of connections to be: they are opened before the other side knows of them,
//! and handed on when there is a way to it.

use super::super::connect::{DialError, Established};
use super::super::endpoint::Dialed;
use super::sockets::Sockets;
use crate::dht::Id;
use crate::udx::{Config, SocketId, UdxSocket, UdxStream, Verdict, Way};
use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// So many packets may wait that have come for streams which are not connected; what
/// exceeds this is sent again.
const HEARD: usize = 1024;

/// So many connections to a server wait to be accepted; what exceeds this is given up.
const ACCEPTED: usize = 128;

/// A packet has come for a stream that is not connected, or from elsewhere.
pub(super) struct Heard {
    pub stream: u32,
    pub socket: SocketId,
    pub from: SocketAddrV4,
}

/// Who waits for a dial.
pub(in super::super) struct Reply {
    pub dialed: oneshot::Sender<Result<Dialed, DialError>>,
    /// Is to be told when the peer has answered.
    pub answered: Option<Arc<Notify>>,
}

/// A server, as its holder sees it.
pub(super) struct Served {
    accepted: mpsc::Sender<Dialed>,
    /// Where it is found, once it has been announced.
    announced: watch::Sender<Option<Vec<SocketAddrV4>>>,
    pub closed: Vec<oneshot::Sender<()>>,
}

/// What the holder of a server has of it.
pub(in super::super) struct Accepts {
    pub accepted: mpsc::Receiver<Dialed>,
    pub announced: watch::Receiver<Option<Vec<SocketAddrV4>>>,
}

/// All of them.
pub(super) struct Streams {
    dials: HashMap<u32, (UdxStream, Reply)>,
    accepting: HashMap<u32, UdxStream>,
    pub servers: HashMap<Id, Served>,
    heard: mpsc::Sender<Heard>,
}

impl Streams {
    pub(super) fn new() -> (Self, mpsc::Receiver<Heard>) {
        let (heard, receiver) = mpsc::channel(HEARD);
        let streams =
            Self { dials: HashMap::new(), accepting: HashMap::new(), servers: HashMap::new(), heard };
        (streams, receiver)
    }

    /// Packets that come for it before it is connected are told of.
    fn watch(&self, stream: &UdxStream) {
        let (heard, id) = (self.heard.clone(), stream.id());
        stream.set_firewall(move |socket, from| {
            let SocketAddr::V4(from) = from else { return Verdict::Drop };
            if from.port() == 0 {
                return Verdict::Drop;
            }
            // It is kept, and acknowledged when the stream is connected.
            match heard.try_send(Heard { stream: id, socket, from }) {
                Ok(()) => Verdict::Take,
                Err(_) => Verdict::Drop,
            }
        });
    }

    pub(super) fn dial(&mut self, stream: UdxStream, reply: Reply) {
        self.watch(&stream);
        self.dials.insert(stream.id(), (stream, reply));
    }

    pub(super) fn forget_dial(&mut self, stream: u32) {
        self.dials.remove(&stream);
    }

    /// The peer is there, and a way to it is looked for.
    pub(super) fn answered(&self, stream: u32) {
        if let Some((_, Reply { answered: Some(answered), .. })) = self.dials.get(&stream) {
            answered.notify_one();
        }
    }

    pub(super) fn dial_failed(&mut self, stream: u32, error: DialError) {
        if let Some((_, reply)) = self.dials.remove(&stream) {
            // Perhaps nobody waits for it any more.
            let _ = reply.dialed.send(Err(error));
        }
    }

    /// Whoever waits for a dial, waits in vain.
    pub(super) fn end(&mut self, error: DialError) {
        for (_, (_, reply)) in self.dials.drain() {
            let _ = reply.dialed.send(Err(error));
        }
    }

    pub(super) fn serve(&mut self, server: Id) -> Accepts {
        let (accepted, receiver) = mpsc::channel(ACCEPTED);
        let (announced, watched) = watch::channel(None);
        self.servers.insert(server, Served { accepted, announced, closed: Vec::new() });
        Accepts { accepted: receiver, announced: watched }
    }

    /// A server is found there now.
    pub(super) fn announced(&mut self, server: &Id, relays: Vec<SocketAddrV4>) {
        if let Some(served) = self.servers.get(server) {
            served.announced.send_replace(Some(relays));
        }
    }

    pub(super) fn closed(&mut self, server: &Id) {
        if let Some(served) = self.servers.remove(server) {
            for closed in served.closed {
                let _ = closed.send(());
            }
        }
    }

    /// `false` if the number is taken.
    pub(super) fn accept(&mut self, sockets: &Sockets, stream: u32) -> bool {
        let Ok(opened) = sockets.udx().stream_with_id(stream, Config::default()) else { return false };
        self.watch(&opened);
        self.accepting.insert(stream, opened);
        true
    }

    pub(super) fn give_up(&mut self, stream: u32) {
        self.accepting.remove(&stream);
    }

    /// There is a way to a peer: whoever waits for it gets it.
    pub(super) fn established(&mut self, sockets: &Sockets, established: Established) {
        let Some(socket) = sockets.get(established.socket).cloned() else { return };
        let path = (socket, established.remote_stream, established.remote);
        self.hand_on(established, path, false);
    }

    /// A peer was met at a third one: the stream leads there, for now. What is to be done
    /// with it later can be done by what is given.
    pub(super) fn met(
        &mut self,
        established: Established,
        path: (UdxSocket, u32, SocketAddrV4),
    ) -> Option<Way> {
        self.hand_on(established, path, true)
    }

    fn hand_on(
        &mut self,
        established: Established,
        (socket, remote_stream, remote): (UdxSocket, u32, SocketAddrV4),
        is_relayed: bool,
    ) -> Option<Way> {
        let Established { stream: id, server, keys, relay_addresses, .. } = established;
        let (stream, reply) = match server {
            Some(_) => (self.accepting.remove(&id)?, None),
            None => self.dials.remove(&id).map(|(stream, reply)| (stream, Some(reply)))?,
        };
        stream.connect(&socket, remote_stream, remote.into());
        if !is_relayed {
            // The other side may have more than one way to us.
            stream.set_firewall(|_, _| Verdict::Take);
        }
        let way = stream.way();
        let dialed = Dialed {
            remote_public_key: keys.remote_public_key,
            opening: keys.into(),
            stream,
            socket,
            remote_address: remote.into(),
            relay_addresses,
            is_initiator: server.is_none(),
            is_relayed,
        };
        match (reply, server.and_then(|server| self.servers.get(&server))) {
            // Whoever dialled may have gone: then so does the stream.
            (Some(reply), _) => drop(reply.dialed.send(Ok(dialed))),
            (None, Some(served)) => {
                if served.accepted.try_send(dialed).is_err() {
                    tracing::debug!("nobody accepts connections: one is given up");
                }
            }
            (None, None) => {}
        }
        Some(way)
    }
}
