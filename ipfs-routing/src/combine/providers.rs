//! Peers of several routers, each once.

use std::collections::BTreeMap;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{
    Multiaddr, PeerId, PeerInfo, Result,
    network::{MAX_ADDRESS, MAX_ADDRESSES},
};

/// The most peers that one lookup gives: each of them is remembered while it lasts, with up to 16 KiB
/// of addresses.
pub const MAX_PROVIDERS: usize = 1000;

struct Merge {
    /// `None` once as many are found as are wanted.
    found: Option<BoxStream<'static, Result<PeerInfo>>>,
    want: usize,
    known: BTreeMap<PeerId, Vec<Multiaddr>>,
}

/// Each peer, until there are as many as are wanted. One that comes again is given again if it brings
/// new addresses, with all of them.
pub(super) fn merge(
    found: BoxStream<'static, Result<PeerInfo>>,
    want: usize,
) -> BoxStream<'static, Result<PeerInfo>> {
    let merge = Merge { found: Some(found), want, known: BTreeMap::new() };
    let next = |mut merge: Merge| async move { Ok(merge.next().await?.map(|peer| (peer, merge))) };
    stream::try_unfold(merge, next).boxed()
}

impl Merge {
    async fn next(&mut self) -> Result<Option<PeerInfo>> {
        while let Some(found) = &mut self.found {
            let Some(peer) = found.try_next().await? else { break };
            if !self.add(&peer) {
                continue;
            }
            if self.known.len() == self.want {
                self.found = None;
            }
            return Ok(Some(PeerInfo::new(peer.id, self.known[&peer.id].clone())));
        }
        Ok(None)
    }

    /// Whether it brings anything new.
    fn add(&mut self, peer: &PeerInfo) -> bool {
        let new = !self.known.contains_key(&peer.id);
        let known = self.known.entry(peer.id).or_default();
        let before = known.len();
        for address in peer.addresses.iter().filter(|address| address.len() <= MAX_ADDRESS) {
            if known.len() < MAX_ADDRESSES && !known.contains(address) {
                known.push(address.clone());
            }
        }
        new || known.len() > before
    }
}
