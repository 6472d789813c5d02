//! The network configurations that outlive their session, kept in a core of the
//! server's own: one block a change, the last one of a topic counts.
//!
//! A core needs nothing from the store that clients do not get as well, and is as
//! durable as their data. It is never announced. Once most of its blocks are out of
//! date, what counts is written anew at its end and the rest is cleared.

use super::Presence;
use hyperspace_api::{Core, CoreError, Corestore, DiscoveryKey, GetOptions, OpenTarget};
use hyperspace_schema::messages::NetworkStatus;
use prost::Message;
use std::collections::HashMap;
use tokio::sync::Mutex;

/// Names with this prefix are the server's; clients may not open them.
pub(crate) const RESERVED: &str = "@hyperspace/";
const NAME: &str = "@hyperspace/networks";
/// Out-of-date blocks that are not worth writing the rest anew.
const SLACK: u64 = 1024;

/// The remembered configurations.
pub(crate) struct Remembered<C: Core> {
    log: Mutex<Log<C>>,
}

struct Log<C: Core> {
    core: C,
    /// The first block that has not been cleared.
    start: u64,
    current: HashMap<DiscoveryKey, Presence>,
}

fn encode(key: DiscoveryKey, presence: Presence) -> bytes::Bytes {
    let status = super::status(key, presence, true);
    status.encode_to_vec().into()
}

impl<C: Core> Remembered<C> {
    /// Reads what is remembered. Blocks that make no sense are passed over, with a
    /// warning: to forget a seeded topic is better than not to start.
    pub(crate) async fn load<S: Corestore<Core = C>>(store: &S) -> Result<Self, CoreError> {
        let core = store.open(OpenTarget::Name(NAME.into())).await?;
        let mut current = HashMap::new();
        let mut start = core.length();
        while start > 0 && core.has(start - 1).await? {
            start -= 1;
        }
        for index in start..core.length() {
            let status = match core.get(index, GetOptions::LOCAL).await {
                Ok(block) => NetworkStatus::decode(block).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let entry = status.and_then(|status| {
                let key = DiscoveryKey::try_from(&status.discovery_key[..]).map_err(|e| e.to_string())?;
                let (announce, lookup) = (status.announce == Some(true), status.lookup == Some(true));
                Ok((key, Presence { announce, lookup }))
            });
            match entry {
                Ok((key, presence)) if presence.is_none() => drop(current.remove(&key)),
                Ok((key, presence)) => drop(current.insert(key, presence)),
                Err(error) => {
                    tracing::warn!(index, error, "a remembered network configuration is unreadable")
                }
            }
        }
        Ok(Self { log: Mutex::new(Log { core, start, current }) })
    }

    /// Everything that is remembered.
    pub(crate) async fn all(&self) -> Vec<(DiscoveryKey, Presence)> {
        self.log.lock().await.current.iter().map(|(key, presence)| (*key, *presence)).collect()
    }

    /// Remembers a configuration, or with none of its wishes set, forgets it.
    pub(crate) async fn store(&self, key: DiscoveryKey, presence: Presence) -> Result<(), CoreError> {
        let mut log = self.log.lock().await;
        let known = log.current.get(&key).copied().unwrap_or_default();
        if known == presence {
            return Ok(());
        }
        log.core.append(vec![encode(key, presence)], None).await?;
        if presence.is_none() {
            log.current.remove(&key);
        } else {
            log.current.insert(key, presence);
        }
        log.compact().await
    }
}

impl<C: Core> Log<C> {
    async fn compact(&mut self) -> Result<(), CoreError> {
        let length = self.core.length();
        let counting = self.current.len() as u64;
        if length - self.start <= 2 * counting + SLACK {
            return Ok(());
        }
        let blocks: Vec<_> = self.current.iter().map(|(key, presence)| encode(*key, *presence)).collect();
        self.core.append(blocks, Some(length)).await?;
        self.core.clear(self.start, length).await?;
        self.start = length;
        Ok(())
    }
}
