//! How signatures are stored and sent when there may be several of them.

use crate::crypto::{SIGNATURE_BYTES, Signature};
use crate::encoding::{DecodeError, Reader, Writer};
use crate::flat_tree;
use crate::merkle::Node;

/// The most signatures, and the most nodes, that an envelope may hold.
pub const MAX_PROOFS: usize = 4096;

/// Signatures of several signers, and the nodes by which those of longer trees are
/// checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The signatures; as many as the quorum says count, the rest are ignored.
    pub proofs: Vec<Proof>,
    /// Nodes that lead from the core's length to those that were signed.
    pub nodes: Vec<Node>,
}

/// One signer's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Which of the manifest's signers.
    pub signer: u64,
    /// The signature.
    pub signature: Signature,
    /// How many blocks beyond the core's length the signed tree had.
    pub patch: u64,
}

/// One signer's contribution to [`assemble`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patched {
    /// The signature.
    pub proof: Proof,
    /// If it is of a longer tree: the nodes from the core's length up to that one.
    pub nodes: Vec<Node>,
}

/// Puts signatures together, in the order given; each node is listed once.
pub fn assemble(parts: &[Patched]) -> Envelope {
    let mut envelope = Envelope::default();
    for part in parts {
        envelope.proofs.push(part.proof);
        for node in &part.nodes {
            if !envelope.nodes.iter().any(|other| other.index == node.index) {
                envelope.nodes.push(*node);
            }
        }
    }
    envelope
}

/// How long a core is that signers at these lengths sign together: the length that `quorum`
/// of them have reached. `None` if there are fewer signers, or no quorum.
pub fn signed_length(lengths: &[u64], quorum: u64) -> Option<u64> {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.get(usize::try_from(quorum.checked_sub(1)?).ok()?).copied()
}

impl Envelope {
    /// The form of manifests from version 1 on.
    pub fn encode_v1(&self, writer: &mut Writer) {
        writer.array(&self.proofs, |writer, proof| {
            writer.uint(proof.signer).raw(&proof.signature).uint(proof.patch);
        });
        writer.array(&self.nodes, |writer, node| node.encode(writer));
    }

    /// See [`encode_v1`](Self::encode_v1).
    pub fn decode_v1(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let proofs = reader.array(SIGNATURE_BYTES + 2, |reader| {
            Ok(Proof { signer: reader.uint()?, signature: reader.fixed()?, patch: reader.uint()? })
        })?;
        Self { proofs, nodes: reader.array(Node::MIN_BYTES, Node::decode)? }.bounded()
    }

    /// The form of version 0, for a core of `length` blocks: each patch says for itself
    /// where it ends and which nodes it needs, though readers use only how long it is.
    pub fn encode_v0(&self, writer: &mut Writer, length: u64) {
        writer.array(&self.proofs, |writer, proof| {
            let patched = proof.patch > 0;
            writer.uint(patched.into()).uint(proof.signer).raw(&proof.signature);
            if patched {
                let end = length.saturating_add(proof.patch);
                let positions: Vec<usize> = flat_tree::subtrees(length, end)
                    .filter_map(|index| self.nodes.iter().position(|node| node.index == index))
                    .collect();
                writer.uint(end).uint(proof.patch).array(&positions, |writer, position| {
                    writer.uint(*position as u64);
                });
            }
        });
        writer.array(&self.nodes, |writer, node| node.encode(writer));
    }

    /// See [`encode_v0`](Self::encode_v0).
    pub fn decode_v0(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let proofs = reader.array(SIGNATURE_BYTES + 2, |reader| {
            let flags = reader.uint()?;
            let (signer, signature) = (reader.uint()?, reader.fixed()?);
            let mut patch = 0;
            if flags & 1 != 0 {
                reader.uint()?;
                patch = reader.uint()?;
                reader.array(1, |reader| reader.uint())?;
            }
            Ok(Proof { signer, signature, patch })
        })?;
        Self { proofs, nodes: reader.array(Node::MIN_BYTES, Node::decode)? }.bounded()
    }

    fn bounded(self) -> Result<Self, DecodeError> {
        if self.proofs.len() > MAX_PROOFS || self.nodes.len() > MAX_PROOFS {
            return Err(DecodeError::TooLong);
        }
        Ok(self)
    }
}
