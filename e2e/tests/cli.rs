//! The `hyperdrive` program, as a person and as a script runs it: what it prints, what
//! it prints with `--json`, how it exits, and what it says when something is wrong.

#[path = "cli/copying.rs"]
mod copying;
#[path = "cli/drives.rs"]
mod drives;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/history.rs"]
mod history;
#[path = "cli/peers.rs"]
mod peers;
#[path = "cli/starting.rs"]
mod starting;
#[path = "cli/usage.rs"]
mod usage;
#[path = "cli/world.rs"]
mod world;
