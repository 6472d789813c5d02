//! Swarms: peers that find each other by topics, and stay connected (npm `hyperswarm` 4).

mod config;
mod core;
mod driver;
mod endpoint;
mod gate;
mod handle;
mod net;
mod peer;
mod queue;
mod retry;
mod types;

pub use config::{Config, MAX_REFUSED};
pub use core::Core;
pub use gate::{Firewall, Gate};
pub use handle::{Connected, ConnectionStatus, Discovery, Event, Events, Options, Status, Swarm};
pub use net::{Change, Dialling, Listener, Net, Path, Question, Unanswered};
pub use types::{
    Action, Ask, CloseReason, ConnectionId, Ended, Event as CoreEvent, Found, Join, PeerInfo, QueryId,
    SessionId, Stats, TopicStatus, WaitId,
};
