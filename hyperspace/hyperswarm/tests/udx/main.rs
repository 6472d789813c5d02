//! UDX: two sides and a network between them, in virtual time.

mod ends;
mod loss;
mod world;
