//! Today's peers from npm (corestore 7, hypercore 11, hyperbee 2, hyperdrive 13) and ours,
//! over TCP: every kind of core, both as writer and as reader, both as the side that calls
//! and as the one that is called.
//!
//! `HYPERSPACE_INTEROP=full` follows 10,000 appends and reconnects 20 times with every kind
//! of core, not with the usual one only. `HYPERSPACE_INTEROP_CELL` runs only the cells of the
//! matrix whose names contain it, as `v1, byte seeks`.

mod bees;
mod conflicts;
mod crash;
mod drives;
mod encrypted;
mod js;
mod line;
mod matrix;
mod rust;
mod scenarios;
mod side;
mod storms;
mod swarm;
