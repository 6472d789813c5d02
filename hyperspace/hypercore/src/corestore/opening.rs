//! Opening cores: by name, by key, by what makes them.

use super::registry::Registry;
use super::{Corestore, MAX_NAME, random};
use crate::core::LocalCore;
use crate::core::shared::{Authority, CoreShared};
use crate::crypto::KeyPair;
use crate::manifest::Manifest;
use crate::storage::bitfield::Bitfield;
use crate::storage::op::{CoreId, CoreRecord, Head, Op, Secret};
use crate::storage::tail::Tail;
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, DiscoveryKey, Key, OpenTarget};
use std::sync::{Arc, Weak};

/// The name of the [default core](Corestore::default_core).
const DEFAULT: &str = "default";

impl Corestore {
    /// Opens a core. The same target gives the same core.
    pub fn open_now(&self, target: OpenTarget) -> Result<LocalCore, CoreError> {
        match target {
            OpenTarget::Key(key) => self.open_key(key),
            OpenTarget::Name(name) => self.open_name(name),
            OpenTarget::New => self.open_new(),
        }
    }

    /// The writable core of a name in this namespace; made if need be.
    pub fn open_name(&self, name: impl AsRef<[u8]>) -> Result<LocalCore, CoreError> {
        let name = Bytes::copy_from_slice(name.as_ref());
        if name.len() > MAX_NAME {
            return Err(CoreError::Invalid(format!("a name has at most {MAX_NAME} bytes")));
        }
        let mut registry = self.inner.registry.lock();
        if let Some(id) = self.engine().alias(&self.namespace.0, &name)?
            && let Some(core) = self.find(&mut registry, id)?
            // A damaged row might lead elsewhere. The way by the key does not depend on it.
            && core.shared().authority().is_named(&self.namespace.0, &name)
        {
            return Ok(core);
        }
        let key_pair = self.namespace.key_pair(&self.inner.primary_key, &name);
        let manifest = Manifest::single_signer(key_pair.public_key());
        let record = CoreRecord {
            key: *manifest.key().as_bytes(),
            manifest: Some(manifest.to_vec().into()),
            secret: Secret::Derived { namespace: self.namespace.0, name: name.clone() },
            frozen: false,
        };
        let alias = Some((self.namespace.0, name));
        self.open_or_make(&mut registry, record, alias, Some(key_pair))
    }

    /// A new writable core, under a random name.
    pub fn open_new(&self) -> Result<LocalCore, CoreError> {
        let name: [u8; 32] = random()?;
        self.open_name(name)
    }

    /// The store's default core: the one named `default` in this namespace.
    pub fn default_core(&self) -> Result<LocalCore, CoreError> {
        self.open_name(DEFAULT)
    }

    /// The core of a key, ours or somebody else's.
    pub fn open_key(&self, key: Key) -> Result<LocalCore, CoreError> {
        let record = CoreRecord { key: *key.as_bytes(), manifest: None, secret: Secret::None, frozen: false };
        self.open_or_make(&mut self.inner.registry.lock(), record, None, None)
    }

    /// The core of a discovery key, if the store has it.
    pub fn open_discovery_key(&self, discovery_key: &DiscoveryKey) -> Result<Option<LocalCore>, CoreError> {
        let mut registry = self.inner.registry.lock();
        match self.engine().core_of(discovery_key.as_bytes())? {
            Some(id) => self.find(&mut registry, id),
            None => Ok(None),
        }
    }

    /// The core that a key pair makes: manifest version 1, one signer.
    pub fn open_key_pair(&self, key_pair: &KeyPair) -> Result<LocalCore, CoreError> {
        self.open_manifest(&Manifest::single_signer(key_pair.public_key()), Some(key_pair))
    }

    /// The core of a manifest; writable if `key_pair` alone may sign for it.
    pub fn open_manifest(
        &self,
        manifest: &Manifest,
        key_pair: Option<&KeyPair>,
    ) -> Result<LocalCore, CoreError> {
        manifest.validate().map_err(|error| CoreError::Invalid(error.to_string()))?;
        let record = CoreRecord {
            key: *manifest.key().as_bytes(),
            manifest: Some(manifest.to_vec().into()),
            secret: key_pair.map_or(Secret::None, |pair| Secret::Seed(*pair.seed())),
            frozen: false,
        };
        self.open_or_make(&mut self.inner.registry.lock(), record, None, key_pair.cloned())
    }

    /// The compat core of a key pair: its key is the public key. For cores made by programs
    /// of before 2024.
    pub fn open_compat(&self, key_pair: &KeyPair) -> Result<LocalCore, CoreError> {
        let record = CoreRecord {
            key: key_pair.public_key(),
            manifest: None,
            secret: Secret::Seed(*key_pair.seed()),
            frozen: false,
        };
        self.open_or_make(&mut self.inner.registry.lock(), record, None, Some(key_pair.clone()))
    }

    /// The core of a number.
    pub(crate) fn open_id(&self, id: CoreId) -> Result<Option<LocalCore>, CoreError> {
        self.find(&mut self.inner.registry.lock(), id)
    }

    /// Opens a core that the store has.
    fn find(&self, registry: &mut Registry, id: CoreId) -> Result<Option<LocalCore>, CoreError> {
        if self.engine().is_closed() {
            return Err(CoreError::Closed);
        }
        let shared = match registry.cores.get(&id).and_then(Weak::upgrade) {
            Some(shared) => shared,
            None => {
                let Some(stored) = self.engine().load_core(id)? else { return Ok(None) };
                let authority = Authority::new(stored.record, &self.inner.primary_key, None)?;
                let tail = Tail::stored(stored.head, stored.held);
                let shared = CoreShared::new(id, authority, tail, self.engine(), self.inner.network.clone());
                registry.cores.insert(id, Arc::downgrade(&shared));
                shared
            }
        };
        registry.keep(&shared, self.inner.idle_limit);
        Ok(Some(LocalCore::new(shared, self.inner.engine.clone())))
    }

    /// Opens the core of that key. If the store has it, what the record says more than the
    /// one that is stored is added to that; if not, it is made.
    fn open_or_make(
        &self,
        registry: &mut Registry,
        record: CoreRecord,
        alias: Option<([u8; 32], Bytes)>,
        key_pair: Option<KeyPair>,
    ) -> Result<LocalCore, CoreError> {
        let discovery_key = Key::from(record.key).discovery_key();
        if let Some(id) = self.engine().core_of(discovery_key.as_bytes())?
            && let Some(core) = self.find(registry, id)?
        {
            if core.discovery_key() != discovery_key {
                return Err(CoreError::Corrupt("the table of cores leads to another core".into()));
            }
            self.learn(&core, record, alias)?;
            return Ok(core);
        }
        let id = self.engine().new_core_id()?;
        let authority = Authority::new(record.clone(), &self.inner.primary_key, key_pair)?;
        let tail = Tail::stored(Head::default(), Bitfield::default());
        let shared = CoreShared::new(id, authority, tail, self.engine(), self.inner.network.clone());
        let mut ops = vec![Op::Core { core: id, record }];
        ops.extend(alias.map(|(namespace, name)| Op::Alias { namespace, name, core: id }));
        shared.commit(self.engine(), ops, None)?;
        registry.cores.insert(id, Arc::downgrade(&shared));
        registry.keep(&shared, self.inner.idle_limit);
        Ok(LocalCore::new(shared, self.inner.engine.clone()))
    }

    /// Adds to a core's record what it lacks.
    fn learn(
        &self,
        core: &LocalCore,
        new: CoreRecord,
        alias: Option<([u8; 32], Bytes)>,
    ) -> Result<(), CoreError> {
        let shared = core.shared();
        let _changes = shared.writer.lock();
        let old = shared.authority();
        let mut record = old.record.clone();
        if record.manifest.is_none() {
            record.manifest = new.manifest;
        }
        if record.secret == Secret::None {
            record.secret = new.secret;
        }
        let mut ops = Vec::new();
        if record != old.record {
            let authority = Authority::new(record.clone(), &self.inner.primary_key, None)?;
            ops.push(Op::Core { core: shared.id, record });
            *shared.authority.write() = Arc::new(authority);
        }
        ops.extend(alias.map(|(namespace, name)| Op::Alias { namespace, name, core: shared.id }));
        if !ops.is_empty() {
            shared.commit(self.engine(), ops, None)?;
        }
        Ok(())
    }
}

impl hyperspace_api::Corestore for Corestore {
    type Core = LocalCore;

    async fn open(&self, target: OpenTarget) -> Result<LocalCore, CoreError> {
        self.engine().admit().await;
        self.open_now(target)
    }
}
