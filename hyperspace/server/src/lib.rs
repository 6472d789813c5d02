//! The Hyperspace server: hypercores in one place, served over HRPC.
#![forbid(unsafe_code)]

pub mod config;
mod hub;
mod limits;
pub mod listen;
mod lock;
mod mailbox;
pub mod networker;
mod server;
mod session;
pub mod simulator;
mod start;
mod store;
mod transport;
mod wire_error;

pub use config::Endpoint;
pub use limits::Limits;
pub use server::{ClientChange, OnClient, Options, Server};
pub use start::{Config, RunningServer, StartError, Storage, start};
pub use store::Store;
pub use transport::Transport;
