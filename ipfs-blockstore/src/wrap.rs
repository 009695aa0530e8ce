//! Stores over stores: each adds one thing, and passes on the rest, batches as batches.

mod cached;
mod metered;
mod overlay;
mod read_only;
mod verifying;

pub use self::{
    cached::{CacheStats, CachedStore},
    metered::{Histogram, MeteredStore, Metrics, Operation},
    overlay::OverlayStore,
    read_only::ReadOnlyStore,
    verifying::VerifyingStore,
};

/// The methods of [`Blockstore`](ipfs_traits::Blockstore) that a wrapper passes on as they are, in
/// the form that `async_trait` gives them: it does not see into a macro, and this saves a box.
macro_rules! pass_on {
    ($($name:ident),*) => { $(pass_on!(@ $name);)* };
    (@ get_many) => { pass_on!(@ get_many(cids: Cid) -> Vec<Result<Option<Block>>>); };
    (@ sizes) => { pass_on!(@ sizes(cids: Cid) -> Result<Vec<Option<u64>>>); };
    (@ delete_many) => { pass_on!(@ delete_many(cids: Cid) -> Result<()>); };
    (@ flush) => { pass_on!(@ flush() -> Result<()>); };
    (@ usage) => { pass_on!(@ usage() -> Result<Option<Usage>>); };
    (@ compact) => { pass_on!(@ compact() -> Result<()>); };
    (@ close) => { pass_on!(@ close() -> Result<()>); };
    (@ list) => {
        fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
            self.inner.list()
        }
    };
    (@ shared) => {
        fn shared(&self) -> bool {
            self.inner.shared()
        }
    };
    (@ $name:ident() -> $answer:ty) => {
        fn $name<'a, 'b>(&'a self) -> futures_core::future::BoxFuture<'b, $answer>
        where
            'a: 'b,
            Self: 'b,
        {
            self.inner.$name()
        }
    };
    (@ $name:ident($argument:ident: $of:ty) -> $answer:ty) => {
        fn $name<'a, 'c, 'b>(
            &'a self,
            $argument: &'c [$of],
        ) -> futures_core::future::BoxFuture<'b, $answer>
        where
            'a: 'b,
            'c: 'b,
            Self: 'b,
        {
            self.inner.$name($argument)
        }
    };
}
pub(crate) use pass_on;
