//! Single blocks.

use futures_core::stream::BoxStream;
use ipfs_traits::{
    Block, BlockSource, Blockstore, BlockstoreExt, Bytes, Cid, Error, Multihash, Prefix, Result,
    limits,
};

use crate::{IntoPath, Node, NodeSource};

/// Single blocks: see [`Node::blocks`].
///
/// ```
/// # use ipfs_core::{codes, Block, Error, Node};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let node = Node::builder().offline().spawn().await?;
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", node.hashes())?;
/// node.blocks().put(block.clone()).await?;
/// assert_eq!(node.blocks().size(block.cid()).await?, Some(5));
/// assert_eq!(node.blocks().get(block.cid()).await?, block);
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Blocks {
    node: Node,
}

/// A block, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStat {
    /// The block.
    pub cid: Cid,
    /// How many bytes it has.
    pub size: u64,
}

impl Blocks {
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    /// The block, from here or from others; what was fetched is stored.
    ///
    /// It waits until somebody has the block: put a time limit around it where that matters.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when nobody can be asked; [`Error::Corrupt`] for a damaged record;
    /// [`Error::UnknownHash`], [`Error::Limit`] for a CID that may not be used;
    /// [`Error::Closed`].
    pub async fn get(&self, cid: &Cid) -> Result<Block> {
        NodeSource::new(self.node.clone(), Some(*cid)).get(cid).await
    }

    /// Whether the block is here.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn has(&self, cid: &Cid) -> Result<bool> {
        self.node.guarded().has(cid).await
    }

    /// How many bytes the block has, if it is here.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn size(&self, cid: &Cid) -> Result<Option<u64>> {
        self.node.guarded().size(cid).await
    }

    /// How large the block is that a path leads to. It is fetched if it is not here, and otherwise
    /// not read.
    ///
    /// # Errors
    ///
    /// Those of [`Dag::resolve`](crate::Dag::resolve) and [`get`](Self::get).
    pub async fn stat(&self, path: impl IntoPath) -> Result<BlockStat> {
        let path = self.node.immutable(path).await?;
        let source = self.node.source(path.root()?);
        let cid = self.node.dag().locate(&source, &path).await?.cid;
        let size = match self.size(&cid).await? {
            Some(size) => size,
            None => source.get(&cid).await?.len() as u64,
        };
        Ok(BlockStat { cid, size })
    }

    /// Stores a block that other nodes can fetch: of at most 2 MiB. It is durable after the next
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a larger one; what the store says.
    pub async fn put(&self, block: Block) -> Result<()> {
        self.put_many(&[block]).await
    }

    /// Stores bytes as they are, under the CID that the prefix makes of them: whether they are of its
    /// codec is not looked at. At most 2 MiB; for more make a [`Block`], and
    /// [`put_large`](Self::put_large).
    ///
    /// ```
    /// # use ipfs_core::{codes, Error, Node, Prefix};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let node = Node::builder().offline().spawn().await?;
    /// let short = Prefix::v1(codes::RAW, codes::SHA2_512).with_digest_len(32);
    /// let cid = node.blocks().put_bytes(&short, "hello").await?;
    /// assert_eq!(cid.hash().digest().len(), 32);
    /// assert_eq!(node.blocks().stat(&cid).await?.size, 5);
    /// assert_eq!(node.blocks().delete_many(&[cid, cid]).await?, [true, true]);
    /// assert_eq!(node.blocks().delete_many(&[cid]).await?, [false]);
    /// # Ok::<(), Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownHash`]; [`Error::Limit`] for more bytes, and for a digest that is cut to less
    /// than 20; [`Error::Malformed`] for one that is longer than its hash function gives; what the
    /// store says.
    pub async fn put_bytes(&self, prefix: &Prefix, data: impl Into<Bytes>) -> Result<Cid> {
        let block = Block::with_prefix(prefix, data, self.node.hashes())?;
        let cid = *block.cid();
        self.node.hashes().check(&cid)?;
        self.put(block).await?;
        Ok(cid)
    }

    /// Stores blocks, each of at most 2 MiB: much faster than one by one. They are durable after the
    /// next [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a larger one, and then none is stored; what the store says.
    pub async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        if let Some(large) = blocks.iter().find(|block| block.len() > limits::MAX_BLOCK) {
            return Err(Error::limit("bytes of a block", limits::MAX_BLOCK, large.len()));
        }
        self.write(blocks).await
    }

    /// Stores a block of up to 64 MiB. Beyond 2 MiB no other node can fetch it by bitswap.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a larger one; what the store says.
    pub async fn put_large(&self, block: Block) -> Result<()> {
        self.write(&[block]).await
    }

    async fn write(&self, blocks: &[Block]) -> Result<()> {
        match self.node.given_hold() {
            Some(hold) => self.node.write(hold, blocks).await,
            None => {
                self.node.guarded().put_many(blocks).await?;
                self.node.notify(blocks).await;
                Ok(())
            }
        }
    }

    /// Deletes a block from here. One that is not here is no error.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] for a block that is held, and in a store that several nodes write to while one of
    /// them deletes others; [`Error::Pinned`]; what the store says.
    pub async fn delete(&self, cid: &Cid) -> Result<()> {
        self.node.guarded().delete(cid).await
    }

    /// Deletes blocks from here, much faster than one by one, and says of each whether it was here.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] if one of them is held or pinned, and then none is deleted; what the store says.
    pub async fn delete_many(&self, cids: &[Cid]) -> Result<Vec<bool>> {
        let sizes = self.node.guarded().sizes(cids).await?;
        self.node.guarded().delete_many(cids).await?;
        Ok(sizes.iter().map(Option::is_some).collect())
    }

    /// All blocks that are here, by multihash and with their sizes in bytes, in pages.
    pub fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.node.guarded().list()
    }

    /// Returns when all that was put or deleted before is durable.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn flush(&self) -> Result<()> {
        self.node.guarded().flush().await
    }
}
