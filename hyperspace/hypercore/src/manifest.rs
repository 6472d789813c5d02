//! Manifests: who may sign a core, and under which rules.
//!
//! A core's key is the hash of its manifest, so that the key alone fixes the signers. The
//! exception is a *compat* core, whose key is its one signer's public key.
//!
//! [`Manifest`] is the document itself; [`Verifier`] signs and checks trees by it;
//! [`assemble`] puts the signatures of several signers together.
//!
//! ```
//! use hypercore::crypto::KeyPair;
//! use hypercore::manifest::{Manifest, Verifier};
//! use hypercore::merkle::Tree;
//!
//! let pair = KeyPair::from_seed(&[1; 32]);
//! let manifest = Manifest::single_signer(pair.public_key());
//! let verifier = Verifier::new(&manifest.key(), Some(&manifest));
//!
//! let tree = Tree::new(0).append(&["a block"]).tree;
//! let signature = verifier.sign(&tree, &pair).unwrap();
//! assert_eq!(verifier.verify(&tree, Some(&signature)), Ok(()));
//! assert!(verifier.verify(&tree.with_fork(1), Some(&signature)).is_err());
//! ```

mod codec;
mod envelope;
mod verifier;

pub use envelope::{Envelope, MAX_PROOFS, Patched, Proof, assemble, signed_length};
pub(crate) use verifier::check_prologue;
pub use verifier::{SignatureError, Verifier};

use crate::crypto::{Hash, PublicKey, hash, namespace};
use crate::encoding::{DecodeError, Reader, Writer};
use hyperspace_api::Key;

/// The most signers a manifest may have; more make no sense, and each costs memory.
pub const MAX_SIGNERS: usize = 4096;

/// The newest version that is understood.
pub const MAX_VERSION: u64 = 3;

/// Who may sign a core, and under which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The version of the format, 0 to 3. Decides how it is encoded, and what is signed.
    pub version: u64,
    /// May signers at different lengths be combined?
    pub allow_patch: bool,
    /// How many signers have to sign.
    pub quorum: u64,
    /// Those who may.
    pub signers: Vec<Signer>,
    /// The content that the core starts with, and needs no signature for.
    pub prologue: Option<Prologue>,
    /// Cores that belong to this one.
    pub linked: Option<Vec<Key>>,
    /// Whatever the core's maker wanted to fix by the key.
    pub user_data: Option<Vec<u8>>,
}

/// One who may sign, always with Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signer {
    /// What keeps this use of the key apart from others. Signed only in version 0.
    pub namespace: Hash,
    /// The key.
    pub public_key: PublicKey,
}

/// The beginning of a core, fixed by its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prologue {
    /// The tree hash at that length.
    pub hash: Hash,
    /// Blocks.
    pub length: u64,
}

/// Options that make no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More signers are to sign than there are.
    #[error("a quorum of {quorum} cannot be met by {signers} signers")]
    Quorum {
        /// The quorum.
        quorum: u64,
        /// How many signers there are.
        signers: usize,
    },
    /// A version that is not known.
    #[error("manifest version {0} is not supported")]
    Version(u64),
    /// Linked cores and user data came with version 2, prologues of some length with 1.
    #[error("a manifest of version {0} cannot hold all of this")]
    TooOld(u64),
    /// More than [`MAX_SIGNERS`].
    #[error("too many signers")]
    TooManySigners,
}

impl Signer {
    /// A signer in the default namespace.
    pub fn new(public_key: PublicKey) -> Self {
        Self { namespace: namespace::DEFAULT_NAMESPACE, public_key }
    }
}

impl Manifest {
    /// What a new core has if nothing else is asked for: version 1, one signer, in the
    /// default namespace. This is corestore 7's manifest too.
    pub fn single_signer(public_key: PublicKey) -> Self {
        Self { version: 1, quorum: 1, signers: vec![Signer::new(public_key)], ..Self::unsigned() }
    }

    /// Several signers, of whom `quorum` have to sign; `None` is more than half.
    pub fn multi_signer(public_keys: &[PublicKey], quorum: Option<u64>) -> Result<Self, ManifestError> {
        let manifest = Self {
            version: 1,
            quorum: quorum.unwrap_or(public_keys.len() as u64 / 2 + u64::from(!public_keys.is_empty())),
            signers: public_keys.iter().copied().map(Signer::new).collect(),
            ..Self::unsigned()
        };
        manifest.validate()?;
        Ok(manifest)
    }

    /// A core that nobody signs: it is `prologue`, and never more.
    pub fn fixed(prologue: Prologue) -> Self {
        Self { prologue: Some(prologue), ..Self::unsigned() }
    }

    fn unsigned() -> Self {
        Self {
            version: 1,
            allow_patch: false,
            quorum: 0,
            signers: Vec::new(),
            prologue: None,
            linked: None,
            user_data: None,
        }
    }

    /// Can such a manifest be made? (One that came from elsewhere need not pass.)
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.version > MAX_VERSION {
            return Err(ManifestError::Version(self.version));
        }
        if self.signers.len() > MAX_SIGNERS {
            return Err(ManifestError::TooManySigners);
        }
        if self.quorum > self.signers.len() as u64 {
            return Err(ManifestError::Quorum { quorum: self.quorum, signers: self.signers.len() });
        }
        let needs = match self {
            Self { linked: Some(_), .. } | Self { user_data: Some(_), .. } => 2,
            Self { prologue: Some(prologue), signers, .. } if prologue.length > 0 || !signers.is_empty() => 1,
            _ => 0,
        };
        if self.version < needs { Err(ManifestError::TooOld(self.version)) } else { Ok(()) }
    }

    /// The core's key, unless it is a compat core.
    pub fn key(&self) -> Key {
        Key::from(hash(&[&namespace::MANIFEST, &self.to_vec()]))
    }

    /// Is `key` a compat core of this manifest: the public key of its only signer?
    pub fn is_compat(&self, key: &Key) -> bool {
        matches!(self.signers.as_slice(), [signer] if &signer.public_key == key.as_bytes())
    }

    /// Is this the manifest of `key`, as its hash or as a compat core?
    pub fn belongs_to(&self, key: &Key) -> bool {
        self.is_compat(key) || &self.key() == key
    }

    /// The position of a signer.
    pub fn signer(&self, public_key: &PublicKey) -> Option<usize> {
        self.signers.iter().position(|signer| &signer.public_key == public_key)
    }

    /// The encoded manifest.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(16 + 65 * self.signers.len());
        self.encode(&mut writer);
        writer.into_vec()
    }

    /// Writes the manifest; it carries no length of its own.
    pub fn encode(&self, writer: &mut Writer) {
        codec::encode(self, writer);
    }

    /// Reads a manifest of any version.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        codec::decode(reader)
    }

    /// Reads a manifest from the start of `bytes`.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes))
    }
}
