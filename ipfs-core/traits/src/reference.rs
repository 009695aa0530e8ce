//! Blocks whose bytes stay where they are.

use std::{fmt::Debug, path::Path, sync::Arc};

use async_trait::async_trait;

use crate::{Block, Result};

/// A block, and where its bytes lie outside of any store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The block.
    pub block: Block,
    /// What its bytes are a range of.
    pub origin: Origin,
    /// Where in it they begin, in bytes; the range is as long as the block.
    pub offset: u64,
}

/// What the bytes of a block are a range of. Cheap to clone: a file has many blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A file of this machine.
    File(Arc<Path>),
    /// What an `http` or `https` URL gives.
    Url(Arc<str>),
}

/// Takes references to the bytes of blocks in place of the blocks: what an import fills that leaves
/// the bytes where they are.
///
/// # Contract
///
/// A sink belongs to a [`Blockstore`](crate::Blockstore). What was put here is found there by every
/// later call, and after its [`flush`](crate::Blockstore::flush) it survives a loss of power, as if
/// the block had been put; but only as long as the bytes stay where they are. What is read there
/// later is verified.
///
/// The caller has read the bytes at that place and made the block of them; a sink need not look at
/// them again. Of a block that has a reference already, the new one holds. A block that the store
/// has itself needs none, and none may be kept.
///
/// A sink says where it allows bytes to lie: files below a folder, URLs or not. One that is not
/// allowed fails the call, before anything of it is kept.
///
/// # Implementing
///
/// ```
/// use std::sync::Mutex;
///
/// use ipfs_traits::{Reference, ReferenceSink, Result, async_trait};
///
/// /// Notes down what it is told, as a test may want it.
/// #[derive(Debug, Default)]
/// struct Notes(Mutex<Vec<Reference>>);
///
/// #[async_trait]
/// impl ReferenceSink for Notes {
///     async fn put_references(&self, references: &[Reference]) -> Result<()> {
///         self.0.lock().expect("no panic while locked").extend_from_slice(references);
///         Ok(())
///     }
/// }
/// # use ipfs_traits::{codes, Block, HashTable, Origin};
/// # futures::executor::block_on(async {
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// let origin = Origin::Url("https://example.com/hello.txt".into());
/// let notes = Notes::default();
/// notes.put_references(&[Reference { block, origin, offset: 0 }]).await?;
/// assert_eq!(notes.0.lock().unwrap().len(), 1);
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap();
/// ```
///
/// # Cancel safety
///
/// A dropped call may or may not have happened, for each reference alone.
///
/// # Errors
///
/// [`Error::Invalid`](crate::Error::Invalid) for a place that is not allowed,
/// [`Error::Unsupported`](crate::Error::Unsupported) for a kind of place that the sink does not
/// take, [`Error::UnknownHash`](crate::Error::UnknownHash) for a block that could not be verified
/// later, [`Error::Limit`](crate::Error::Limit) for a block or a name that is too long,
/// [`Error::Component`](crate::Error::Component) for what the disk says.
#[async_trait]
pub trait ReferenceSink: Debug + Send + Sync + 'static {
    /// Keeps the references.
    async fn put_references(&self, references: &[Reference]) -> Result<()>;
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: ReferenceSink + ?Sized> ReferenceSink for $pointer<T> {
            async fn put_references(&self, references: &[Reference]) -> Result<()> {
                (**self).put_references(references).await
            }
        }
    )*};
}
forward!(Arc, Box);
