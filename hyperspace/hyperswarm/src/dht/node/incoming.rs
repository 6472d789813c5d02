//! What others ask of us.

use super::super::address::{Id, node_id, read_v4};
use super::super::message::{MAX_CLOSER, Reply, Request, error, internal};
use super::super::requests::Purpose;
use super::{Event, Incoming, Node, Response, Socket, Transmit};
use compact_encoding::Reader;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// The longest time that an answer can be put off.
pub(super) const MAX_DELAY: Duration = Duration::from_secs(10);

/// The most answers that are put off at a time.
const MAX_DELAYED: usize = 1024;

/// The most requests that wait for the application.
const MAX_WAITING: usize = 1024;

/// The most contacts that are checked at a time because they are said to be down.
const MAX_CHECKS: usize = 10;

impl Node {
    pub(super) fn asked(&mut self, now: Instant, socket: Socket, from: SocketAddrV4, request: &Request<'_>) {
        // Whoever only keeps things for others asks nobody: were it only for answers, it would
        // never believe that a contact is down, whoever tells it so.
        self.last_heard = Some(now);
        // An id that is not that of the address is no offence: it was changed on the way.
        let id = request.id.filter(|id| *id == node_id(from));
        if let Some(id) = id {
            self.observe(now, id, from);
        }
        let host = *from.ip();
        if request.token.is_some_and(|token| !self.tokens.accepts(&token, host, now)) {
            let response = Response { token: true, ..Response::error(error::INVALID_TOKEN) };
            return self.reply(now, socket, from, request.tid, request.target, response);
        }
        if request.internal {
            return self.asked_internal(now, socket, from, request);
        }
        if !self.config.application {
            let response = Response::error(error::UNKNOWN_COMMAND);
            return self.reply(now, socket, from, request.tid, request.target, response);
        }
        if self.waiting_requests < MAX_WAITING {
            self.waiting_requests += 1;
            self.events.push_back(Event::Request(Incoming {
                socket,
                from,
                to: request.to,
                tid: request.tid,
                id,
                token: request.token,
                command: request.command,
                target: request.target,
                value: request.value.map(<[u8]>::to_vec),
            }));
        }
    }

    fn asked_internal(&mut self, now: Instant, socket: Socket, from: SocketAddrV4, request: &Request<'_>) {
        let mut value = Reader::new(request.value.unwrap_or_default());
        let (tid, target) = (request.tid, request.target);
        match request.command {
            internal::PING => self.reply(now, socket, from, tid, None, Response::done()),
            internal::PING_NAT => {
                if let Ok(port @ 1..) = value.uint16() {
                    let to = SocketAddrV4::new(*from.ip(), port);
                    self.reply(now, socket, to, tid, None, Response::done());
                }
            }
            internal::FIND_NODE => {
                if target.is_some() {
                    let response = Response { closer: true, ..Response::done() };
                    self.reply(now, socket, from, tid, target, response);
                }
            }
            internal::DOWN_HINT => {
                if let Ok(address) = read_v4(&mut value) {
                    self.hinted(now, address);
                    self.reply(now, socket, from, tid, None, Response::done());
                }
            }
            internal::DELAYED_PING => {
                let delay = value.uint32().map(|ms| Duration::from_millis(ms.into()));
                if let Ok(delay) = delay
                    && delay <= MAX_DELAY
                    && self.delayed.len() < MAX_DELAYED
                {
                    let reply = self.make_reply(now, socket, from, tid, None, Response::done());
                    let number = self.number();
                    self.delayed.insert((now + delay, number), reply);
                }
            }
            _ => self.reply(now, socket, from, tid, target, Response::error(error::UNKNOWN_COMMAND)),
        }
    }

    /// Somebody says that a node is down. If it is a contact of ours, we look for ourselves.
    fn hinted(&mut self, now: Instant, address: SocketAddrV4) {
        let (tick, id) = (self.ticks.now(), node_id(address));
        let Some(contact) = self.table.get_mut(&id) else { return };
        if self.checks < MAX_CHECKS && (contact.pinged < tick || !contact.hinted) {
            contact.hinted = true;
            if self.ping(now, id, address, Purpose::Check(id)) {
                self.checks += 1;
            }
        }
    }

    /// Answers a request of the application.
    pub fn respond(&mut self, now: Instant, request: &Incoming, response: Response<'_>) {
        self.reply(now, request.socket, request.from, request.tid, request.target, response);
    }

    /// Sends a request on to somebody else, as one of the same number, with another value.
    /// Nothing is remembered of it: the answer does not come to us.
    pub fn pass_on(&mut self, request: &Incoming, socket: Socket, to: SocketAddrV4, value: &[u8]) {
        let request = Request {
            tid: request.tid,
            to,
            id: self.told_id(socket),
            token: None,
            internal: false,
            command: request.command,
            target: request.target,
            value: Some(value),
        };
        self.transmit(Transmit { socket, to, bytes: request.encode(), ttl: None });
    }

    /// Answers, with nothing but a value, somebody else than who sent the request: the one
    /// for whom it was passed on.
    pub fn answer_for(&mut self, request: &Incoming, to: SocketAddrV4, value: &[u8]) {
        let reply = Reply {
            tid: request.tid,
            to,
            id: self.told_id(request.socket),
            token: None,
            closer: Vec::new(),
            error: error::NONE,
            value: Some(value),
        };
        self.transmit(Transmit { socket: request.socket, to, bytes: reply.encode(), ttl: None });
    }

    /// Sends what the owner of the node has to send.
    pub fn transmit(&mut self, transmit: Transmit) {
        self.out.push_back(transmit);
    }

    fn reply(
        &mut self,
        now: Instant,
        socket: Socket,
        to: SocketAddrV4,
        tid: u16,
        target: Option<Id>,
        response: Response<'_>,
    ) {
        let reply = self.make_reply(now, socket, to, tid, target, response);
        self.out.push_back(reply);
    }

    fn make_reply(
        &mut self,
        now: Instant,
        socket: Socket,
        to: SocketAddrV4,
        tid: u16,
        target: Option<Id>,
        response: Response<'_>,
    ) -> Transmit {
        let target = target.filter(|_| response.closer);
        let reply = Reply {
            tid,
            to,
            id: self.told_id(socket),
            token: response.token.then(|| self.tokens.issue(*to.ip(), now)),
            closer: target.map_or_else(Vec::new, |target| self.table.closest(&target, MAX_CLOSER)),
            error: response.error,
            value: response.value.filter(|value| !value.is_empty()),
        };
        Transmit { socket, to, bytes: reply.encode(), ttl: None }
    }
}
