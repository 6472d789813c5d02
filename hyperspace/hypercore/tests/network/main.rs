//! Stores that replicate over connections, with all threads and clocks there are.

mod cores;
mod durability;
mod line;
mod peers;
