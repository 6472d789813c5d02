//! What a datagram of UDX looks like: a header of 20 bytes, ranges of acknowledged packets
//! or padding, and a payload.
//!
//! Format: version 1 of libudx; all integers are little-endian. Sequence numbers count
//! packets, not bytes, and wrap around.

/// The length of a header.
pub const HEADER: usize = 20;

/// At most so many ranges are put in one packet, as libudx does.
pub const MAX_RANGES: usize = 50;

const MAGIC: u8 = 255;
const VERSION: u8 = 1;
const RANGE: usize = 8;

/// What a packet is, and carries: a set, since most of it can be combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// Nothing but an acknowledgement, as every packet carries one.
    pub const ACK: Self = Self(0);
    /// Bytes of the stream.
    pub const DATA: Self = Self(1);
    /// The last packet of the stream.
    pub const END: Self = Self(2);
    /// Ranges that were received out of order.
    pub const SACK: Self = Self(4);
    /// A message beside the stream: unordered, unreliable.
    pub const MESSAGE: Self = Self(8);
    /// The sender has given the stream up.
    pub const DESTROY: Self = Self(16);
    /// Asks for an acknowledgement.
    pub const HEARTBEAT: Self = Self(32);

    /// Whether it has any flag of `other`.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The first 20 bytes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub flags: Flags,
    /// How many bytes there are between the header and the payload.
    pub data_offset: u8,
    /// The number that the *receiver* gave its stream.
    pub stream_id: u32,
    /// How many bytes the sender is willing to receive.
    pub window: u32,
    /// The number of this packet; of one that has none, the sender's next.
    pub seq: u32,
    /// The number of the next packet that the sender waits for.
    pub ack: u32,
}

impl Header {
    /// Writes it.
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&[MAGIC, VERSION, self.flags.0, self.data_offset]);
        for field in [self.stream_id, self.window, self.seq, self.ack] {
            into.extend_from_slice(&field.to_le_bytes());
        }
    }

    /// Reads it, and gives what follows. `None` if the datagram is something else.
    pub fn decode(datagram: &[u8]) -> Option<(Self, &[u8])> {
        let (head, body) = datagram.split_first_chunk::<HEADER>()?;
        let [MAGIC, VERSION, flags, data_offset, fields @ ..] = head else { return None };
        let field =
            |at: usize| u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
        let header = Self {
            flags: Flags(*flags),
            data_offset: *data_offset,
            stream_id: field(0),
            window: field(4),
            seq: field(8),
            ack: field(12),
        };
        Some((header, body))
    }
}

/// A whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    ranges: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes what follows a header apart. `None` if there is less than the header says.
    pub fn new(header: Header, body: &'a [u8]) -> Option<Self> {
        let offset = usize::from(header.data_offset);
        let (between, payload) = body.split_at_checked(offset)?;
        if !header.flags.has(Flags::SACK) {
            return Some(Self { header, ranges: &[], payload });
        }
        // Without a length, all of it are ranges, and nothing is payload.
        let (ranges, payload) =
            if between.is_empty() || payload.is_empty() { (body, &body[..0]) } else { (between, payload) };
        Some(Self { header, ranges, payload })
    }

    /// Reads a datagram. `None` if it is no packet of UDX, or a broken one.
    pub fn decode(datagram: &'a [u8]) -> Option<Self> {
        let (header, body) = Header::decode(datagram)?;
        Self::new(header, body)
    }

    /// What was received out of order: from the first to before the second.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + 'a {
        self.ranges.chunks_exact(RANGE).map(|range| {
            let number =
                |at: usize| u32::from_le_bytes([range[at], range[at + 1], range[at + 2], range[at + 3]]);
            (number(0), number(4))
        })
    }
}

/// Writes a range behind a header.
pub(super) fn encode_range(start: u32, end: u32, into: &mut Vec<u8>) {
    into.extend_from_slice(&start.to_le_bytes());
    into.extend_from_slice(&end.to_le_bytes());
}
