//! Cores between servers that know each other's address.

mod extensions;
mod hostile;
mod idle;
mod large;
mod support;
mod two_servers;
