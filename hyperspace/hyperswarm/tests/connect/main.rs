//! Peers that dial each other by their keys: on sockets of this machine, and in a simulated
//! network with NATs.

mod hostile;
mod lasting;
mod nats;
#[allow(dead_code, reason = "the tests of the DHT use the rest of it")]
#[path = "../dht/network.rs"]
mod network;
mod peer;
mod relayed;
mod sockets;
