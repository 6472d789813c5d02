//! Drives of other computers, in a mount: while their data arrives, while it cannot, and
//! when it has been brought here.

#[path = "remote_drives/away.rs"]
mod away;
#[path = "remote_drives/copies.rs"]
mod copies;
#[path = "remote_drives/reading.rs"]
mod reading;
#[path = "remote_drives/world.rs"]
mod world;
