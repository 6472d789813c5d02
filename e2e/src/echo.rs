//! Connections on whose channel `echo` everything comes back: ours, and what to say on those
//! of others.

use crate::process::PATIENCE;
use hyperswarm::hyperdht::{Dialed, Server};
use hyperswarm::{Connection, Event, Options};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Opens a connection that has such a channel.
///
/// # Panics
/// If it does not open.
pub async fn open(dialed: Dialed) -> Connection {
    let connection = timeout(PATIENCE, dialed.connect(Options::default())).await;
    let connection = connection.expect("in time").expect("it opens");
    connection.pair("echo", None);
    connection
}

/// Sends everything back, until the other side ends.
///
/// # Panics
/// If it does not open.
pub async fn echo(dialed: Dialed) {
    let mut connection = open(dialed).await;
    while let Some(event) = connection.next().await {
        match event {
            Event::Requested { protocol, id, .. } => {
                connection.open(&protocol, &id, "").expect("it is open");
            }
            Event::Message { channel, kind, payload } => {
                connection.send(channel, kind, payload).expect("there is room");
            }
            _ => {}
        }
    }
}

/// Says something, and gives what comes back.
///
/// # Panics
/// If nothing does.
pub async fn say(dialed: Dialed, text: &str) -> String {
    let mut connection = open(dialed).await;
    let channel = connection.open("echo", b"", "").expect("it is open");
    connection.send(channel, 0, text.to_owned()).expect("there is room");
    loop {
        match timeout(PATIENCE, connection.next()).await.expect("in time") {
            Some(Event::Message { payload, .. }) => return String::from_utf8_lossy(&payload).into_owned(),
            Some(_) => {}
            None => panic!("closed: {:?}", connection.error()),
        }
    }
}

/// A server that does so for everybody who comes. Dropped, it is closed.
#[derive(Debug)]
pub struct Serving {
    _tasks: JoinSet<()>,
}

impl Serving {
    /// Lets them come.
    pub fn new(mut server: Server) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut echoes = JoinSet::new();
            while let Some(dialed) = server.accept().await {
                echoes.spawn(echo(dialed));
            }
        });
        Self { _tasks: tasks }
    }
}
