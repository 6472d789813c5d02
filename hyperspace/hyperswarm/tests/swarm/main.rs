//! Swarms in a world of their own (and, in `resting`, on sockets): a DHT that remembers who announced what, ways between
//! hosts that take their time, and a clock that only moves when something happens.

mod bounds;
mod driver;
mod duplicates;
mod finding;
mod flushing;
mod losing;
mod net;
mod resting;
mod world;
