//! UDX: two sides and a network between them, in virtual time; what hostile datagrams do;
//! what was recorded of npm udx-native; and sockets on loopback.

mod ends;
mod hostile;
mod loss;
mod relay;
mod sockets;
mod vectors;
mod windows;
mod world;
