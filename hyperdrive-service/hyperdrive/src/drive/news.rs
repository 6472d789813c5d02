//! New versions of a drive that others write: shown when they are here, not before.
//!
//! A newer version is of no use as long as the blocks that make it up are elsewhere,
//! and their writer may be gone before they come. So the version that was shown stays,
//! readable as it was, until the newer one's part of the index has come; and a drive
//! that is opened while nobody has its newest version shows the newest that is here.

use super::Inner;
use crate::DriveError;
use crate::mounts::RECORDS;
use crate::trie::hints::{Listing, Query};
use hyperspace_api::{Core, CoreError, Corestore};
use std::time::Duration;

/// Blocks that are fetched before a newer version is shown. Of one that has more (its
/// writer has imported a large tree, say) only the last block, which leads to all others.
const NEWS_MAX: u64 = 4096;

impl<S: Corestore> Inner<S> {
    /// Fetches what makes up version `length`, if it is newer than the one that is shown.
    pub(super) async fn arrive(&self, length: u64) -> Result<(), DriveError> {
        let Some(seen) = self.view_now().map(|view| view.version()).filter(|seen| *seen < length) else {
            return Ok(());
        };
        let last = length - 1;
        let start = if length - seen <= NEWS_MAX { seen } else { last };
        let core = self.metadata();
        let fetched = tokio::time::timeout(self.options.timeout, async {
            // The last block last: what is here counts by it.
            core.download(start, last).await?;
            core.get(last, self.content.get_options()).await
        });
        match fetched.await {
            Ok(fetched) => Ok(fetched.map(drop)?),
            Err(_) => Err(CoreError::Timeout.into()),
        }
    }

    /// The version to show first, of a drive that has `length` blocks: that one, or the
    /// newest that is here while nobody has it.
    pub(super) async fn newest(&self, length: u64) -> Result<u64, DriveError> {
        let core = self.metadata();
        if length <= 1 || core.has(length - 1).await? {
            return Ok(length);
        }
        // Where nothing is here, nothing older can be shown: whoever looks for something waits
        // for just that.
        let Some(held) = self.last_held(1, length - 1).await? else { return Ok(length) };
        self.look_ahead(length - 1);
        let options = self.content.get_options();
        // Something can be shown: nobody should wait for long.
        let patience = options.timeout.map(|timeout| timeout / 4).unwrap_or(Duration::from_secs(4));
        let options = hyperspace_api::GetOptions { timeout: Some(patience), ..options };
        match core.get(length - 1, options).await {
            Ok(_) => Ok(length),
            Err(error) if error.is_transient() => Ok(held + 1),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells peers what is going to be looked for first in the version of which `head` is the
    /// last block: the mounts, and something at the root.
    pub(super) fn look_ahead(&self, head: u64) {
        let query = |key: &str, hidden, list| Query { head, key: key.to_owned(), hidden, list };
        self.trie.hint(query(RECORDS, true, Some(Listing::All)));
        self.trie.hint(query("", false, None));
    }

    /// The last block of `start..end` that is held.
    async fn last_held(&self, start: u64, end: u64) -> Result<Option<u64>, CoreError> {
        let core = self.metadata();
        let (mut start, mut end) = (start, end);
        if start >= end || core.downloaded(start, end).await? == 0 {
            return Ok(None);
        }
        while end - start > 1 {
            let middle = start + (end - start) / 2;
            if core.downloaded(middle, end).await? > 0 {
                start = middle;
            } else {
                end = middle;
            }
        }
        Ok(Some(start))
    }
}
