//! Not on the disk yet: placeholder while the files are being written.
use super::catalog::Catalog;
use super::engine::{Lsn, Placed, Stamp, StoredCore, Tailed};
use super::error::StoreError;
use super::extent::Extent;
use super::nodes::{NodePage, PageKey};
use super::op::{CoreId, Op};
use super::{Stats, StoreOptions};
use bytes::Bytes;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
pub enum Disk {}
impl Disk {
    pub fn open(_: &Path, _: &StoreOptions, _: Arc<Mutex<Catalog>>) -> Result<(Self, u64), StoreError> {
        Err(StoreError::Closed("no disk".into()))
    }
    pub async fn admit(&self) {}
    pub fn place(&self, _: u64, _: &[Bytes]) -> Result<Placed<'_>, StoreError> {
        match *self {}
    }
    pub fn commit(
        &self,
        _: Vec<Op>,
        _: Option<(CoreId, Arc<dyn Tailed>)>,
        _: impl FnOnce(&[Op], Stamp),
    ) -> Result<Stamp, StoreError> {
        match *self {}
    }
    pub fn flushed(&self) -> Lsn {
        match *self {}
    }
    pub async fn flush(&self) -> Result<(), StoreError> {
        match *self {}
    }
    pub async fn settle(&self) -> Result<(), StoreError> {
        match *self {}
    }
    pub async fn close(&self) -> Result<(), StoreError> {
        match *self {}
    }
    pub fn db(&self) -> &Db {
        match *self {}
    }
    pub fn segments(&self) -> &super::segment::Segments {
        match *self {}
    }
    pub fn stats(&self) -> Result<Stats, StoreError> {
        match *self {}
    }
}
pub enum Db {}
impl Db {
    pub fn alias(&self, _: &[u8; 32], _: &Bytes) -> Result<Option<CoreId>, StoreError> {
        match *self {}
    }
    pub fn core_of(&self, _: &[u8; 32]) -> Result<Option<CoreId>, StoreError> {
        match *self {}
    }
    pub fn setting(&self, _: &Bytes) -> Result<Option<Bytes>, StoreError> {
        match *self {}
    }
    pub fn cores(&self) -> Result<Vec<CoreId>, StoreError> {
        match *self {}
    }
    pub fn load_core(&self, _: CoreId) -> Result<Option<StoredCore>, StoreError> {
        match *self {}
    }
    pub fn extent(&self, _: CoreId, _: u64) -> Result<Option<Extent>, StoreError> {
        match *self {}
    }
    pub fn page(&self, _: CoreId, _: PageKey) -> Result<Option<NodePage>, StoreError> {
        match *self {}
    }
    pub fn user_data(&self, _: CoreId, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match *self {}
    }
}
