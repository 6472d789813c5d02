//! Passes handshakes and what belongs to them on, for whoever has announced itself here.
//!
//! Nothing is remembered of what is passed on. From the client it comes here, and goes to
//! the server, or to another node that knows where the server is; from the server it comes
//! back here, and goes to the client as the answer to its request.

use super::super::envelope::{Handshake, Holepunch, Mode};
use super::super::node::Dht;
use super::super::wire::command;
use crate::dht::{Incoming, Response, is_plausible};
use std::net::SocketAddrV4;
use std::time::Instant;

impl Dht {
    /// PEER_HANDSHAKE and PEER_HOLEPUNCH.
    pub(in super::super) fn pass(&mut self, now: Instant, request: &Incoming) {
        let value = request.value.as_deref().unwrap_or_default();
        let is_server = request.target.is_some_and(|target| self.connect.servers.contains_key(&target));
        if request.command == command::PEER_HANDSHAKE {
            match Handshake::decode(value) {
                Ok(handshake) if is_server => self.handshake_arrived(now, request, &handshake),
                Ok(handshake) => self.pass_handshake(now, request, handshake),
                Err(_) => {}
            }
        } else if let Ok(holepunch) = Holepunch::decode(value) {
            match holepunch.mode {
                Mode::FromRelay if is_server => self.step_arrived(now, request, &holepunch),
                _ => self.pass_holepunch(now, request, holepunch),
            }
        }
    }

    /// Where the holder of the key was when it announced itself here.
    fn forward(&mut self, now: Instant, request: &Incoming) -> Option<SocketAddrV4> {
        self.storage.forward(request.target.as_ref()?, now)
    }

    fn pass_handshake(&mut self, now: Instant, request: &Incoming, handshake: Handshake) {
        let Handshake { mode, noise, peer, relay } = handshake;
        let from = request.from;
        let on = |mode, peer, relay| Handshake { mode, noise: noise.clone(), peer, relay };
        match (mode, peer) {
            _ if noise.is_empty() => {}
            (Mode::FromClient, _) => {
                let to = relay.filter(|relay| is_plausible(*relay, from));
                match to.or_else(|| self.forward(now, request)) {
                    Some(to) => self.on(request, to, &on(Mode::FromRelay, Some(from), None).encode()),
                    None => self.not_known(now, request),
                }
            }
            (Mode::FromRelay, peer) => {
                if let Some(to) = self.forward(now, request) {
                    self.on(request, to, &on(Mode::FromSecondRelay, peer, Some(from)).encode());
                }
            }
            (Mode::FromServer, Some(client)) if is_plausible(client, from) => {
                let reply = on(Mode::Reply, Some(from), None);
                self.node.answer_for(request, client, &reply.encode());
            }
            _ => {}
        }
    }

    fn pass_holepunch(&mut self, now: Instant, request: &Incoming, holepunch: Holepunch) {
        let Holepunch { mode, id, payload, peer } = holepunch;
        let from = request.from;
        match (mode, peer) {
            (Mode::FromClient, server) => {
                let on = Holepunch { mode: Mode::FromRelay, id, payload, peer: Some(from) };
                let to = server.filter(|server| is_plausible(*server, from));
                if let Some(to) = to.or_else(|| self.forward(now, request)) {
                    self.on(request, to, &on.encode());
                }
            }
            (Mode::FromServer, Some(client)) if is_plausible(client, from) => {
                let reply = Holepunch { mode: Mode::Reply, id, payload, peer: Some(from) };
                self.node.answer_for(request, client, &reply.encode());
            }
            _ => {}
        }
    }

    fn on(&mut self, request: &Incoming, to: SocketAddrV4, value: &[u8]) {
        self.node.pass_on(request, request.socket, to, value);
    }

    /// Who asks for a peer that we know nothing of is told of closer nodes.
    fn not_known(&mut self, now: Instant, request: &Incoming) {
        let response = Response { token: false, ..Response::value(None) };
        self.node.respond(now, request, response);
    }
}
