//! Cores, peers and lines between them, all in memory and with a clock of their own: the same
//! seed gives the same run.

mod basic;
mod forks;
#[path = "../common/frames.rs"]
mod frames;
mod hostile;
mod swarm;
mod wire;
mod world;
