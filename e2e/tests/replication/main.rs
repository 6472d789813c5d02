//! Cores between servers that know each other's address.

mod support;
mod two_servers;
