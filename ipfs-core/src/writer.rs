//! The store of a node, for what writes much: all that is put is held, and the exchange hears of it.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use ipfs_traits::{
    Block, Blockstore, Cid, Multihash, Reference, ReferenceSink, Result, async_trait,
};

use crate::{Hold, Node};

/// The store of a node for what writes much: all that is put is held, and the exchange hears of it.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) node: Node,
    pub(crate) hold: Hold,
}

#[async_trait]
impl Blockstore for Writer {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.node.guarded().get_many(cids).await
    }

    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.node.guarded().sizes(cids).await
    }

    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.node.write(&self.hold, blocks).await
    }

    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.node.guarded().delete_many(cids).await
    }

    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.node.guarded().list()
    }

    async fn flush(&self) -> Result<()> {
        self.node.guarded().flush().await
    }
}

/// What takes references, for what writes much: all that is referred to is held, and the exchange
/// hears of it.
#[derive(Debug)]
pub(crate) struct References {
    pub(crate) node: Node,
    pub(crate) hold: Hold,
    pub(crate) sink: Arc<dyn ReferenceSink>,
}

#[async_trait]
impl ReferenceSink for References {
    async fn put_references(&self, references: &[Reference]) -> Result<()> {
        self.hold.keep(references.iter().map(|reference| reference.block.hash())).await?;
        self.sink.put_references(references).await?;
        self.hold.check().await?;
        let blocks: Vec<Block> =
            references.iter().map(|reference| reference.block.clone()).collect();
        self.node.notify(&blocks).await;
        Ok(())
    }
}
