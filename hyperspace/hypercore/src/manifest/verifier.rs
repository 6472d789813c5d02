//! Signing trees, and checking that they were signed, as a manifest demands.

use super::envelope::{Envelope, Patched, Proof, assemble};
use super::{Manifest, Prologue, Signer};
use crate::crypto::{Hash, KeyPair, Signature, namespace, verify};
use crate::encoding::{DecodeError, Reader, Writer};
use crate::flat_tree;
use crate::merkle::{Node, Tree};
use hyperspace_api::Key;
use std::collections::{HashMap, HashSet};

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("the tree is not signed")]
    Missing,
    /// Its bytes make no sense.
    #[error("the signature cannot be read: {0}")]
    Encoding(#[from] DecodeError),
    /// It is not of this tree, or not by a signer.
    #[error("the signature does not match")]
    Mismatch,
    /// Fewer signers than the quorum.
    #[error("too few signers signed")]
    Quorum,
    /// A signer who does not exist, or who counts twice.
    #[error("the signature names a wrong signer")]
    Signer,
    /// The nodes of a patch do not lead to a tree.
    #[error("the signature's patch is incomplete")]
    Patch,
    /// The core begins otherwise than its manifest says.
    #[error("the tree differs from the manifest's prologue")]
    Prologue,
}

/// What a tree's signature is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// The manifest's hash (version ≥ 1), or the signer's namespace (version 0).
    Bound(Hash),
    /// Nothing more: the key itself is the signer's (compat).
    Compat,
    /// Not even that it is a tree: cores from before Hypercore 10 was released.
    Legacy,
}

/// Signs trees, and checks signatures, for one core.
#[derive(Clone, Debug)]
pub struct Verifier {
    rules: Rules,
}

#[derive(Clone, Debug)]
enum Rules {
    /// The key is the signer.
    Compat { signer: [u8; 32], legacy: bool },
    /// The manifest says.
    Manifest { manifest: Manifest, hash: Hash },
}

impl Verifier {
    /// For the core of that key. Without a manifest it can only be a compat core.
    ///
    /// The manifest has to belong to the key ([`Manifest::belongs_to`]).
    pub fn new(key: &Key, manifest: Option<&Manifest>) -> Self {
        let rules = match manifest {
            Some(manifest) if !manifest.is_compat(key) => {
                Rules::Manifest { manifest: manifest.clone(), hash: *key.as_bytes() }
            }
            _ => Rules::Compat { signer: *key.as_bytes(), legacy: false },
        };
        Self { rules }
    }

    /// For a compat core signed by a Hypercore from before the release of version 10.
    pub fn legacy(key: &Key) -> Self {
        Self { rules: Rules::Compat { signer: *key.as_bytes(), legacy: true } }
    }

    /// Is the key the signer's?
    pub fn is_compat(&self) -> bool {
        matches!(self.rules, Rules::Compat { .. })
    }

    /// The rules, unless the core is compat.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.rules {
            Rules::Manifest { manifest, .. } => Some(manifest),
            Rules::Compat { .. } => None,
        }
    }

    /// The beginning that the manifest fixes, and that is checked: version 0 never is.
    pub fn prologue(&self) -> Option<&Prologue> {
        self.manifest().filter(|manifest| manifest.version > 0)?.prologue.as_ref()
    }

    /// The position of a key pair among the signers, if it may sign.
    pub fn signer(&self, key_pair: &KeyPair) -> Option<u64> {
        let public_key = key_pair.public_key();
        match &self.rules {
            Rules::Compat { signer, .. } => (*signer == public_key).then_some(0),
            Rules::Manifest { manifest, .. } => manifest.signer(&public_key).map(|at| at as u64),
        }
    }

    /// Can this key pair alone sign trees?
    pub fn is_sole_signer(&self, key_pair: &KeyPair) -> bool {
        self.signer(key_pair).is_some() && self.manifest().is_none_or(|manifest| manifest.quorum == 1)
    }

    /// What signer number `signer` signs for a tree.
    pub fn signable(&self, tree: &Tree, signer: u64) -> Option<Vec<u8>> {
        Some(signable(tree, self.context(signer)?))
    }

    fn context(&self, signer: u64) -> Option<Context> {
        match &self.rules {
            Rules::Compat { legacy: false, .. } => Some(Context::Compat),
            Rules::Compat { legacy: true, .. } => Some(Context::Legacy),
            Rules::Manifest { manifest, hash } => {
                let signer = manifest.signers.get(usize::try_from(signer).ok()?)?;
                Some(context(manifest, hash, signer))
            }
        }
    }

    /// Signs a tree, for a core whose quorum is one. Gives the signature as it is stored
    /// and sent.
    pub fn sign(&self, tree: &Tree, key_pair: &KeyPair) -> Result<Vec<u8>, SignatureError> {
        if self.manifest().is_some_and(|manifest| manifest.quorum != 1) {
            return Err(SignatureError::Quorum);
        }
        let proof = self.sign_part(tree, key_pair)?;
        Ok(self.combine(tree.length(), &[Patched { proof, nodes: Vec::new() }]))
    }

    /// One signer's signature of a tree, to be [combined](Self::combine) with others.
    pub fn sign_part(&self, tree: &Tree, key_pair: &KeyPair) -> Result<Proof, SignatureError> {
        let signer = self.signer(key_pair).ok_or(SignatureError::Signer)?;
        let context = self.context(signer).ok_or(SignatureError::Signer)?;
        Ok(Proof { signer, signature: key_pair.sign(&signable(tree, context)), patch: 0 })
    }

    /// Signatures for a core of `length` blocks, as they are stored and sent.
    pub fn combine(&self, length: u64, parts: &[Patched]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4 + 72 * parts.len());
        match self.form() {
            Form::Raw => {
                parts.iter().take(1).for_each(|part| {
                    writer.raw(&part.proof.signature);
                });
            }
            Form::V0 => assemble(parts).encode_v0(&mut writer, length),
            Form::V1 => assemble(parts).encode_v1(&mut writer),
        }
        writer.into_vec()
    }

    fn form(&self) -> Form {
        match self.manifest() {
            None => Form::Raw,
            Some(manifest) if manifest.version > 0 => Form::V1,
            Some(manifest) if !manifest.allow_patch && manifest.signers.len() == 1 => Form::Raw,
            Some(_) => Form::V0,
        }
    }

    /// Is the tree what the core's signers say it is?
    ///
    /// Of a prologue no signature is needed, nor looked at.
    pub fn verify(&self, tree: &Tree, signature: Option<&[u8]>) -> Result<(), SignatureError> {
        let (manifest, hash) = match &self.rules {
            Rules::Compat { signer, legacy } => {
                let context = if *legacy { Context::Legacy } else { Context::Compat };
                return check(tree, context, signer, raw(signature)?);
            }
            Rules::Manifest { manifest, hash } => (manifest, hash),
        };
        if let Some(prologue) = self.prologue()
            && tree.length() <= prologue.length
        {
            return check_prologue(prologue, tree);
        }
        match (self.form(), manifest.signers.first()) {
            (Form::Raw, Some(signer)) => {
                check(tree, context(manifest, hash, signer), &signer.public_key, raw(signature)?)
            }
            (form, _) => {
                let mut reader = Reader::new(signature.ok_or(SignatureError::Missing)?);
                let envelope = match form {
                    Form::V0 => Envelope::decode_v0(&mut reader)?,
                    _ => Envelope::decode_v1(&mut reader)?,
                };
                check_envelope(manifest, hash, tree, &envelope)
            }
        }
    }
}

/// How signatures are stored and sent.
enum Form {
    Raw,
    V0,
    V1,
}

fn context(manifest: &Manifest, hash: &Hash, signer: &Signer) -> Context {
    Context::Bound(if manifest.version == 0 { signer.namespace } else { *hash })
}

fn signable(tree: &Tree, context: Context) -> Vec<u8> {
    let mut writer = Writer::with_capacity(112);
    if context != Context::Legacy {
        writer.raw(&namespace::TREE);
    }
    if let Context::Bound(hash) = context {
        writer.raw(&hash);
    }
    writer.raw(&tree.hash()).uint64(tree.length()).uint64(tree.fork());
    writer.into_vec()
}

fn raw(signature: Option<&[u8]>) -> Result<&Signature, SignatureError> {
    signature.ok_or(SignatureError::Missing)?.try_into().map_err(|_| SignatureError::Mismatch)
}

fn check(
    tree: &Tree,
    context: Context,
    public_key: &[u8; 32],
    signature: &Signature,
) -> Result<(), SignatureError> {
    if verify(public_key, &signable(tree, context), signature) {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

/// Is the tree exactly the prologue?
pub(crate) fn check_prologue(prologue: &Prologue, tree: &Tree) -> Result<(), SignatureError> {
    if tree.length() == prologue.length && tree.hash() == prologue.hash {
        Ok(())
    } else {
        Err(SignatureError::Prologue)
    }
}

fn check_envelope(
    manifest: &Manifest,
    hash: &Hash,
    tree: &Tree,
    envelope: &Envelope,
) -> Result<(), SignatureError> {
    let quorum = usize::try_from(manifest.quorum).map_err(|_| SignatureError::Quorum)?;
    let proofs = envelope.proofs.get(..quorum).filter(|proofs| !proofs.is_empty());
    let nodes: HashMap<u64, &Node> = envelope.nodes.iter().map(|node| (node.index, node)).collect();
    let mut seen = HashSet::new();
    for proof in proofs.ok_or(SignatureError::Quorum)? {
        let at = usize::try_from(proof.signer).map_err(|_| SignatureError::Signer)?;
        let signer = manifest.signers.get(at).filter(|_| seen.insert(at)).ok_or(SignatureError::Signer)?;
        let context = context(manifest, hash, signer);
        let patched;
        let signed = if manifest.allow_patch && proof.patch > 0 {
            patched = extend(tree, proof.patch, &nodes)?;
            &patched
        } else {
            tree
        };
        check(signed, context, &signer.public_key, &proof.signature)?;
    }
    Ok(())
}

/// The tree grown by `patch` blocks, by the nodes of an envelope.
fn extend(tree: &Tree, patch: u64, nodes: &HashMap<u64, &Node>) -> Result<Tree, SignatureError> {
    let mut tree = tree.clone();
    for index in flat_tree::subtrees(tree.length(), tree.length().saturating_add(patch)) {
        tree.push(**nodes.get(&index).ok_or(SignatureError::Patch)?);
    }
    Ok(tree)
}
