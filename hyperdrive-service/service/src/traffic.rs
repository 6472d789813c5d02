//! What is exchanged with peers, and how fast.

use crate::ServiceError;
use hyperspace_api::{Core, CoreInfo};
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// How long a rate is measured.
const MEASURED: Duration = Duration::from_millis(500);

/// What was exchanged with peers about a core since it is replicated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Bytes that went to peers.
    pub uploaded_bytes: u64,
    /// Bytes that came from them.
    pub received_bytes: u64,
    /// Bytes a second that go to peers now.
    pub upload_rate: u64,
    /// Bytes a second that come from them now.
    pub download_rate: u64,
}

impl Traffic {
    /// Of `core`, of which `first` was told just now. Measures for half a second, unless
    /// there are no peers: then nothing moves.
    pub(crate) async fn of(core: &impl Core, first: CoreInfo) -> Result<Self, ServiceError> {
        let mut traffic = Self {
            uploaded_bytes: first.uploaded.bytes,
            received_bytes: first.downloaded.bytes,
            ..Self::default()
        };
        if core.peers().is_empty() {
            return Ok(traffic);
        }
        let began = Instant::now();
        tokio::time::sleep(MEASURED).await;
        let second = core.info().await?;
        let rate = |now: u64, then: u64| {
            // Once the last peer has gone, counting begins anew.
            (now.saturating_sub(then) as f64 / began.elapsed().as_secs_f64()) as u64
        };
        traffic.upload_rate = rate(second.uploaded.bytes, first.uploaded.bytes);
        traffic.download_rate = rate(second.downloaded.bytes, first.downloaded.bytes);
        Ok(traffic)
    }

    /// Of two cores together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            uploaded_bytes: self.uploaded_bytes.saturating_add(other.uploaded_bytes),
            received_bytes: self.received_bytes.saturating_add(other.received_bytes),
            upload_rate: self.upload_rate.saturating_add(other.upload_rate),
            download_rate: self.download_rate.saturating_add(other.download_rate),
        }
    }
}
