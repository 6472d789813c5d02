//! Nodes of the DHT in a simulated network: no socket, no real time.

mod amplification;
mod announcing;
mod hostile;
mod lookups;
#[allow(dead_code, reason = "the tests of connections use the rest of it")]
mod network;
mod reaching;
mod swarm;
