//! The hyperbee: a sorted map from keys to values in the blocks of one core, a B-tree of which
//! each block rewrites a path. It is what today's drives keep their index in.
//!
//! Here is only what a peer has to know of it who lends a bee to others: how its blocks point
//! at each other, and how one walks along them. Nothing is ever written, and no value is
//! looked at.
//!
//! * [`Block`] is one block: a key, and the nodes of the tree that were written with it.
//! * [`hints`] tell those who look something up which blocks they are about to need.
//!
//! The format is that of npm hyperbee 1 and 2. Blocks are a stranger's: whatever they say, a
//! walk ends, and costs no more than the bounds in [`hints`].
//!
//! The original's lookup has a shortcut: a node's own block is the answer if its key is the
//! one looked for. That gives wrong answers for some deleted keys, and is left out here, so
//! that now and then a few blocks more are told of than it needs.

#![forbid(unsafe_code)]

mod block;
pub mod hints;
mod range;
mod walk;

pub use block::{Block, Child, Level, is_header};
