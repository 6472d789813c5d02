//! What two versions of a trie do not have in common.
//!
//! Both are walked at once. Where they point to the same block, everything behind it
//! is the same and is not looked at: the cost is that of the difference.

use crate::CONCURRENCY;
use crate::node::Node;
use crate::path::{END, is_boundary};
use crate::snapshot::{Snapshot, belongs};
use crate::table::Slot;
use bytes::Bytes;
use futures::future;
use hyperspace_api::{Core, CoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An entry that is not the same in both versions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiffNode {
    /// Its key.
    pub key: String,
    /// As it is in the version that was asked; `None` if it is not there.
    pub left: Option<Arc<Node>>,
    /// As it is in the other version; `None` if it is not there.
    pub right: Option<Arc<Node>>,
}

impl DiffNode {
    /// Would a reader notice? An entry may have been put again as it was: that is
    /// how its neighbour was deleted.
    pub fn is_change(&self) -> bool {
        fn seen(node: &Option<Arc<Node>>) -> Option<(&str, u64, Option<&Bytes>)> {
            node.as_deref().map(|node| (node.key(), node.flags, node.value.as_ref()))
        }
        seen(&self.left) != seen(&self.right)
    }
}

impl<C: Core> Snapshot<C> {
    /// The entries under `prefix` that differ between this version (left) and `other`
    /// (right), in the original's order: those with a later block, whether or not
    /// they changed (see [`DiffNode::is_change`]), and those that only one of them has.
    ///
    /// Both must be versions of one core; those with pending nodes, of one writer.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn diff(&self, other: &Self, prefix: &str, hidden: bool) -> Result<Vec<DiffNode>, CoreError> {
        let mut diff = self.diff_iter(other, prefix, hidden).await?;
        let mut nodes = Vec::new();
        while let Some(node) = diff.next().await? {
            nodes.push(node);
        }
        Ok(nodes)
    }

    /// As [`diff`](Self::diff), one by one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn diff_iter(&self, other: &Self, prefix: &str, hidden: bool) -> Result<Diff<C>, CoreError> {
        let path = self.trie().path(prefix, hidden)?;
        let start = path.prefix_len();
        let find = |found: Result<Arc<Node>, _>| found.map_or(Side::Nothing, Side::Node);
        let left = find(self.descend(&path, start).await?);
        let right = find(other.descend(&path, start).await?);
        let stack = vec![Step::Pair { from: start, sides: [left, right] }];
        Ok(Diff { snapshots: [self.clone(), other.clone()], stack })
    }
}

/// A comparison under way: see [`Snapshot::diff_iter`].
#[derive(Debug)]
pub struct Diff<C> {
    snapshots: [Snapshot<C>; 2],
    /// What is still to be compared, the next last.
    stack: Vec<Step>,
}

/// A part of the comparison.
#[derive(Debug)]
enum Step {
    /// The entries of both versions with the same first `from` digits, and, as far as
    /// is known before they are fetched, the same names.
    Pair { from: u32, sides: [Side; 2] },
    /// Names that have, or may have, one hash: nodes with `digit` at a boundary.
    Collided { position: u32, digit: u8, sides: [Vec<Side>; 2] },
    /// A difference.
    Emit(DiffNode),
}

/// One version's half of a [`Step::Pair`].
#[derive(Clone, Debug)]
enum Side {
    Nothing,
    /// This node, and those to which it points from the pair's position on.
    Node(Arc<Node>),
    /// What is behind a pointer of this node.
    Fetch(Arc<Node>, Slot),
}

impl Side {
    fn seq(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Node(node) => node.seq,
            Self::Fetch(_, slot) => slot.seq,
        }
    }

    fn node(self) -> Option<Arc<Node>> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }
}

impl<C: Core> Diff<C> {
    /// The next entry that differs.
    ///
    /// # Errors
    /// As [`Snapshot::get`]. After one the comparison has ended.
    pub async fn next(&mut self) -> Result<Option<DiffNode>, CoreError> {
        let next = self.advance().await;
        if next.is_err() {
            self.stack.clear();
        }
        next
    }

    async fn advance(&mut self) -> Result<Option<DiffNode>, CoreError> {
        while let Some(step) = self.stack.pop() {
            match step {
                Step::Emit(node) => return Ok(Some(node)),
                Step::Collided { position, digit, sides } => self.part(position, digit, sides).await?,
                Step::Pair { from, sides } => {
                    if let Some(step) = self.compare(from, sides)? {
                        self.stack.push(step);
                        self.fetch().await?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Replaces a pair by what it comes to. Gives it back if nodes must be fetched first.
    fn compare(&mut self, from: u32, sides: [Side; 2]) -> Result<Option<Step>, CoreError> {
        let [left, right] = sides;
        if left.seq() == right.seq() {
            return Ok(None);
        }
        let sides = [self.resolve(0, left)?, self.resolve(1, right)?];
        if sides.iter().any(|side| matches!(side, Side::Fetch(..))) {
            return Ok(Some(Step::Pair { from, sides }));
        }
        let [left, right] = sides.map(Side::node);
        match (&left, &right) {
            (None, None) => {}
            (Some(a), Some(b)) if name_at(a, from) != name_at(b, from) => {
                // Two names turned out to have one hash.
                let left_first = name_at(a, from) < name_at(b, from);
                let left =
                    Step::Pair { from, sides: [left.map_or(Side::Nothing, Side::Node), Side::Nothing] };
                let right =
                    Step::Pair { from, sides: [Side::Nothing, right.map_or(Side::Nothing, Side::Node)] };
                self.stack.extend(if left_first { [right, left] } else { [left, right] });
            }
            (Some(node), _) | (None, Some(node)) if from >= node.path.len() => {
                let key = node.key().to_owned();
                self.stack.push(Step::Emit(DiffNode { key, left, right }));
            }
            _ => self.open(from, [left, right]),
        }
        Ok(None)
    }

    /// Pushes the parts of two nodes from the first position on where there are any.
    fn open(&mut self, from: u32, nodes: [Option<Arc<Node>>; 2]) {
        let parting = match &nodes {
            [Some(left), Some(right)] => left.path.diverge(&right.path),
            _ => None,
        };
        let position = nodes
            .iter()
            .flatten()
            .filter_map(|node| node.table.range(from..node.path.len()).next())
            .map(|slot| slot.position)
            .chain(parting)
            .min();
        let Some(position) = position else {
            // Nothing but the nodes themselves.
            let end = nodes.iter().flatten().map(|node| node.path.len()).min().unwrap_or(from);
            let sides = nodes.map(|node| node.map_or(Side::Nothing, Side::Node));
            self.stack.push(Step::Pair { from: end, sides });
            return;
        };
        for digit in 0..=END {
            let sides = [0, 1].map(|index| members(nodes[index].as_ref(), position, digit));
            if sides.iter().any(|side| side.len() > 1) {
                self.stack.push(Step::Collided { position, digit, sides });
            } else if sides.iter().any(|side| !side.is_empty()) {
                let sides = sides.map(|side| side.into_iter().next().unwrap_or(Side::Nothing));
                self.stack.push(Step::Pair { from: position + 1, sides });
            }
        }
    }

    /// Pairs the names that have one hash.
    async fn part(&mut self, position: u32, digit: u8, sides: [Vec<Side>; 2]) -> Result<(), CoreError> {
        let mut named: BTreeMap<String, [Side; 2]> = BTreeMap::new();
        for (index, sides) in sides.into_iter().enumerate() {
            for side in sides {
                let node = match side {
                    Side::Fetch(node, slot) => {
                        self.snapshots[index].member(&node, position, digit, slot.seq).await?
                    }
                    side => side.node(),
                };
                let Some(node) = node else { continue };
                let name = node.path.component_at(position).unwrap_or_default().to_owned();
                let pair = named.entry(name).or_insert([Side::Nothing, Side::Nothing]);
                if pair[index].seq() != 0 {
                    return Err(CoreError::Corrupt(format!("block {} is a name's second one", node.seq)));
                }
                pair[index] = Side::Node(node);
            }
        }
        let from = position + 1;
        self.stack.extend(named.into_values().rev().map(|sides| Step::Pair { from, sides }));
        Ok(())
    }

    /// Takes the step behind a pointer, if the node is at hand.
    fn resolve(&self, index: usize, side: Side) -> Result<Side, CoreError> {
        match side {
            Side::Fetch(node, slot) => match self.snapshots[index].node_now(slot.seq)? {
                Some(child) => enter(&node, child, slot),
                None => Ok(Side::Fetch(node, slot)),
            },
            side => Ok(side),
        }
    }

    /// Fetches the nodes that are needed next, and with them those needed soon.
    async fn fetch(&mut self) -> Result<(), CoreError> {
        let mut ahead = Vec::new();
        let mut wanted = 0;
        while wanted < CONCURRENCY
            && let Some(step) = self.stack.pop()
        {
            match step {
                Step::Pair { from, sides } => {
                    let Some(step) = self.compare(from, sides)? else { continue };
                    ahead.push(step);
                    wanted += 1;
                }
                other => ahead.push(other),
            }
        }
        let (left, right) = future::try_join(self.fetch_side(0, &ahead), self.fetch_side(1, &ahead)).await?;
        let mut fetched = [left.into_iter(), right.into_iter()];
        for step in &mut ahead {
            let Step::Pair { sides, .. } = step else { continue };
            for (side, fetched) in sides.iter_mut().zip(&mut fetched) {
                if let Side::Fetch(node, slot) = side
                    && let Some(child) = fetched.next()
                {
                    *side = enter(node, child, *slot)?;
                }
            }
        }
        self.stack.extend(ahead.into_iter().rev());
        Ok(())
    }

    async fn fetch_side(&self, index: usize, steps: &[Step]) -> Result<Vec<Arc<Node>>, CoreError> {
        let seqs = steps.iter().filter_map(|step| match step {
            Step::Pair { sides, .. } if matches!(sides[index], Side::Fetch(..)) => Some(sides[index].seq()),
            _ => None,
        });
        self.snapshots[index].nodes(seqs.collect()).await
    }
}

fn enter(node: &Node, child: Arc<Node>, slot: Slot) -> Result<Side, CoreError> {
    if child.is_reset() {
        return Ok(Side::Nothing);
    }
    belongs(node, &child, slot)?;
    Ok(Side::Node(child))
}

/// The nodes with `digit` at `position`, as `node` has them.
fn members(node: Option<&Arc<Node>>, position: u32, digit: u8) -> Vec<Side> {
    let Some(node) = node else { return Vec::new() };
    let own = (node.path.digit(position) == digit).then(|| Side::Node(node.clone()));
    let others = node.table.at(position).filter(|slot| slot.digit == digit);
    own.into_iter().chain(others.map(|slot| Side::Fetch(node.clone(), slot))).collect()
}

/// The name that ends just before digit `from`, if one does.
fn name_at(node: &Node, from: u32) -> Option<&str> {
    let position = from.checked_sub(1).filter(|position| is_boundary(*position))?;
    node.path.component_at(position)
}
