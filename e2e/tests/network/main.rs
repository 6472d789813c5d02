//! Servers in the swarm: of nothing but what we have made, on this machine.

mod dead;
mod finding;
mod later;
mod leaving;
mod offline;
mod peersockets;
mod support;
