//! Today's peers from npm (corestore 7, hypercore 11, hyperbee 2, hyperdrive 13) and ours,
//! over TCP: every kind of core, both as writer and as reader, both as the side that calls
//! and as the one that is called.
//!
//! `HYPERSPACE_INTEROP=full` tails 10,000 appends of every kind of core, not of the usual
//! one only.

mod crash;
mod drives;
mod js;
mod matrix;
mod rust;
mod scenarios;
mod side;
mod swarm;
