//! End-to-end tests and benchmarks: real binaries, real mounts, real Node peers.
//!
//! This library is what the tests in `tests/` and the drivers in `src/bin/` stand on:
//!
//! * [`binaries`]: where the programs under test are; they are built once if need be.
//! * [`scratch`]: a folder of one test, with a home and a socket of its own.
//! * [`process`]: children that are killed with their test, and whose output is waited for.
//! * [`server`], [`mount`]: a running `hyperspace`, a running `hyperdrive start`.
//! * [`machine`]: a server with peers, and what is mounted there; [`relay`]: a line between
//!   two of them that can be held or cut; [`link`]: one that is long.
//! * `clock`: the clocks of a machine that sleeps.
//! * [`far`]: reading from the far end of such a line.
//! * [`idle`]: a server with topics and peers, in a DHT of their own.
//! * [`dht`]: a DHT of real nodes on loopback; [`echo`]: connections on which all comes back.
//! * [`garbage`]: strangers at every port of processes that serve others.
//! * [`internet`]: machines in network namespaces, and routers that translate addresses.
//! * [`shell`], [`node`]: programs run to their end; [`told`]: one that does what it is told.
//! * [`tree`]: generated folders of files, and what two folders differ in.
//! * [`wire`]: HRPC without a client library, for bytes that no client would send.
//!
//! Nothing here sleeps to let something happen: it waits for a line, an exit or an answer.

pub mod binaries;
mod clock;
pub mod dht;
pub mod echo;
pub mod far;
pub mod garbage;
pub mod idle;
pub mod internet;
pub mod link;
pub mod machine;
pub mod mount;
pub mod node;
pub mod peer;
pub mod process;
pub mod random;
pub mod relay;
pub mod scratch;
pub mod server;
pub mod shell;
pub mod told;
pub mod tree;
pub mod wire;
