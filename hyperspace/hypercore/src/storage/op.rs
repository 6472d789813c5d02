//! What a commit consists of, and its bytes in the journal.
//!
//! One commit is a list of [`Op`]s that all happen or none. The same ops are applied to
//! memory when they are committed, to the database when the journal is folded, and again
//! from the journal's bytes after a crash.

use super::StoreError;
use super::extent::{Extent, Place};
use crate::encoding::{Reader, Writer};
use crate::merkle::Node;
use bytes::Bytes;

/// What a core is called within a store. Never used again for another core.
pub type CoreId = u64;

/// The most cores that a store can ever have had.
pub const MAX_CORES: u64 = 1 << 23;

/// The most blocks that a core can have here.
pub const MAX_LENGTH: u64 = 1 << 40;

/// The versions of a core's record: as usual, and of a frozen one.
const RECORD: u8 = 1;
const FROZEN: u8 = 2;

/// How we may sign for a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// We may not.
    None,
    /// With the key pair derived from the store's primary key and these.
    Derived {
        /// The corestore namespace.
        namespace: [u8; 32],
        /// The name within it.
        name: Bytes,
    },
    /// With the key pair of this seed.
    Seed([u8; 32]),
}

/// What never changes about a core, or hardly ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreRecord {
    /// Its key.
    pub key: [u8; 32],
    /// Its manifest, encoded, once it is known.
    pub manifest: Option<Bytes>,
    /// How we may sign for it.
    pub secret: Secret,
    /// Was it proven to have been signed with two different contents?
    pub frozen: bool,
}

/// The state of a core's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How often its history was rewritten.
    pub fork: u64,
    /// Blocks.
    pub length: u64,
    /// Bytes of all blocks.
    pub byte_length: u64,
    /// The signature over the tree of that length; empty for an empty core.
    pub signature: Bytes,
}

/// A step of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A core is new, or its record has changed.
    Core {
        /// Which.
        core: CoreId,
        /// Its record.
        record: CoreRecord,
    },
    /// A name in a namespace means a core.
    Alias {
        /// The corestore namespace.
        namespace: [u8; 32],
        /// The name.
        name: Bytes,
        /// The core.
        core: CoreId,
    },
    /// A core's log has a new state.
    Head {
        /// Which.
        core: CoreId,
        /// The state.
        head: Head,
    },
    /// Tree nodes to store.
    Nodes {
        /// Whose.
        core: CoreId,
        /// The nodes.
        nodes: Vec<Node>,
    },
    /// Blocks to store.
    Extent {
        /// Whose.
        core: CoreId,
        /// The blocks.
        extent: Extent,
    },
    /// Blocks `start..end` are to be forgotten.
    Clear {
        /// Whose.
        core: CoreId,
        /// The first.
        start: u64,
        /// After the last.
        end: u64,
    },
    /// Blocks and nodes from `length` on are to be forgotten. A [`Op::Head`] follows.
    Truncate {
        /// Whose.
        core: CoreId,
        /// Blocks that stay.
        length: u64,
    },
    /// Everything about a core is to be forgotten.
    Delete {
        /// Which.
        core: CoreId,
    },
    /// A value that the user keeps with a core.
    UserData {
        /// Whose.
        core: CoreId,
        /// Its name.
        key: Bytes,
        /// The value; `None` removes it.
        value: Option<Bytes>,
    },
    /// A value that is kept for the store as a whole.
    Setting {
        /// Its name.
        key: Bytes,
        /// The value; `None` removes it.
        value: Option<Bytes>,
    },
    /// Everything before this was flushed to the disk.
    Flushed,
}

impl Op {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut Writer) {
        match self {
            Self::Core { core, record } => {
                out.uint8(1).uint(*core);
                write_record(record, out);
            }
            Self::Alias { namespace, name, core } => {
                out.uint8(2).raw(namespace).buffer(name).uint(*core);
            }
            Self::Head { core, head } => {
                out.uint8(3).uint(*core);
                write_head(head, out);
            }
            Self::Nodes { core, nodes } => {
                out.uint8(4).uint(*core).uint(nodes.len() as u64);
                nodes.iter().for_each(|node| node.encode(out));
            }
            Self::Extent { core, extent } => {
                out.uint8(5).uint(*core);
                write_extent(extent, out);
            }
            Self::Clear { core, start, end } => {
                out.uint8(6).uint(*core).uint(*start).uint(*end);
            }
            Self::Truncate { core, length } => {
                out.uint8(7).uint(*core).uint(*length);
            }
            Self::Delete { core } => {
                out.uint8(8).uint(*core);
            }
            Self::UserData { core, key, value } => {
                out.uint8(9).uint(*core).buffer(key);
                write_optional(value, out);
            }
            Self::Setting { key, value } => {
                out.uint8(10).buffer(key);
                write_optional(value, out);
            }
            Self::Flushed => {
                out.uint8(11);
            }
        }
    }

    /// Reads one op.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, StoreError> {
        Ok(match input.uint8()? {
            1 => Self::Core { core: core_id(input)?, record: read_record(input)? },
            2 => Self::Alias {
                namespace: input.fixed()?,
                name: Bytes::copy_from_slice(input.buffer()?),
                core: core_id(input)?,
            },
            3 => Self::Head { core: core_id(input)?, head: read_head(input)? },
            4 => {
                let core = core_id(input)?;
                let count = input.uint()?;
                if count > (input.remaining() / Node::MIN_BYTES) as u64 {
                    return Err(StoreError::Damaged("a list of nodes".into()));
                }
                let nodes = (0..count).map(|_| Node::decode(input)).collect::<Result<_, _>>()?;
                Self::Nodes { core, nodes }
            }
            5 => Self::Extent { core: core_id(input)?, extent: read_extent(input)? },
            6 => Self::Clear { core: core_id(input)?, start: input.uint()?, end: input.uint()? },
            7 => Self::Truncate { core: core_id(input)?, length: input.uint()? },
            8 => Self::Delete { core: core_id(input)? },
            9 => Self::UserData {
                core: core_id(input)?,
                key: Bytes::copy_from_slice(input.buffer()?),
                value: read_optional(input)?,
            },
            10 => {
                Self::Setting { key: Bytes::copy_from_slice(input.buffer()?), value: read_optional(input)? }
            }
            11 => Self::Flushed,
            other => return Err(StoreError::Damaged(format!("an operation of unknown kind {other}"))),
        })
    }
}

fn core_id(input: &mut Reader<'_>) -> Result<CoreId, StoreError> {
    let core = input.uint()?;
    if core < MAX_CORES { Ok(core) } else { Err(StoreError::Damaged("a core's number".into())) }
}

fn write_optional(value: &Option<Bytes>, out: &mut Writer) {
    match value {
        Some(value) => out.uint8(1).buffer(value),
        None => out.uint8(0),
    };
}

fn read_optional(input: &mut Reader<'_>) -> Result<Option<Bytes>, StoreError> {
    Ok(match input.uint8()? {
        0 => None,
        _ => Some(Bytes::copy_from_slice(input.buffer()?)),
    })
}

/// Appends a record's bytes.
pub fn write_record(record: &CoreRecord, out: &mut Writer) {
    // What few cores are, is told by a version of its own.
    out.uint8(if record.frozen { FROZEN } else { RECORD }).raw(&record.key);
    write_optional(&record.manifest, out);
    match &record.secret {
        Secret::None => out.uint8(0),
        Secret::Derived { namespace, name } => out.uint8(1).raw(namespace).buffer(name),
        Secret::Seed(seed) => out.uint8(2).raw(seed),
    };
}

/// Reads a record.
pub fn read_record(input: &mut Reader<'_>) -> Result<CoreRecord, StoreError> {
    let version = input.uint8()?;
    if ![RECORD, FROZEN].contains(&version) {
        return Err(StoreError::Damaged(format!("a core's record has version {version}")));
    }
    Ok(CoreRecord {
        key: input.fixed()?,
        manifest: read_optional(input)?,
        secret: match input.uint8()? {
            0 => Secret::None,
            1 => Secret::Derived { namespace: input.fixed()?, name: Bytes::copy_from_slice(input.buffer()?) },
            2 => Secret::Seed(input.fixed()?),
            other => return Err(StoreError::Damaged(format!("a secret of unknown kind {other}"))),
        },
        frozen: version == FROZEN,
    })
}

/// Appends a head's bytes.
pub fn write_head(head: &Head, out: &mut Writer) {
    out.uint(head.fork).uint(head.length).uint(head.byte_length).buffer(&head.signature);
}

/// Reads a head.
pub fn read_head(input: &mut Reader<'_>) -> Result<Head, StoreError> {
    let head = Head {
        fork: input.uint()?,
        length: input.uint()?,
        byte_length: input.uint()?,
        signature: Bytes::copy_from_slice(input.buffer()?),
    };
    if head.length > MAX_LENGTH {
        return Err(StoreError::Damaged("a core's length".into()));
    }
    Ok(head)
}

fn write_extent(extent: &Extent, out: &mut Writer) {
    out.uint(extent.first()).uint(extent.count() as u64);
    match extent.place() {
        Place::Inline(_) => out.uint(0),
        Place::Segment { id, offset } => out.uint(u64::from(*id)).uint(*offset),
    };
    extent.write_table(out);
    if let Place::Inline(data) = extent.place() {
        out.raw(data);
    }
}

fn read_extent(input: &mut Reader<'_>) -> Result<Extent, StoreError> {
    let (first, count) = (input.uint()?, input.uint()?);
    if first.saturating_add(count) > MAX_LENGTH {
        return Err(StoreError::Damaged("an extent's place".into()));
    }
    let segment = match input.uint()? {
        0 => None,
        id => {
            let id = u32::try_from(id).map_err(|_| StoreError::Damaged("a segment's number".into()))?;
            Some((id, input.uint()?))
        }
    };
    Extent::read(first, count, segment, input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::extent::{concat, split};
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from)
    }

    fn op() -> impl Strategy<Value = Op> {
        let core = 0..MAX_CORES;
        let secret = prop_oneof![
            Just(Secret::None),
            (any::<[u8; 32]>(), bytes()).prop_map(|(namespace, name)| Secret::Derived { namespace, name }),
            any::<[u8; 32]>().prop_map(Secret::Seed),
        ];
        let node = (0..1u64 << 41, 0..1u64 << 40, any::<[u8; 32]>()).prop_map(|(index, size, hash)| Node {
            index,
            size,
            hash,
        });
        let extent = (0..1u64 << 39, prop::collection::vec(bytes(), 1..20), any::<bool>()).prop_map(
            |(first, blocks, inline)| {
                let place = |blocks: &[Bytes], before| match inline {
                    true => Place::Inline(concat(blocks)),
                    false => Place::Segment { id: 3, offset: 77 + before },
                };
                split(first, &blocks, place).remove(0)
            },
        );
        prop_oneof![
            (core.clone(), any::<[u8; 32]>(), prop::option::of(bytes()), secret, any::<bool>()).prop_map(
                |(core, key, manifest, secret, frozen)| Op::Core {
                    core,
                    record: CoreRecord { key, manifest, secret, frozen }
                }
            ),
            (any::<[u8; 32]>(), bytes(), core.clone()).prop_map(|(namespace, name, core)| Op::Alias {
                namespace,
                name,
                core
            }),
            (core.clone(), 0..9u64, 0..MAX_LENGTH, 0..1u64 << 50, bytes()).prop_map(
                |(core, fork, length, byte_length, signature)| Op::Head {
                    core,
                    head: Head { fork, length, byte_length, signature }
                }
            ),
            (core.clone(), prop::collection::vec(node, 0..9))
                .prop_map(|(core, nodes)| Op::Nodes { core, nodes }),
            (core.clone(), extent).prop_map(|(core, extent)| Op::Extent { core, extent }),
            (core.clone(), 0..99u64, 0..999u64).prop_map(|(core, start, end)| Op::Clear { core, start, end }),
            (core.clone(), 0..99u64).prop_map(|(core, length)| Op::Truncate { core, length }),
            core.clone().prop_map(|core| Op::Delete { core }),
            (core, bytes(), prop::option::of(bytes())).prop_map(|(core, key, value)| Op::UserData {
                core,
                key,
                value
            }),
            (bytes(), prop::option::of(bytes())).prop_map(|(key, value)| Op::Setting { key, value }),
            Just(Op::Flushed),
        ]
    }

    proptest! {
        #[test]
        fn reads_back(op in op()) {
            let mut out = Writer::new();
            op.encode(&mut out);
            let mut input = Reader::new(out.as_slice());
            prop_assert_eq!(Op::decode(&mut input).unwrap(), op);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn decodes_anything_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Op::decode(&mut Reader::new(&bytes));
        }
    }
}
