//! The task of a swarm: does what its [`Core`] wants, by a network, and tells it what came
//! of that.

mod clock;
mod commands;
mod listening;
mod queries;
mod resting;

use super::core::Core;
use super::gate::Gate;
use super::handle::{Command, Connected, Event, Options};
use super::net::{Change, Dialling, Listener, Net, Path};
use super::types::{Action, CloseReason, ConnectionId, Ended, Event as CoreEvent, Stats, WaitId};
use crate::connection::{Connection, Sender};
use crate::key_pair::PublicKey;
use clock::Clock;
use queries::Told;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// How many events may wait for the program: with more, nobody is dialled and nobody is let
/// in. (Each connection that opened may have one more, that it is over.)
pub(super) const EVENTS: usize = 64;

/// Peers who dialled us and were not looked at yet.
const INCOMING: usize = 16;

/// Longer than any dialling takes.
const DIAL_TIMEOUT: Duration = Duration::from_secs(90);

/// What a task of the driver has come to.
enum Done<N: Net> {
    Dialled(ConnectionId, Result<(Connection, Way), Ended>),
    Closed(ConnectionId),
    Bound(Option<N::Listener>, mpsc::Receiver<N::Path>),
    Announced,
    Unlistened,
}

/// By which way a peer was reached, or has reached us.
#[derive(Clone, Copy)]
struct Way {
    remote: SocketAddr,
    is_relayed: bool,
}

impl Way {
    fn of(path: &impl Path) -> Self {
        Self { remote: path.remote_address(), is_relayed: path.is_relayed() }
    }
}

/// A connection that is dialled, came in, or is open.
enum Held<P> {
    Opening(AbortHandle),
    Arrived(P),
    Open { sender: Sender, way: Way, since: Instant },
}

pub(super) struct Driver<N: Net> {
    net: Arc<N>,
    options: Options,
    gate: Arc<Gate>,
    core: Core,
    tasks: JoinSet<Done<N>>,
    queries: queries::Queries,
    connections: HashMap<ConnectionId, Held<N::Path>>,
    listener: Option<N::Listener>,
    /// What is done to be reachable: whether it is still wanted, when it can be undone.
    binding: Option<bool>,
    announcing: Option<AbortHandle>,
    incoming: Option<mpsc::Receiver<N::Path>>,
    /// Connections that opened, until the program takes them.
    opened: HashMap<ConnectionId, (Connection, Way)>,
    outbox: VecDeque<Event>,
    waits: HashMap<WaitId, oneshot::Sender<bool>>,
    /// Those who are dialled and have answered: one word for each dial at most.
    answers: (mpsc::UnboundedSender<ConnectionId>, mpsc::UnboundedReceiver<ConnectionId>),
    /// What is done to be silent, or to be so no more: one after the other.
    resting: Option<resting::Resting>,
    stats: watch::Sender<Stats>,
}

impl<N: Net> Driver<N> {
    pub(super) fn new(
        net: Arc<N>,
        options: Options,
        gate: Arc<Gate>,
        core: Core,
        stats: watch::Sender<Stats>,
    ) -> Self {
        Self {
            net,
            options,
            gate,
            core,
            tasks: JoinSet::new(),
            queries: queries::Queries::new(),
            connections: HashMap::new(),
            listener: None,
            binding: None,
            announcing: None,
            incoming: None,
            opened: HashMap::new(),
            outbox: VecDeque::new(),
            waits: HashMap::new(),
            answers: mpsc::unbounded_channel(),
            resting: None,
            stats,
        }
    }

    pub(super) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        events: mpsc::Sender<Event>,
    ) {
        let net = Arc::clone(&self.net);
        let mut clock = Clock::new();
        loop {
            self.settle();
            let due = self.core.poll_timeout().map(Instant::from_std);
            let is_full = self.is_full();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => if self.obey(command).is_break() { return },
                    None => return,
                },
                room = events.reserve(), if !self.outbox.is_empty() => match room {
                    Ok(room) => if let Some(event) = self.outbox.pop_front() { room.send(event) },
                    // The program has let go of the swarm.
                    Err(_) => return,
                },
                Some(done) = self.tasks.join_next() => if let Ok(done) = done { self.done(done) },
                Some(id) = self.answers.1.recv() => self.core.answered(id),
                told = self.queries.told() => self.told(told),
                path = accept(&mut self.incoming), if !is_full => self.arrived(path),
                is_awake = resting::over(&mut self.resting) => self.rested(is_awake),
                change = net.changed() => self.changed(change),
                () = sleep_until(due) => self.core.handle_timeout(now()),
                () = clock.slept() => self.changed(Change::Renewed),
            }
        }
    }

    /// Do as many events wait for the program as may, or will they?
    fn is_full(&self) -> bool {
        let opening = self.connections.values().filter(|held| !matches!(held, Held::Open { .. })).count();
        self.outbox.len() + opening >= EVENTS
    }

    /// Does everything that can be done without waiting.
    fn settle(&mut self) {
        loop {
            while let Some(action) = self.core.poll_action() {
                self.act(action);
            }
            let Some(event) = self.core.poll_event() else { break };
            self.tell(event);
        }
        let is_full = self.is_full();
        if self.core.is_held() != is_full {
            self.core.hold(now(), is_full);
            return self.settle();
        }
        let stats = self.core.stats();
        self.stats.send_if_modified(|old| {
            let differs = *old != stats;
            *old = stats;
            differs
        });
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Listen => self.listen(),
            Action::Unlisten => self.unlisten(),
            Action::Ask { id, topic, ask, nodes } => {
                let relays = self.listener.as_ref().map(Listener::relay_addresses).unwrap_or_default();
                let question =
                    super::net::Question { topic, ask, pair: self.options.pair.clone(), relays, nodes };
                self.queries.ask(Arc::clone(&self.net), id, question);
            }
            Action::GiveUp(id) => self.queries.give_up(id),
            Action::Dial { id, key, relays, force_relay } => self.dial(id, key, relays, force_relay),
            Action::Accept(id) => self.accept(id),
            Action::Close(id, reason) => self.close(id, reason),
            Action::Rest => self.rest(),
            Action::Wake => self.wake(),
            Action::Probe(id) => {
                if let Some(Held::Open { sender, .. }) = self.connections.get(&id) {
                    sender.keep_alive();
                }
            }
        }
    }

    fn tell(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::Opened(id) => {
                let Some((connection, way)) = self.opened.remove(&id) else { return };
                let info = self.core.peer(&connection.remote_public_key());
                if let Some(peer) = info {
                    let Way { remote: remote_address, is_relayed } = way;
                    let connected = Connected { id, connection, peer, remote_address, is_relayed };
                    self.outbox.push_back(Event::Connection(connected));
                }
            }
            CoreEvent::Closed(id) => {
                self.connections.remove(&id);
                // One that the program never saw need not be taken back.
                let unseen = self
                    .outbox
                    .iter()
                    .position(|event| matches!(event, Event::Connection(connected) if connected.id == id));
                match unseen {
                    Some(at) => drop(self.outbox.remove(at)),
                    None => self.outbox.push_back(Event::Closed(id)),
                }
            }
            CoreEvent::Banned(key) => self.outbox.push_back(Event::Banned(key)),
            CoreEvent::Done(wait, well) => {
                if let Some(waiting) = self.waits.remove(&wait) {
                    // Who waited may have gone.
                    let _ = waiting.send(well);
                }
            }
        }
    }

    fn dial(
        &mut self,
        id: ConnectionId,
        key: PublicKey,
        relays: Vec<std::net::SocketAddrV4>,
        force_relay: bool,
    ) {
        let (net, options) = (Arc::clone(&self.net), self.options.connection.clone());
        let answered = Arc::new(Notify::new());
        let dialling = Dialling {
            key,
            pair: self.options.pair.clone(),
            relays,
            relay_through: self.options.relay_through.clone(),
            force_relay,
            answered: Arc::clone(&answered),
        };
        let answers = self.answers.0.clone();
        let task = self.tasks.spawn(async move {
            let dialled = async {
                let path = net.dial(dialling).await?;
                let way = Way::of(&path);
                let connection = path.connect(options).await.map_err(|_| Ended::Anyhow)?;
                Ok((connection, way))
            };
            let mut dialled = pin!(tokio::time::timeout(DIAL_TIMEOUT, dialled));
            let dialled = tokio::select! {
                dialled = &mut dialled => dialled,
                () = answered.notified() => {
                    // The driver may have ended.
                    let _ = answers.send(id);
                    dialled.await
                }
            };
            Done::Dialled(id, dialled.unwrap_or(Err(Ended::Anyhow)))
        });
        self.connections.insert(id, Held::Opening(task));
    }

    fn accept(&mut self, id: ConnectionId) {
        let Some(Held::Arrived(path)) = self.connections.remove(&id) else {
            return self.core.closed(now(), id, Ended::Anyhow);
        };
        let options = self.options.connection.clone();
        let task = self.tasks.spawn(async move {
            let way = Way::of(&path);
            let connecting = tokio::time::timeout(DIAL_TIMEOUT, path.connect(options));
            let connection = connecting.await.ok().and_then(Result::ok).ok_or(Ended::Anyhow);
            Done::Dialled(id, connection.map(|connection| (connection, way)))
        });
        self.connections.insert(id, Held::Opening(task));
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        match self.connections.remove(&id) {
            Some(Held::Opening(task)) => task.abort(),
            // What comes of it is told when its end is noticed.
            Some(open @ Held::Open { .. }) => {
                if let Held::Open { sender, .. } = &open {
                    sender.give_up(reason.as_str());
                }
                self.connections.insert(id, open);
            }
            Some(Held::Arrived(_)) | None => {}
        }
        self.opened.remove(&id);
    }

    /// A peer has dialled us.
    fn arrived(&mut self, path: Option<N::Path>) {
        let Some(path) = path else {
            self.incoming = None;
            self.listener = None;
            if let Some(task) = self.announcing.take() {
                task.abort();
            }
            return self.core.unlistened(now());
        };
        let key = path.remote_public_key();
        let existing = self.core.connection_with(&key).and_then(|id| self.connections.get(&id));
        let established = matches!(existing, Some(Held::Open { sender, .. }) if sender.has_heard());
        if let Some(id) = self.core.incoming(now(), key, established) {
            self.connections.insert(id, Held::Arrived(path));
        }
    }

    fn changed(&mut self, change: Change) {
        if change == Change::Renewed {
            self.core.network_changed(now());
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Found(id, peers) => self.core.found(now(), id, &peers),
            Told::Over(id, result) => self.core.asked(now(), id, result.map_err(drop)),
        }
    }

    fn done(&mut self, done: Done<N>) {
        let now = now();
        match done {
            Done::Dialled(id, Ok((connection, way))) => {
                // It may have been given up just now.
                if !matches!(self.connections.get(&id), Some(Held::Opening(_))) {
                    return;
                }
                let sender = connection.sender();
                let open = Held::Open { sender: sender.clone(), way, since: Instant::now() };
                self.connections.insert(id, open);
                self.tasks.spawn(async move {
                    // Why it ended, whoever has the connection is told.
                    let _ = sender.closed().await;
                    Done::Closed(id)
                });
                self.opened.insert(id, (connection, way));
                self.core.opened(now, id);
            }
            Done::Dialled(id, Err(ended)) => {
                self.connections.remove(&id);
                self.core.closed(now, id, ended);
            }
            Done::Closed(id) => {
                self.opened.remove(&id);
                self.core.closed(now, id, Ended::Anyhow);
            }
            Done::Bound(listener, incoming) => self.bound(listener, incoming),
            Done::Announced => {
                if self.announcing.take().is_some() {
                    self.core.listening(now, true);
                }
            }
            Done::Unlistened => self.core.unlistened(now),
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn accept<P>(incoming: &mut Option<mpsc::Receiver<P>>) -> Option<P> {
    match incoming {
        Some(incoming) => incoming.recv().await,
        None => std::future::pending().await,
    }
}
