//! Getting blocks from other nodes, and giving them.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

use crate::{Block, BlockSource, Cid, PeerInfo, Result};

/// Trades blocks with other nodes: bitswap, an HTTP gateway, something of one's own.
///
/// # Contract
///
/// A [`Session`] is made for fetches that belong together, so that what is learnt about who has
/// some of the blocks serves the rest. The exchange does not store what it fetches: the node does,
/// and then tells it with [`notify`](Self::notify). What an exchange serves to others it reads from
/// the store it was built with.
///
/// The same CID wanted in two sessions is asked for once, and no longer asked for when the last one
/// gives it up. Everything that comes from a peer is verified before it is delivered, and what was
/// not asked for is dropped.
///
/// # Implementing
///
/// ```
/// use std::sync::Arc;
///
/// use futures::{stream::BoxStream, StreamExt};
/// use ipfs_traits::{
///     async_trait, Block, BlockSource, Blockstore, Cid, Exchange, Local, PeerInfo, Result, Session,
///     SessionStats,
/// };
///
/// /// Fetches from another store in the same process.
/// #[derive(Debug)]
/// struct Neighbour(Arc<dyn Blockstore>);
///
/// #[derive(Debug)]
/// struct Fetch(Local<Arc<dyn Blockstore>>);
///
/// #[async_trait]
/// impl BlockSource for Fetch {
///     async fn get(&self, cid: &Cid) -> Result<Block> {
///         self.0.get(cid).await
///     }
///     fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
///         self.0.get_many(cids)
///     }
/// }
///
/// impl Session for Fetch {}
///
/// #[async_trait]
/// impl Exchange for Neighbour {
///     fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
///         Arc::new(Fetch(Local(self.0.clone())))
///     }
/// }
/// ```
///
/// [`conformance::exchange`](crate::conformance::exchange) checks an implementation.
///
/// # Cancel safety
///
/// Dropping a session, a future or a stream of it cancels its wants; other sessions keep theirs.
///
/// # Errors
///
/// A session's are those of [`BlockSource`]; after [`close`](Self::close) every call and every
/// waiting one gives [`Error::Closed`](crate::Error::Closed).
#[async_trait]
pub trait Exchange: Debug + Send + Sync + 'static {
    /// A session for fetches that belong together, under `root` where they have one.
    fn session(&self, root: Option<&Cid>) -> Arc<dyn Session>;

    /// Tells that these blocks are here now, so that peers who wait for them can be served.
    /// Announcing them to the world is the work of routing.
    async fn notify(&self, blocks: &[Block]) -> Result<()> {
        let _ = blocks;
        Ok(())
    }

    /// Ends all sessions and tasks. Closing twice is no error.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Fetches that belong together.
///
/// # Contract
///
/// As [`BlockSource`]. A block that nobody has yet is waited for, until the future is dropped or the
/// exchange closes: a session ends with [`Error::NotFound`](crate::Error::NotFound) only when it is
/// certain that nobody will be asked.
///
/// # Implementing
///
/// See [`Exchange`].
///
/// # Cancel safety
///
/// As [`BlockSource`].
///
/// # Errors
///
/// As [`BlockSource`].
pub trait Session: BlockSource {
    /// Names peers that are likely to have the blocks.
    fn providers(&self, peers: &[PeerInfo]) {
        let _ = peers;
    }

    /// What has happened so far.
    fn stats(&self) -> SessionStats {
        SessionStats::default()
    }
}

/// What a session has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Blocks delivered.
    pub blocks: u64,
    /// Bytes of the blocks delivered.
    pub bytes: u64,
    /// Blocks that came a second time.
    pub duplicates: u64,
    /// Blocks asked for and not delivered yet.
    pub wanted: u64,
    /// Peers that are asked.
    pub peers: u64,
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: Exchange + ?Sized> Exchange for $pointer<T> {
            fn session(&self, root: Option<&Cid>) -> Arc<dyn Session> {
                (**self).session(root)
            }
            async fn notify(&self, blocks: &[Block]) -> Result<()> {
                (**self).notify(blocks).await
            }
            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }

        impl<T: Session + ?Sized> Session for $pointer<T> {
            fn providers(&self, peers: &[PeerInfo]) {
                (**self).providers(peers);
            }
            fn stats(&self) -> SessionStats {
                (**self).stats()
            }
        }
    )*};
}
forward!(Arc, Box);
