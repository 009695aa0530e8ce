//! Small durable state: pins, the MFS root, sequence numbers, queues.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;

use crate::{Error, Result, limits};

/// A sorted table of bytes whose changes are atomic and durable.
///
/// # Contract
///
/// Keys are ordered as bytes. A [`commit`](Self::commit) happens wholly or not at all; when it has
/// returned `Ok(true)`, it is durable and seen by every later call. Its expectations and its writes
/// are one step: between them nobody else writes.
///
/// [`scan`](Self::scan) shows one moment: the table as it was when its first page was asked for,
/// whatever is committed meanwhile.
///
/// # Implementing
///
/// ```
/// use std::{collections::BTreeMap, sync::Mutex};
///
/// use bytes::Bytes;
/// use futures::stream::{self, BoxStream, StreamExt};
/// use ipfs_traits::{async_trait, Batch, Datastore, Result};
///
/// #[derive(Debug, Default)]
/// struct Simple(Mutex<BTreeMap<Bytes, Bytes>>);
///
/// #[async_trait]
/// impl Datastore for Simple {
///     async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
///         Ok(self.0.lock().expect("no panic while locked").get(key).cloned())
///     }
///     fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
///         let table = self.0.lock().expect("no panic while locked");
///         let from = table.range(Bytes::copy_from_slice(prefix)..);
///         let found = from.take_while(|(key, _)| key.starts_with(prefix));
///         let found: Vec<_> = found.map(|(key, value)| (key.clone(), value.clone())).collect();
///         let pages: Vec<_> = found.chunks(500).map(|page| Ok(page.to_vec())).collect();
///         stream::iter(pages).boxed()
///     }
///     async fn commit(&self, batch: Batch) -> Result<bool> {
///         batch.check()?;
///         let mut table = self.0.lock().expect("no panic while locked");
///         if !batch.expectations().all(|(key, value)| table.get(key) == value) {
///             return Ok(false);
///         }
///         for (key, value) in batch.into_writes() {
///             match value {
///                 Some(value) => table.insert(key, value),
///                 None => table.remove(&key),
///             };
///         }
///         Ok(true)
///     }
/// }
///
/// # futures::executor::block_on(async {
/// ipfs_traits::conformance::datastore(|| async { Ok(Simple::default()) }).await
/// # }).unwrap();
/// ```
///
/// [`conformance::datastore`](crate::conformance::datastore) checks an implementation.
///
/// # Cancel safety
///
/// Every future may be dropped at any time. A dropped commit has happened wholly or not at all.
///
/// # Errors
///
/// [`Error::Limit`] for a key or value beyond [`Batch::MAX_KEY`] and [`Batch::MAX_VALUE`], before
/// anything is written; [`Error::Component`] for what the disk says; [`Error::Closed`].
#[async_trait]
pub trait Datastore: Debug + Send + Sync + 'static {
    /// The value of a key.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// All entries whose key begins with `prefix`, ascending, in pages of bounded length. An error
    /// is an item, and ends the stream.
    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>>;

    /// Writes the batch, durably; `false` when an expectation failed, and then nothing is written.
    async fn commit(&self, batch: Batch) -> Result<bool>;

    /// Whether other processes or machines write here too.
    fn shared(&self) -> bool {
        false
    }

    /// Waits for what is under way, and lets go of what the datastore keeps from others. The same
    /// place can then be opened again. Closing twice is no error; what else is called afterwards may
    /// give [`Error::Closed`].
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Writes that happen together, and what must hold for them to happen.
///
/// ```
/// use ipfs_traits::Batch;
///
/// let step = Batch::new().expect("seq", Some("4")).put("seq", "5").delete("draft");
/// assert_eq!(step.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    expected: Vec<(Bytes, Option<Bytes>)>,
    writes: Vec<(Bytes, Option<Bytes>)>,
}

impl Batch {
    /// The longest key, in bytes: enough for a prefix and two multihashes.
    pub const MAX_KEY: usize = 512;

    /// The longest value, in bytes. This is a place for state, not for blocks.
    pub const MAX_VALUE: usize = limits::MAX_BLOCK;

    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// The batch is written only if `key` has this value, or none.
    #[must_use]
    pub fn expect(mut self, key: impl Into<Bytes>, value: Option<impl Into<Bytes>>) -> Self {
        self.expected.push((key.into(), value.map(Into::into)));
        self
    }

    /// Sets a key.
    #[must_use]
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.writes.push((key.into(), Some(value.into())));
        self
    }

    /// Removes a key, if it is there.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.writes.push((key.into(), None));
        self
    }

    /// How many writes it has.
    pub const fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether it writes nothing.
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// What is expected: key, and value or absence.
    pub fn expectations(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.expected.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The writes, in the order given: key, and value or removal. The last one for a key holds.
    pub fn into_writes(self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
        self.writes.into_iter()
    }

    /// Whether all keys and values are within bounds. Every datastore calls it before it writes.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`].
    pub fn check(&self) -> Result<()> {
        for (key, value) in &self.writes {
            if key.len() > Self::MAX_KEY {
                return Err(Error::limit("bytes of a key", Self::MAX_KEY, key.len()));
            }
            let len = value.as_ref().map_or(0, Bytes::len);
            if len > Self::MAX_VALUE {
                return Err(Error::limit("bytes of a value", Self::MAX_VALUE, len));
            }
        }
        Ok(())
    }
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: Datastore + ?Sized> Datastore for $pointer<T> {
            async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
                (**self).get(key).await
            }
            fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
                (**self).scan(prefix)
            }
            async fn commit(&self, batch: Batch) -> Result<bool> {
                (**self).commit(batch).await
            }
            fn shared(&self) -> bool {
                (**self).shared()
            }
            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }
    )*};
}
forward!(Arc, Box);
