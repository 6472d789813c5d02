//! Making the node of a delete.
//!
//! No block says that a key is gone. Its nearest neighbour is put again without a
//! pointer to it: the neighbour's path is the deleted one's as far as anything else
//! shares it, so no other pointer to it is left in the new version.
//!
//! Which entry is meant is for its components to say, as in looking it up. (The
//! original also wants the same text: what was put as `dir/` it finds as `dir`, and
//! cannot delete as `dir`.)

use crate::node::{HIDDEN, Node};
use crate::path::{Path, is_boundary};
use crate::put::put;
use crate::snapshot::Snapshot;
use crate::table::{Slot, Table};
use hyperspace_api::{Core, CoreError};

/// The node that `snapshot` gets by deleting `path`; `None` if it is not there.
pub(crate) async fn del<C: Core>(snapshot: &Snapshot<C>, path: &Path) -> Result<Option<Node>, CoreError> {
    let mut neighbours = Vec::new();
    let (mut from, mut next) = (0, snapshot.head().await?);
    let victim = loop {
        let Some(node) = next else { return Ok(None) };
        let parting = path.diverge(&node.path);
        neighbours.extend(
            node.table
                .range(from..parting.unwrap_or(path.len()))
                .filter(|slot| is_boundary(slot.position) || slot.digit != path.digit(slot.position)),
        );
        let Some(at) = parting else { break node };
        next = snapshot.child(&node, path, at).await?;
        neighbours.push(Slot { position: at, digit: node.path.digit(at), seq: node.seq });
        from = at + 1;
    };

    // The nearest are the last; of several at one position, the one in the lowest slot.
    for position in neighbours.chunk_by(|a, b| a.position == b.position).rev() {
        for slot in position {
            if let Some(node) = snapshot.entry(slot.seq).await? {
                let (path, value) = (node.path.clone(), node.value.clone());
                return put(snapshot, path, value, node.flags, Some(victim.seq)).await.map(Some);
            }
        }
    }
    let flags = victim.flags & HIDDEN;
    let path = snapshot.trie().path("", victim.hidden())?;
    Ok(Some(Node { seq: snapshot.version(), value: None, flags, path, table: Table::default() }))
}
