//! Some of the calls of a router.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Error, Multihash, PeerId, PeerInfo, Result, Routing};

/// A router that does some of what another does; the rest it does not support.
///
/// ```
/// use std::sync::Arc;
///
/// use ipfs_routing::combine::{Call, Limited};
/// use ipfs_traits::NoRouting; // a router, in a node
///
/// let names = Limited::new(Arc::new(NoRouting), [Call::GetValue("ipns"), Call::PutValue("ipns")]);
/// ```
#[derive(Clone, Debug)]
pub struct Limited {
    router: Arc<dyn Routing>,
    calls: Vec<Call>,
}

/// A call of [`Routing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// [`Routing::find_providers`].
    FindProviders,
    /// [`Routing::provide`].
    Provide,
    /// [`Routing::find_peer`].
    FindPeer,
    /// [`Routing::get_value`] for the keys of a namespace: `ipns` for `/ipns/…`.
    GetValue(&'static str),
    /// [`Routing::put_value`] for the keys of a namespace.
    PutValue(&'static str),
    /// [`Routing::closest_peers`].
    ClosestPeers,
}

impl Limited {
    /// What of the router may be called.
    pub fn new(router: Arc<dyn Routing>, calls: impl IntoIterator<Item = Call>) -> Self {
        Self { router, calls: calls.into_iter().collect() }
    }

    fn check(&self, call: Call) -> Result<()> {
        match self.calls.contains(&call) {
            true => Ok(()),
            false => Err(not_allowed()),
        }
    }

    fn check_key(&self, call: fn(&'static str) -> Call, key: &[u8]) -> Result<()> {
        let within = |name: &str| {
            let rest = key.strip_prefix(b"/").and_then(|key| key.strip_prefix(name.as_bytes()));
            rest.is_some_and(|rest| rest.starts_with(b"/"))
        };
        let names = self.calls.iter().filter_map(|call| match call {
            Call::GetValue(name) | Call::PutValue(name) => Some(*name),
            _ => None,
        });
        let name = names.into_iter().find(|name| within(name));
        name.map_or(Err(not_allowed()), |name| self.check(call(name)))
    }
}

fn not_allowed() -> Error {
    Error::unsupported("this call of the router")
}

#[async_trait]
impl Routing for Limited {
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        match self.check(Call::FindProviders) {
            Ok(()) => self.router.find_providers(key, want),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        self.check(Call::Provide)?;
        self.router.provide(keys).await
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        self.check(Call::FindPeer)?;
        self.router.find_peer(peer).await
    }

    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        match self.check_key(Call::GetValue, key) {
            Ok(()) => self.router.get_value(key),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        self.check_key(Call::PutValue, key)?;
        self.router.put_value(key, value).await
    }

    async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
        self.check(Call::ClosestPeers)?;
        self.router.closest_peers(key).await
    }

    async fn close(&self) -> Result<()> {
        self.router.close().await
    }
}
