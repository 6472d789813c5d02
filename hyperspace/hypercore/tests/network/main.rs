//! Stores that replicate over connections, with all threads and clocks there are.

mod conflicts;
mod cores;
mod durability;
mod line;
mod peers;
