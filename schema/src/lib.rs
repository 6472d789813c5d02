//! What HRPC, the RPC of Hyperspace, looks like on the wire.
//!
//! * [`messages`]: the protobuf messages, generated from `proto/hyperspace.proto`
//!   (field for field those of npm `@hyperspace/rpc` 1.15.1).
//! * [`methods`]: the one table of services and methods, which drives both the
//!   server's dispatch and the client's calls.
//! * [`frame`]: the framing, with every length that a stranger controls bounded.
//!
//! Nothing here does I/O.
//!
//! ```
//! use hyperspace_schema::{frame::{Decoder, Kind}, messages::Void, methods};
//!
//! // A `Status` call, as npm's @hyperspace/client writes it.
//! let mut wire = bytes::BytesMut::new();
//! hyperspace_schema::frame::request::<methods::hyperspace::Status>(&mut wire, 1, &Void {});
//! assert_eq!(wire.as_ref(), [0x03, 0x04, 0x01, 0x01]);
//!
//! let frame = Decoder::default().next(&mut wire).unwrap().unwrap();
//! assert_eq!((frame.kind, frame.service, frame.method, frame.id), (Kind::Request, 1, 1, 1));
//! ```
#![forbid(unsafe_code)]

pub mod frame;
pub mod methods;

/// The protobuf messages of HRPC.
#[allow(missing_docs, clippy::doc_markdown)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/hyperspace.rs"));

    /// The message of a method that takes or returns nothing: no bytes at all.
    #[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
    pub struct Void {}

    /// A message with the tags of its required fields.
    pub(crate) trait Required {
        const REQUIRED: &'static [u32];
    }

    impl Required for Void {
        const REQUIRED: &'static [u32] = &[];
    }

    include!(concat!(env!("OUT_DIR"), "/required.rs"));
}

/// What `Hyperspace.Status` reports as its API version: that of the npm package
/// `@hyperspace/rpc` whose messages these are.
pub const API_VERSION: &str = "1.15.1";
