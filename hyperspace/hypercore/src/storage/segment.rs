//! Placeholder.
use super::StoreError;
use bytes::Bytes;
/// x
pub type SegmentId = u32;
pub enum Segments {}
impl Segments {
    pub fn read(&self, _: SegmentId, _: u64, _: usize, _: bool) -> Result<Option<Bytes>, StoreError> {
        match *self {}
    }
}
pub struct Reservation<'a>(std::marker::PhantomData<&'a ()>);
