//! Walking along a range of keys, from its start or from where somebody has got to.

use crate::block::MAX_KEYS;
use crate::hints::{Checkpoint, Range};
use crate::walk::{MAX_DEPTH, Place, Stop, Walk};
use hyperspace_api::Core;
use std::cmp::Ordering;

/// A node on the way, and what of it comes next: 0 is its first child, 1 its first key, 2 its
/// second child, and so on.
struct Frame {
    node: Place,
    next: Option<usize>,
}

impl Frame {
    /// Takes what is next. What is beyond the node's ends is nothing.
    fn take(&mut self, reverse: bool) -> Option<usize> {
        let next = self.next.filter(|next| *next <= self.node.level().keys.len() * 2)?;
        self.next = if reverse { next.checked_sub(1) } else { Some(next + 1) };
        Some(next)
    }
}

/// Walks along all of the range, or as far as it goes.
pub(crate) async fn walk<C: Core>(
    walk: &mut Walk<'_, C>,
    range: &Range,
    checkpoint: &[Checkpoint],
) -> Result<(), Stop> {
    let mut stack =
        if checkpoint.is_empty() { open(walk, range).await? } else { resume(walk, checkpoint).await? };
    let end = if range.reverse { &range.lower } else { &range.upper };
    let mut left = range.limit.unwrap_or(u64::MAX);
    while let Some(frame) = stack.last_mut() {
        walk.step()?;
        let Some(at) = frame.take(range.reverse) else {
            stack.pop();
            continue;
        };
        let node = frame.node.clone();
        if at % 2 == 0 {
            if !node.level().children.is_empty() {
                if stack.len() == MAX_DEPTH {
                    return Err(Stop::Enough);
                }
                let child = walk.child(&node, at / 2).await?;
                stack.push(whole(child, range.reverse));
            }
            continue;
        }
        let key = walk.key(&node, at / 2).await?;
        if let Some(end) = end {
            let beyond = if range.reverse { Ordering::Less } else { Ordering::Greater };
            let order = key.cmp(&end.key);
            if order == beyond || (order.is_eq() && !end.inclusive) {
                return Ok(());
            }
        }
        left -= 1;
        if left == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// All of a node.
fn whole(node: Place, reverse: bool) -> Frame {
    let next = if reverse { node.level().keys.len() * 2 } else { 0 };
    Frame { node, next: Some(next) }
}

/// The way to where the range starts.
async fn open<C: Core>(walk: &mut Walk<'_, C>, range: &Range) -> Result<Vec<Frame>, Stop> {
    let reverse = range.reverse;
    let Some(mut node) = walk.root().await? else { return Ok(Vec::new()) };
    let start = if reverse { &range.upper } else { &range.lower };
    let Some(start) = start else { return Ok(vec![whole(node, reverse)]) };
    let mut stack = Vec::new();
    while stack.len() < MAX_DEPTH {
        walk.step()?;
        match walk.search(&node, &start.key).await? {
            Ok(at) => {
                let next = match (start.inclusive, reverse) {
                    (true, _) => at * 2 + 1,
                    (false, true) => at * 2,
                    (false, false) => at * 2 + 2,
                };
                stack.push(Frame { node, next: Some(next) });
                return Ok(stack);
            }
            Err(at) => {
                let child = match node.level().children.is_empty() {
                    true => None,
                    false => Some(walk.child(&node, at).await?),
                };
                let next = if reverse { (at * 2).checked_sub(1) } else { Some(at * 2 + 1) };
                stack.push(Frame { node, next });
                match child {
                    Some(child) => node = child,
                    None => return Ok(stack),
                }
            }
        }
    }
    Err(Stop::Enough)
}

/// The way that somebody has gone already.
async fn resume<C: Core>(walk: &mut Walk<'_, C>, checkpoint: &[Checkpoint]) -> Result<Vec<Frame>, Stop> {
    let mut stack = Vec::with_capacity(checkpoint.len());
    for &Checkpoint { seq, offset, next } in checkpoint.iter().take(MAX_DEPTH) {
        let node = walk.known(seq, offset).await?;
        // What no node has is passed over.
        let next = usize::try_from(next).unwrap_or(usize::MAX).min(MAX_KEYS * 2 + 1);
        stack.push(Frame { node, next: Some(next) });
    }
    Ok(stack)
}
