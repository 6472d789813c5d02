//! Peers that dial each other by their keys: on sockets of this machine, and in a simulated
//! network with NATs.

mod sockets;
