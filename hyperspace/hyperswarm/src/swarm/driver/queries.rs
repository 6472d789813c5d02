//! The questions that are under way: each a task, whose finds come by one channel, so that a
//! swarm that is busy slows them down.

use crate::swarm::net::{Net, Question, Unanswered};
use crate::swarm::types::{Found, QueryId};
use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Answers that were not looked at yet.
const ANSWERS: usize = 32;

pub(super) enum Told {
    Found(QueryId, Vec<Found>),
    Over(QueryId, Result<Vec<SocketAddrV4>, Unanswered>),
}

pub(super) struct Queries {
    tasks: JoinSet<()>,
    by_id: HashMap<QueryId, tokio::task::AbortHandle>,
    sender: mpsc::Sender<Told>,
    receiver: mpsc::Receiver<Told>,
}

impl Queries {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(ANSWERS);
        Self { tasks: JoinSet::new(), by_id: HashMap::new(), sender, receiver }
    }

    pub(super) fn ask<N: Net>(&mut self, net: Arc<N>, id: QueryId, question: Question) {
        let told = self.sender.clone();
        let task = self.tasks.spawn(async move {
            let (sender, mut found) = mpsc::channel::<Vec<Found>>(1);
            let passing = async {
                while let Some(peers) = found.recv().await {
                    if told.send(Told::Found(id, peers)).await.is_err() {
                        return;
                    }
                }
            };
            let (result, ()) = tokio::join!(net.ask(question, sender), passing);
            // If nobody listens, the swarm is no more.
            let _ = told.send(Told::Over(id, result)).await;
        });
        self.by_id.insert(id, task);
    }

    pub(super) fn give_up(&mut self, id: QueryId) {
        if let Some(task) = self.by_id.remove(&id) {
            task.abort();
        }
    }

    /// What is told next. May be cancelled.
    pub(super) async fn told(&mut self) -> Told {
        loop {
            while self.tasks.try_join_next().is_some() {}
            let Some(told) = self.receiver.recv().await else { return std::future::pending().await };
            let id = match &told {
                Told::Found(id, _) | Told::Over(id, _) => *id,
            };
            // What was given up may have told something before.
            if !self.by_id.contains_key(&id) {
                continue;
            }
            if matches!(told, Told::Over(..)) {
                self.by_id.remove(&id);
            }
            return told;
        }
    }
}
