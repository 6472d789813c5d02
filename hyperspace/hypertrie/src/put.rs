//! Making the node of a put: the newest node of a trie points to all the others.

use crate::node::Node;
use crate::path::{Path, is_boundary};
use crate::snapshot::Snapshot;
use crate::table::{Builder, Full, Slot, Table};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError};

/// The node that `snapshot` gets by storing `value` under `path`. `without` is a node
/// that is to be left out: the entry that is deleted by putting its neighbour again.
pub(crate) async fn put<C: Core>(
    snapshot: &Snapshot<C>,
    path: Path,
    value: Option<Bytes>,
    flags: u64,
    without: Option<u64>,
) -> Result<Node, CoreError> {
    let table = table(snapshot, &path, without).await?;
    Ok(Node { seq: snapshot.version(), value, flags, path, table })
}

/// Walks from the head to where `path` belongs. As far as a node shares the path, its
/// pointers are the new node's too; where they part, it becomes one of them, and the
/// walk goes on with the node that stands for the path's side.
async fn table<C: Core>(
    snapshot: &Snapshot<C>,
    path: &Path,
    without: Option<u64>,
) -> Result<Table, CoreError> {
    let mut table = Builder::default();
    let mut push = |slot: Slot| if Some(slot.seq) == without { Ok(()) } else { table.push(slot) };
    let full = |Full| CoreError::Invalid(format!("Too many names with the hash of one in {:?}", path.key()));

    let (mut from, mut next) = (0, snapshot.head().await?);
    while let Some(node) = next {
        let parting = path.diverge(&node.path);
        let to = parting.unwrap_or(path.len());
        for slot in node.table.range(from..to) {
            // Where digits are shared, only a boundary has pointers to the same digit.
            if is_boundary(slot.position) || slot.digit != path.digit(slot.position) {
                push(slot).map_err(full)?;
            }
        }
        let Some(at) = parting else { break };

        push(Slot { position: at, digit: node.path.digit(at), seq: node.seq }).map_err(full)?;
        next = None;
        for slot in node.table.at(at) {
            if slot.digit != path.digit(at) {
                push(slot).map_err(full)?;
                continue;
            }
            let Some(member) = snapshot.member(&node, at, slot.digit, slot.seq).await? else {
                continue;
            };
            if is_boundary(at) && member.path.component_at(at) != path.component_at(at) {
                push(slot).map_err(full)?;
            } else {
                next = Some(member);
            }
        }
        from = at + 1;
    }
    Ok(table.finish())
}
