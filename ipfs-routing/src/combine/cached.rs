//! A router that remembers.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, stream};
use ipfs_traits::{Error, Multihash, PeerId, PeerInfo, Result, Routing, Runtime, sync::lock};

use crate::cache::{Cache, MAX_KEPT};

/// Remembers for a while which providers and peers another router found, and that it found none.
///
/// Failures are not remembered, nor are values, which have lives of their own. Of providers the first
/// 100 are: one who wants more asks the router again.
#[derive(Clone, Debug)]
pub struct Cached {
    runtime: Arc<dyn Runtime>,
    router: Arc<dyn Routing>,
    options: CachedOptions,
    providers: Arc<Mutex<Cache<Multihash, PeerInfo>>>,
    peers: Arc<Mutex<Cache<PeerId, PeerInfo>>>,
}

/// How [`Cached`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CachedOptions {
    /// How long what was found is remembered: five minutes by default, as servers of delegated
    /// routing say. Addresses seldom change sooner.
    pub found: Duration,
    /// How long it is remembered that nothing was found: 15 seconds by default. Somebody may begin
    /// to provide at any time.
    pub absent: Duration,
    /// The most blocks, and the most peers, that are remembered: 1024 of each by default. A block
    /// takes some 10 kB with its providers.
    pub entries: usize,
}

impl Default for CachedOptions {
    fn default() -> Self {
        let (found, absent) = (Duration::from_secs(300), Duration::from_secs(15));
        Self { found, absent, entries: 1024 }
    }
}

impl Cached {
    /// Remembers for this router.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        router: Arc<dyn Routing>,
        options: CachedOptions,
    ) -> Self {
        let providers = Arc::new(Mutex::new(Cache::new(options.entries)));
        let peers = Arc::new(Mutex::new(Cache::new(options.entries)));
        Self { runtime, router, options, providers, peers }
    }
}

#[async_trait]
impl Routing for Cached {
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        if let Some(found) = lock(&self.providers).get(key, want, self.runtime.now()) {
            return stream::iter(found.into_iter().map(Ok)).boxed();
        }
        let (cached, key, found) = (self.clone(), *key, Vec::new());
        let stream = self.router.find_providers(&key, want);
        Remember { cached, key, want, stream, found, whole: false }.boxed()
    }

    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        self.router.provide(keys).await
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        let known = lock(&self.peers).get(&peer, 1, self.runtime.now());
        if let Some(known) = known {
            return known.into_iter().next().ok_or(Error::Unreachable(peer, None));
        }
        let answer = self.router.find_peer(peer).await;
        let (found, time) = match &answer {
            Ok(found) => (vec![found.clone()], self.options.found),
            Err(Error::Unreachable(..)) => (Vec::new(), self.options.absent),
            Err(_) => return answer,
        };
        lock(&self.peers).put(peer, found, true, self.runtime.now() + time);
        answer
    }

    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        self.router.get_value(key)
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        self.router.put_value(key, value).await
    }

    async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
        self.router.closest_peers(key).await
    }

    async fn close(&self) -> Result<()> {
        self.router.close().await
    }
}

/// Remembers what a lookup finds when it ends or is dropped.
struct Remember {
    cached: Cached,
    key: Multihash,
    want: usize,
    stream: BoxStream<'static, Result<PeerInfo>>,
    found: Vec<PeerInfo>,
    /// It ended by itself, before there were as many as were wanted.
    whole: bool,
}

impl Stream for Remember {
    type Item = Result<PeerInfo>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.stream.poll_next_unpin(cx));
        match &item {
            Some(Ok(peer)) if self.found.len() <= MAX_KEPT => self.found.push(peer.clone()),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.want = 0, // how many there are is not known any more
            None => self.whole = self.found.len() < self.want,
        }
        Poll::Ready(item)
    }
}

impl Drop for Remember {
    fn drop(&mut self) {
        let options = &self.cached.options;
        let time = if self.found.is_empty() { options.absent } else { options.found };
        let until = self.cached.runtime.now() + time;
        let found = std::mem::take(&mut self.found);
        lock(&self.cached.providers).put(self.key, found, self.whole, until);
    }
}
