//! Drives that others write: their peers are looked for, from when one is opened until the
//! connection with the server ends, and are told what is looked for in it.

use crate::hints;
use hyperdrive::Others;
use hyperspace_api::{Core, DiscoveryKey};
use hyperspace_client::{NetworkConfig, RemoteHypercore, RemoteNetworker};
use std::sync::Arc;

/// With the peers that `network` finds.
pub(crate) fn by(network: RemoteNetworker) -> Others<RemoteHypercore> {
    Others {
        hints: Arc::new(hints::of_core),
        find: Arc::new(move |core| {
            let (network, topic) = (network.clone(), core.discovery_key());
            Box::pin(async move { find(&network, topic).await })
        }),
    }
}

/// Has peers of a topic looked for, unless the user has configured it otherwise.
async fn find(network: &RemoteNetworker, topic: DiscoveryKey) {
    let config = NetworkConfig {
        announce: Some(false),
        lookup: Some(true),
        remember: Some(false),
        overwrite: false,
        ..NetworkConfig::new(topic)
    };
    if let Err(error) = network.configure(config).await {
        tracing::debug!("peers of {topic} are not looked for: {error}");
    }
}
