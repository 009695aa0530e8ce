//! Which keys are to be announced.

use std::{fmt, sync::Arc};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{Blockstore, Multihash, Result};

/// What a [`Provider`](super::Provider) keeps announced.
///
/// It is listed once in each interval. The keys come in any order and in pages of any length; one
/// that comes twice is announced once. An error is an item: the listing is then tried again later,
/// and until one has ended without an error nothing that was known is forgotten.
///
/// ```
/// use futures::{StreamExt, stream};
/// use ipfs_routing::provide::{Source, from_fn};
/// use ipfs_traits::Multihash;
///
/// let mine = vec![Multihash::wrap(0x12, &[7; 32]).unwrap()];
/// let source = from_fn(move || stream::iter([Ok(mine.clone())]).boxed());
/// assert_eq!(futures::executor::block_on(source.keys().count()), 1);
/// ```
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// All keys.
    fn keys(&self) -> BoxStream<'static, Result<Vec<Multihash>>>;
}

/// Every block of a store.
#[derive(Clone, Debug)]
pub struct All(pub Arc<dyn Blockstore>);

impl Source for All {
    fn keys(&self) -> BoxStream<'static, Result<Vec<Multihash>>> {
        let hashes = |page: Vec<(Multihash, u64)>| page.into_iter().map(|(hash, _)| hash).collect();
        self.0.list().map_ok(hashes).boxed()
    }
}

/// No keys: only what is handed to [`Provider::announce`](super::Provider::announce) goes out, until
/// the interval ends.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Source for Nothing {
    fn keys(&self) -> BoxStream<'static, Result<Vec<Multihash>>> {
        stream::empty().boxed()
    }
}

/// What a function lists.
pub fn from_fn<F>(list: F) -> impl Source
where
    F: Fn() -> BoxStream<'static, Result<Vec<Multihash>>> + Send + Sync + 'static,
{
    FromFn(list)
}

struct FromFn<F>(F);

impl<F> Source for FromFn<F>
where
    F: Fn() -> BoxStream<'static, Result<Vec<Multihash>>> + Send + Sync + 'static,
{
    fn keys(&self) -> BoxStream<'static, Result<Vec<Multihash>>> {
        (self.0)()
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn")
    }
}
