//! Nodes of the DHT in a simulated network: no socket, no real time.

mod announcing;
mod hostile;
mod lookups;
mod network;
mod reaching;
mod swarm;
