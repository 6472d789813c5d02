//! Exchanging cores with peers: the Hypercore 11 protocol, without a network.
//!
//! * [`wire`] is what is said: the messages of a channel, one channel a core and connection.
//! * [`replicator`] decides, for one core, whom to ask for what, and checks and stores what
//!   comes. It knows no sockets and no clock.
//! * [`Replication`] does that for all cores of a store, over any number of connections, of
//!   which it needs no more than a [`Link`].
//! * [`upload`] answers what peers ask, straight from storage.
//!
//! # Bounds
//! What a stranger can make us keep is limited everywhere: pages of what a peer has
//! (128, 4 KiB each), its wants (512), what it asks of a core (2,048), what it owes us
//! (32 MiB a core).
//!
//! # Whom we believe
//! Nobody. A block, a longer tree, a newer fork is kept once it is proven, and not before; who
//! sends a proof that does not hold is cut off.

pub(crate) mod driver;
mod have;
mod peer;
pub mod replicator;
pub mod upload;
mod wants;
mod window;
pub mod wire;

pub use driver::{
    Answerer, AttachError, Attached, ConnectionInfo, CoreTraffic, Expected, Extension, Followed, Link,
    Looking, MAX_UNPROCESSED, PeerTraffic, Replication, ReplicationOptions, Reply, Scout,
};
pub use peer::PeerId;
