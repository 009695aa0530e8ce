//! What is known beforehand.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Error, Multihash, PeerId, PeerInfo, Result, Routing};

/// Peers whose addresses the host knows, and what they have. It asks nobody.
///
/// ```
/// use ipfs_routing::combine::Static;
/// use ipfs_traits::{Multihash, PeerInfo};
///
/// /// A server of one's own that has all of a site.
/// fn site(server: PeerInfo, blocks: &[Multihash]) -> Static {
///     let id = server.id;
///     blocks.iter().fold(Static::new([server]), |known, block| known.with_provider(*block, id))
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Static {
    peers: BTreeMap<PeerId, PeerInfo>,
    providers: BTreeMap<Multihash, Vec<PeerId>>,
}

impl Static {
    /// These peers. One that is named twice is as it was named last.
    pub fn new(peers: impl IntoIterator<Item = PeerInfo>) -> Self {
        let peers = peers.into_iter().map(|peer| (peer.id, peer)).collect();
        Self { peers, providers: BTreeMap::new() }
    }

    /// The peer has the block.
    #[must_use]
    pub fn with_provider(mut self, key: Multihash, peer: PeerId) -> Self {
        self.providers.entry(key).or_default().push(peer);
        self
    }
}

#[async_trait]
impl Routing for Static {
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        let peers = self.providers.get(key).into_iter().flatten().take(want);
        let known =
            peers.map(|peer| self.peers.get(peer).cloned().unwrap_or_else(|| (*peer).into()));
        stream::iter(known.map(Ok).collect::<Vec<_>>()).boxed()
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        self.peers.get(&peer).cloned().ok_or(Error::Unreachable(peer, None))
    }
}
