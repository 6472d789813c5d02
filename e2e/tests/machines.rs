//! Machines of an internet of this test's own, with nothing but our binaries: who has a key
//! has the drive, wherever it is.

#[path = "machines/lan.rs"]
mod lan;
#[path = "machines/losing.rs"]
mod losing;
#[path = "machines/meeting.rs"]
mod meeting;
#[path = "machines/nats.rs"]
mod nats;
#[path = "machines/product.rs"]
mod product;
#[path = "machines/relayed.rs"]
mod relayed;
#[path = "machines/sleeping.rs"]
mod sleeping;
#[path = "machines/world.rs"]
mod world;
