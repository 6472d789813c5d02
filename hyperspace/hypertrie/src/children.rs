//! What a directory holds.

use crate::ListOptions;
use crate::node::Node;
use crate::path::{DIGITS, END};
use crate::snapshot::{Snapshot, belongs};
use crate::table::Slot;
use hyperspace_api::{Core, CoreError};
use std::sync::Arc;

/// A name directly below a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Child {
    /// The name: one component.
    pub name: String,
    /// Its entry. `None` if it is only there because of what is below it.
    pub node: Option<Arc<Node>>,
    /// Are there entries below it?
    pub has_below: bool,
}

impl<C: Core> Snapshot<C> {
    /// The names directly below `key`, sorted, each with its own entry (which
    /// [`list`](Self::list) without `recursive` does not promise).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn children(&self, key: &str, hidden: bool) -> Result<Vec<Child>, CoreError> {
        let path = self.trie().path(key, hidden)?;
        let depth = path.depth();
        let end = path.prefix_len() + DIGITS;
        let options = ListOptions { recursive: false, gt: true, hidden, ..ListOptions::default() };
        let found = self.list(key, options).await?;

        // A deeper entry that stands for its name points to that name's own entry.
        let own = |node: &Node| (node.path.depth() > depth + 1).then(|| node.table.to(end, END).next())?;
        let mut entries = self.nodes(found.iter().filter_map(|node| own(node)).collect()).await?.into_iter();
        let mut children = Vec::with_capacity(found.len());
        for node in found {
            let Some(name) = node.path.component(depth).map(str::to_owned) else { continue };
            children.push(if node.path.depth() == depth + 1 {
                let has_below = node.table.at(end).next().is_some();
                Child { name, node: Some(node), has_below }
            } else {
                let entry = own(&node).and_then(|_| entries.next()).filter(|entry| !entry.is_reset());
                if let Some(entry) = &entry {
                    belongs(&node, entry, Slot { position: end, digit: END, seq: entry.seq })?;
                }
                Child { name, node: entry, has_below: true }
            });
        }
        children.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(children)
    }
}
