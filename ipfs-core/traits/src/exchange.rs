//! Getting blocks from other nodes, and giving them.

use std::{
    fmt::{self, Debug},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

use crate::{Block, BlockSource, Cid, PeerId, PeerInfo, Result};

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Those who are asked, or gave something, and what each of them did.
    pub givers: Vec<GiverStats>,
}

impl SessionStats {
    /// Of a session that has done nothing yet.
    pub const fn new() -> Self {
        Self { blocks: 0, bytes: 0, duplicates: 0, wanted: 0, givers: Vec::new() }
    }
}

/// What one of those that a session asks has done for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GiverStats {
    /// Who it is.
    pub giver: Giver,
    /// Blocks that it was asked for.
    pub asked: u64,
    /// Blocks that it gave first.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Blocks that it gave after another had.
    pub duplicates: u64,
    /// Blocks that it is asked for and has not answered.
    pub in_flight: u64,
    /// How soon it answers, once that is known.
    pub latency: Option<Duration>,
    /// How fast its blocks come, in bytes a second, once that is known.
    pub rate: Option<u64>,
    /// Requests that failed, were not answered in time, or were answered with what was not asked.
    pub failures: u64,
}

impl GiverStats {
    /// Of one that has done nothing yet.
    pub const fn new(giver: Giver) -> Self {
        let (asked, blocks, bytes, duplicates) = (0, 0, 0, 0);
        let (in_flight, latency, rate, failures) = (0, None, None, 0);
        Self { giver, asked, blocks, bytes, duplicates, in_flight, latency, rate, failures }
    }
}

/// One that blocks come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Giver {
    /// A peer.
    Peer(PeerId),
    /// A server, by the URL that it is asked at.
    Url(Arc<str>),
}

impl fmt::Display for Giver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => fmt::Display::fmt(peer, f),
            Self::Url(url) => f.write_str(url),
        }
    }
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
