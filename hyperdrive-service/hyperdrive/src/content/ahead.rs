//! Reading ahead from peers: of a file that is read from front to back, the next
//! megabytes are on their way here as one download, at whatever pace peers can give.
//!
//! Asking for single blocks would do for what is held here; over a long line it would
//! leave the line idle most of the time.

use hyperspace_api::Core;
use tokio_util::task::AbortOnDropHandle;

/// Bytes that are fetched ahead at first, and at most: what a fast line to the other
/// side of the world holds.
const WINDOW: (u64, u64) = (4 << 20, 32 << 20);

/// What of one file is being fetched ahead.
pub(super) struct Ahead {
    /// Every block before this one was asked for, if reading went on to it.
    until: u64,
    /// Bytes to be ahead.
    window: u64,
    /// Downloads that are not over. Dropped, they are given up.
    running: Vec<AbortOnDropHandle<()>>,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { until: 0, window: WINDOW.0, running: Vec::new() }
    }
}

impl Ahead {
    /// Block `index` is read, as the one before it was; blocks have about `size` bytes,
    /// and the file ends at block `end`.
    pub(super) fn reads_on<C: Core>(&mut self, core: &C, index: u64, size: u64, end: u64) {
        let blocks = (self.window / size.max(1)).max(2);
        if self.until.saturating_sub(index) > blocks / 2 {
            return;
        }
        let start = self.until.max(index);
        let stop = index.saturating_add(blocks).min(end);
        if start >= stop {
            return;
        }
        self.until = stop;
        self.window = (self.window * 2).min(WINDOW.1);
        self.running.retain(|download| !download.is_finished());
        let core = core.clone();
        let download = tokio::spawn(async move {
            // Whoever reads these blocks asks for each, and hears what is wrong with it.
            if let Err(error) = core.download(start, stop).await {
                tracing::debug!(%error, start, stop, "not fetched ahead");
            }
        });
        self.running.push(AbortOnDropHandle::new(download));
    }

    /// Reading goes on elsewhere.
    pub(super) fn jumped(&mut self) {
        *self = Self::default();
    }
}
