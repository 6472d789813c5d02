//! Cores whose signers have signed two different histories of one fork.
//!
//! Whichever of the two is held here, nobody can say that it is the right one. Once a peer has
//! proven that there are two, the core is frozen for good: it takes nothing more from peers or
//! from its owner, and peers are given nothing of it but that proof. What is held stays
//! readable. The proof is kept, so that it can be shown.
//!
//! (npm hypercore 11 closes a frozen core's sessions instead; its files stay readable, too.)

use super::receive::{Received, Refused};
use super::{LocalCore, NotServed};
use crate::merkle::check_conflict;
use crate::merkle::message::DataMessage;
use crate::merkle::proof::{Proof, Request, UpgradeRequest};
use crate::storage::op::Op;
use bytes::Bytes;
use hyperspace_api::{CoreError, CoreEvent};
use std::sync::Arc;

/// Under which name of the user data the proof is kept. Users' names do not begin like that.
const EVIDENCE: &[u8] = b"\0conflict";

impl LocalCore {
    /// Was it proven to have been signed with two different contents?
    pub fn is_frozen(&self) -> bool {
        self.shared.authority().record.frozen
    }

    pub(super) fn check_not_frozen(&self) -> Result<(), CoreError> {
        if self.is_frozen() { Err(CoreError::Frozen) } else { Ok(()) }
    }

    /// What a peer has sent to prove that there is another history of this fork: an upgrade
    /// from zero, and its signature. If it does prove that, the core is frozen from now on.
    ///
    /// # Errors
    /// [`Refused::Invalid`] for what was not signed, or does not hold.
    pub fn judge(&self, received: &Received) -> Result<bool, Refused> {
        self.shared.check_open(&self.engine).map_err(Refused::Storage)?;
        let _changes = self.shared.writer.lock();
        let authority = self.shared.authority();
        if authority.record.frozen {
            return Ok(true);
        }
        let learnt = self.learn_manifest(received.manifest.as_ref(), &authority)?;
        let verifier = learnt.as_ref().map_or(&authority.verifier, |learnt| &learnt.verifier);
        let tree = self.shared.tree(&self.engine).map_err(Refused::Storage)?;
        let proof = &received.proof;
        if !check_conflict(&self.nodes(), &tree, proof, verifier).map_err(Refused::from)? {
            return Ok(false);
        }
        let authority = Arc::new(learnt.as_deref().unwrap_or(&authority).frozen());
        let data = DataMessage { request: 0, proof: proof.clone(), manifest: None };
        let evidence = data.to_parts().concat();
        let core = self.shared.id;
        let ops = vec![
            Op::Core { core, record: authority.record.clone() },
            Op::UserData { core, key: Bytes::from_static(EVIDENCE), value: Some(evidence.into()) },
        ];
        self.shared.commit(&self.engine, ops, None).map_err(|error| Refused::Storage(error.into()))?;
        *self.shared.authority.write() = authority;
        let (fork, length) = (tree.fork(), tree.length());
        tracing::warn!(core = %self.shared.key, fork, length, "signed with two different contents: frozen");
        self.shared.emit(|| CoreEvent::Frozen);
        self.shared.changed.notify_waiters();
        Ok(true)
    }

    /// The proof by which it was frozen: the history that is not ours, as it was signed.
    ///
    /// # Errors
    /// As for any reading.
    pub fn evidence(&self) -> Result<Option<Proof>, CoreError> {
        let Some(bytes) = self.read_user_data(EVIDENCE)? else { return Ok(None) };
        let damaged =
            |error| CoreError::Corrupt(format!("the evidence against core {}: {error}", self.shared.key));
        Ok(Some(DataMessage::decode(&bytes).map_err(damaged)?.proof))
    }

    /// Our side of it: that the first blocks, `length` at most, were signed as we have them.
    pub fn testimony(&self, length: u64) -> Result<Proof, NotServed> {
        let tree = self.present_tree().map_err(|_| NotServed::NotAvailable)?;
        let (fork, _, signature) = self.signed_head();
        if fork != tree.fork() {
            return Err(NotServed::NotAvailable);
        }
        let upgrade = Some(UpgradeRequest { start: 0, length: length.min(tree.length()) });
        let served = super::Served { tree, signature };
        self.prove(&served, &Request { upgrade, ..Request::default() })
    }
}

/// Whether a name of user data is one of ours.
pub(super) fn is_reserved(key: &[u8]) -> bool {
    key.first() == Some(&0)
}
