//! The one table of HRPC services and methods (reference: npm `@hyperspace/rpc` 1.15.1).
//!
//! `table!` turns it into a type a method (for typed calls), and into the enums
//! [`Call`] (what a client asks of a server) and [`Event`] (what a server tells a
//! client), each with a `decode` that never panics.

use crate::messages::*;
use bytes::Bytes;
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

/// One method of one service.
pub trait Method {
    /// The service's number.
    const SERVICE: u64;
    /// The method's number within its service.
    const METHOD: u64;
    /// `Service.Method`, for messages to people.
    const NAME: &'static str;
    /// What the caller sends.
    type Request: Message + Default;
    /// What it gets back.
    type Response: Message + Default;
}

/// Why a payload could not be turned into a [`Call`] or an [`Event`].
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No such method, or not one of this direction.
    #[error("Unknown method ({method}) on service ({service})")]
    UnknownMethod {
        /// The service number of the frame.
        service: u64,
        /// The method number of the frame.
        method: u64,
    },
    /// The message has more than [`MAX_FIELDS`] fields.
    #[error("The message of {method} has too many parts; at most {MAX_FIELDS} are taken")]
    TooManyFields {
        /// `Service.Method`.
        method: &'static str,
    },
    /// The message lacks a field that it must have.
    #[error("The message of {method} cannot be decoded: it lacks its field {field}")]
    Missing {
        /// `Service.Method`.
        method: &'static str,
        /// The field's number.
        field: u32,
    },
    /// The payload is not the message that the method takes.
    #[error("The message of {method} cannot be decoded: {source}")]
    Message {
        /// `Service.Method`.
        method: &'static str,
        /// What prost says of it.
        source: prost::DecodeError,
    },
}

/// Fields that one message may have: a repeated field counts once for each of its
/// values. Two bytes on the wire can become 32 in memory, and there must be an end
/// to that. Larger batches of blocks have to be split.
pub const MAX_FIELDS: usize = 1 << 20;

/// Reads a message, unless it has too many fields or lacks a required one.
fn decode<T: Message + Default + Required>(method: &'static str, payload: Bytes) -> Result<T, DecodeError> {
    let failed = |source| DecodeError::Message { method, source };
    // Bit n: field n is still to be seen.
    let mut missing = T::REQUIRED.iter().fold(0u64, |missing, tag| missing | 1 << tag);
    // A field takes two bytes at least: short messages need no counting.
    let count = payload.len() > 2 * MAX_FIELDS;
    let (mut rest, mut fields) = (&payload[..], 0);
    while !rest.is_empty() && (count || missing != 0) {
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(DecodeError::TooManyFields { method });
        }
        let (tag, wire_type) = decode_key(&mut rest).map_err(failed)?;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(failed)?;
        if tag < u64::BITS {
            missing &= !(1 << tag);
        }
    }
    if missing != 0 {
        return Err(DecodeError::Missing { method, field: missing.trailing_zeros() });
    }
    T::decode(payload).map_err(failed)
}

macro_rules! table {
    ($($(#[$sdoc:meta])* $module:ident $service:literal $label:literal {
        $($(#[$mdoc:meta])* $dir:ident $name:ident = $number:literal : $variant:ident($request:ty) -> $response:ty;)*
    })*) => {
        $($(#[$sdoc])* pub mod $module {
            use super::*;
            $($(#[$mdoc])* #[derive(Clone, Copy, Debug)] pub struct $name;
            impl Method for $name {
                const SERVICE: u64 = $service;
                const METHOD: u64 = $number;
                const NAME: &'static str = concat!($label, ".", stringify!($name));
                type Request = $request;
                type Response = $response;
            })*
        })*
        table!(@enum "What a client asks of a server." Call call [] $($($dir $service $number $variant $request, $module $name;)*)*);
        table!(@enum "What a server tells a client; no reply is expected." Event event [] $($($dir $service $number $variant $request, $module $name;)*)*);
    };
    // Sort the rows: keep those of the enum's own direction.
    (@enum $doc:literal Call call [$($kept:tt)*] call $s:literal $n:literal $v:ident $r:ty, $m:ident $t:ident; $($rest:tt)*) => {
        table!(@enum $doc Call call [$($kept)* ($s $n $v $r, $m $t)] $($rest)*);
    };
    (@enum $doc:literal Event event [$($kept:tt)*] event $s:literal $n:literal $v:ident $r:ty, $m:ident $t:ident; $($rest:tt)*) => {
        table!(@enum $doc Event event [$($kept)* ($s $n $v $r, $m $t)] $($rest)*);
    };
    (@enum $doc:literal $e:ident $d:ident [$($kept:tt)*] $other:ident $s:literal $n:literal $v:ident $r:ty, $m:ident $t:ident; $($rest:tt)*) => {
        table!(@enum $doc $e $d [$($kept)*] $($rest)*);
    };
    (@enum $doc:literal $e:ident $d:ident [$(($s:literal $n:literal $v:ident $r:ty, $m:ident $t:ident))*]) => {
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq)]
        pub enum $e {
            $(#[doc = concat!("See [`", stringify!($m), "::", stringify!($t), "`].")] $v($r),)*
        }
        impl $e {
            /// Reads the payload of a frame.
            pub fn decode(service: u64, method: u64, payload: Bytes) -> Result<Self, DecodeError> {
                match (service, method) {
                    $(($s, $n) => decode::<$r>(<$m::$t as Method>::NAME, payload).map($e::$v),)*
                    _ => Err(DecodeError::UnknownMethod { service, method }),
                }
            }
        }
    };
}

table! {
    /// The server itself.
    hyperspace 1 "Hyperspace" {
        /// Versions and reachability.
        call Status = 1: Status(Void) -> HyperspaceStatusResponse;
        /// Shuts the server down.
        call Stop = 2: Stop(Void) -> Void;
    }
    /// The cores that the server keeps.
    corestore 2 "Corestore" {
        /// Opens a core by key, by name, or a new one.
        call Open = 1: Open(OpenRequest) -> OpenResponse;
        /// A core was opened.
        event OnFeed = 2: OnFeed(FeedEvent) -> Void;
    }
    /// One open core.
    hypercore 3 "Hypercore" {
        /// One block.
        call Get = 1: Get(GetRequest) -> GetResponse;
        /// Appends a batch of blocks.
        call Append = 2: Append(AppendRequest) -> AppendResponse;
        /// Waits for, or asks peers for, a longer core.
        call Update = 3: Update(UpdateRequest) -> Void;
        /// The block at a byte offset.
        call Seek = 4: Seek(SeekRequest) -> SeekResponse;
        /// Is a block held here?
        call Has = 5: Has(HasRequest) -> HasResponse;
        /// Gives up a pending `Get`.
        call Cancel = 6: Cancel(CancelRequest) -> Void;
        /// Fetches a range; replies when it is complete.
        call Download = 7: Download(DownloadRequest) -> Void;
        /// How many blocks of a range are held.
        call Downloaded = 8: Downloaded(DownloadedRequest) -> DownloadedResponse;
        /// Gives up a pending `Download`.
        call Undownload = 9: Undownload(UndownloadRequest) -> Void;
        /// Closes a core of this session.
        call Close = 10: Close(CloseRequest) -> Void;
        /// Registers a core extension.
        call RegisterExtension = 11: RegisterExtension(RegisterExtensionRequest) -> Void;
        /// Unregisters it.
        call UnregisterExtension = 12: UnregisterExtension(UnregisterExtensionRequest) -> Void;
        /// Sends an extension message to one peer or all.
        call SendExtension = 13: SendExtension(ExtensionMessage) -> Void;
        /// Waits for the core's advisory lock.
        call AcquireLock = 14: AcquireLock(LockRequest) -> Void;
        /// Releases it.
        call ReleaseLock = 15: ReleaseLock(LockRequest) -> Void;
        /// The core grew.
        event OnAppend = 16: OnAppend(AppendEvent) -> Void;
        /// The core was closed by the server.
        event OnClose = 17: OnClose(CloseEvent) -> Void;
        /// A peer has the core open.
        event OnPeerOpen = 18: OnPeerOpen(PeerEvent) -> Void;
        /// A peer left.
        event OnPeerRemove = 19: OnPeerRemove(PeerEvent) -> Void;
        /// An extension message came in.
        event OnExtension = 20: OnExtension(ExtensionMessage) -> Void;
        /// A `Get` must wait for the network.
        event OnWait = 21: OnWait(WaitEvent) -> Void;
        /// Asks for `OnDownload` events.
        call WatchDownloads = 22: WatchDownloads(WatchRequest) -> Void;
        /// No more of them.
        call UnwatchDownloads = 23: UnwatchDownloads(WatchRequest) -> Void;
        /// A block came in.
        event OnDownload = 24: OnDownload(DownloadEvent) -> Void;
        /// Asks for `OnUpload` events.
        call WatchUploads = 25: WatchUploads(WatchRequest) -> Void;
        /// No more of them.
        call UnwatchUploads = 26: UnwatchUploads(WatchRequest) -> Void;
        /// A block went out.
        event OnUpload = 27: OnUpload(UploadEvent) -> Void;
        /// Ours: everything appended is on the disk.
        call Flush = 28: Flush(FlushRequest) -> Void;
        /// Ours: drops blocks.
        call Clear = 29: Clear(ClearRequest) -> Void;
        /// Ours: fork, contiguous length, disk use.
        call Info = 30: Info(InfoRequest) -> InfoResponse;
    }
    /// The server's place in the swarm.
    network 4 "Network" {
        /// The server's public key and peers.
        call Open = 1: NetworkOpen(Void) -> OpenNetworkResponse;
        /// Joins or leaves a topic.
        call Configure = 2: Configure(ConfigureNetworkRequest) -> ConfigureNetworkResponse;
        /// The live configuration of a topic.
        call Status = 3: NetworkStatus(NetworkStatusRequest) -> NetworkStatusResponse;
        /// All of them.
        call AllStatuses = 4: AllStatuses(Void) -> AllNetworkStatusesResponse;
        /// Registers a network extension.
        call RegisterExtension = 5: RegisterNetworkExtension(RegisterExtensionRequest) -> Void;
        /// Unregisters it.
        call UnregisterExtension = 6: UnregisterNetworkExtension(UnregisterExtensionRequest) -> Void;
        /// Sends a network extension message to one peer or all.
        call SendExtension = 7: SendNetworkExtension(ExtensionMessage) -> Void;
        /// A peer connected.
        event OnPeerAdd = 8: OnPeerAdd(PeerEvent) -> Void;
        /// A peer left.
        event OnPeerRemove = 9: OnNetworkPeerRemove(PeerEvent) -> Void;
        /// A network extension message came in.
        event OnExtension = 10: OnNetworkExtension(ExtensionMessage) -> Void;
        /// Ours: calls an address, as long as it is not removed.
        call AddPeer = 28: AddPeer(AddPeerRequest) -> Void;
        /// Ours: no longer does.
        call RemovePeer = 29: RemovePeer(RemovePeerRequest) -> Void;
        /// Ours: the addresses that are called.
        call PeerAddresses = 30: PeerAddresses(Void) -> PeerAddressesResponse;
        /// Ours: how the server is in the network.
        call Info = 31: NetworkInfo(Void) -> NetworkInfo;
    }
}
