//! Finding peers, providers and values, and being found.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::{Error, Multihash, PeerId, PeerInfo, Result};

/// Finds who has a block and where a peer is, and makes the same known of this node.
///
/// # Contract
///
/// Every method has a default that says [`Error::Unsupported`], so a router implements what it can
/// and a combinator asks the next one for the rest. Finding nothing is no error: a stream then ends
/// without an item. Streams give early results first, and each lookup ends by itself.
///
/// What comes from a router is a hint: values are validated, and providers proven, by whoever uses
/// them.
///
/// # Implementing
///
/// ```
/// use futures::{stream, stream::BoxStream, StreamExt};
/// use ipfs_traits::{async_trait, Multihash, PeerInfo, Result, Routing};
///
/// /// One peer that is said to have everything.
/// #[derive(Debug)]
/// struct AskThisOne(PeerInfo);
///
/// #[async_trait]
/// impl Routing for AskThisOne {
///     fn find_providers(&self, _: &Multihash, _: usize) -> BoxStream<'static, Result<PeerInfo>> {
///         stream::iter([Ok(self.0.clone())]).boxed()
///     }
/// }
/// ```
///
/// [`conformance::routing`](crate::conformance::routing) checks an implementation.
///
/// # Cancel safety
///
/// Dropping a future or a stream ends the lookup. A dropped [`provide`](Self::provide) or
/// [`put_value`](Self::put_value) may have reached some of its peers.
///
/// # Errors
///
/// [`Error::Unsupported`]; [`Error::TimedOut`]; [`Error::Unreachable`] from
/// [`find_peer`](Self::find_peer) for a peer that nobody knows; [`Error::Closed`].
#[async_trait]
pub trait Routing: Debug + Send + Sync + 'static {
    /// Peers that are said to have the block, with their addresses, `want` at the most.
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        let _ = (key, want);
        unsupported_stream("finding providers")
    }

    /// Makes known that this node has the blocks.
    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        let _ = keys;
        Err(Error::unsupported("providing"))
    }

    /// The addresses of a peer.
    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        let _ = peer;
        Err(Error::unsupported("finding peers"))
    }

    /// Values under a key; each one is better than the one before.
    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        let _ = key;
        unsupported_stream("getting values")
    }

    /// Puts a value under a key.
    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        let _ = (key, value);
        Err(Error::unsupported("putting values"))
    }

    /// The peers closest to a key.
    async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
        let _ = key;
        Err(Error::unsupported("finding closest peers"))
    }

    /// Ends all lookups and tasks. Closing twice is no error.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

fn unsupported_stream<T: Send + 'static>(what: &'static str) -> BoxStream<'static, Result<T>> {
    stream::iter([Err(Error::unsupported(what))]).boxed()
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: Routing + ?Sized> Routing for $pointer<T> {
            fn find_providers(
                &self,
                key: &Multihash,
                want: usize,
            ) -> BoxStream<'static, Result<PeerInfo>> {
                (**self).find_providers(key, want)
            }
            async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
                (**self).provide(keys).await
            }
            async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
                (**self).find_peer(peer).await
            }
            fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
                (**self).get_value(key)
            }
            async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
                (**self).put_value(key, value).await
            }
            async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
                (**self).closest_peers(key).await
            }
            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }
    )*};
}
forward!(Arc, Box);
