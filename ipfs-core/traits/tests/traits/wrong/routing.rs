//! Routers that break one promise each.

use futures::StreamExt;
use futures::executor::block_on;
use futures::stream::{self, BoxStream};
use ipfs_traits::memory::peer_id;
use ipfs_traits::{
    Bytes, Error, Multihash, PeerId, PeerInfo, Result, Routing, async_trait, conformance,
};

use super::caught;

#[derive(Clone, Copy, Debug, PartialEq)]
enum RouterFault {
    MoreThanWanted,
    KnowsStrangers,
    ForgetsValues,
    EndlessBucket,
    NoProvide,
}

#[derive(Debug)]
struct Router(RouterFault);

#[async_trait]
impl Routing for Router {
    fn find_providers(&self, _: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        let more = usize::from(self.0 == RouterFault::MoreThanWanted);
        stream::iter((0..want + more).map(|i| Ok(peer_id(i as u64).into()))).boxed()
    }
    async fn provide(&self, _: Vec<Multihash>) -> Result<()> {
        match self.0 {
            RouterFault::NoProvide => Err(Error::Closed("the router")),
            _ => Ok(()),
        }
    }
    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        match self.0 {
            RouterFault::KnowsStrangers => Ok(peer.into()),
            _ => Err(Error::Unreachable(peer, None)),
        }
    }
    fn get_value(&self, _: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        stream::empty().boxed()
    }
    async fn put_value(&self, _: &[u8], _: Bytes) -> Result<()> {
        match self.0 {
            RouterFault::ForgetsValues => Ok(()),
            _ => Err(Error::unsupported("putting")),
        }
    }
    async fn closest_peers(&self, _: &[u8]) -> Result<Vec<PeerInfo>> {
        let count = if self.0 == RouterFault::EndlessBucket { 21 } else { 20 };
        Ok((0..count).map(|i| peer_id(i).into()).collect())
    }
}

#[test]
fn wrong_routers_are_caught() {
    use RouterFault as F;
    for fault in
        [F::MoreThanWanted, F::KnowsStrangers, F::ForgetsValues, F::EndlessBucket, F::NoProvide]
    {
        let run = conformance::routing(|| async move { Ok(Router(fault)) });
        caught(fault, block_on(run));
    }
}
