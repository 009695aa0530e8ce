//! Several routers as one, and routers that do a part of what another does.
//!
//! | | |
//! |---|---|
//! | [`Combined`] | several at once, or one after the other |
//! | [`Limited`] | some of the calls of a router, or some of its keys |
//! | [`Cached`] | remembers providers and peers for a while |
//! | [`Static`] | peers and providers that are known beforehand |
//!
//! The router that can do nothing is [`NoRouting`](ipfs_traits::NoRouting).

mod cached;
mod gather;
mod limited;
mod outcome;
mod providers;
mod recipe;
mod statics;
mod values;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{
    FutureExt, StreamExt,
    future::{self, join_all},
    stream,
};
use ipfs_traits::{
    Error, Multihash, PeerId, PeerInfo, Recipe, Result, Routing, Runtime, sync::Latch,
};

pub use self::{
    cached::{Cached, CachedOptions},
    limited::{Call, Limited},
    providers::MAX_PROVIDERS,
    recipe::CombinedRecipe,
    statics::Static,
};
use self::{
    gather::Gather,
    outcome::{all_failed, is_unsupported},
};
use crate::{
    Validators,
    until::{closed, until},
};

/// Several routers as one.
///
/// *Lookups.* The first router is asked at once, each of the others when its [`Turn`] has come, and
/// those asked before go on being asked. Results are given as they come; a peer that several know is
/// given once, and again only with addresses that are new. When as many are found as are wanted, or
/// the stream is dropped, the rest is no longer asked. Of one peer the first answer with an address
/// counts, of those closest to a key the first that names any.
///
/// *Values* improve, as far as [`rules`](Self::with_rules) say so: one that is not valid, or no better
/// than what was given, is dropped. Of keys without rules every new value is given.
///
/// *Providing and putting* go to all at once, and succeed if one does ([`with_all`](Self::with_all):
/// if all do that can).
///
/// # Errors
///
/// What a router does not support is passed over: [`Error::Unsupported`] says that none does. A lookup
/// that found something is no failure; one that found nothing is if a router failed, for what is
/// there is then not known. The error is that of the router, or, of several, one
/// [`Error::Component`] whose source names them all.
///
/// ```
/// use std::sync::Arc;
///
/// use ipfs_routing::{Routing, combine::{Combined, Static}};
/// use ipfs_traits::{NoRouting, PeerInfo, VirtualRuntime, memory::peer_id};
///
/// let known = PeerInfo::new(peer_id(1), vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()]);
/// let routers: [Arc<dyn Routing>; 2] = [Arc::new(NoRouting), Arc::new(Static::new([known.clone()]))];
/// let runtime = VirtualRuntime::new();
/// let both = Combined::parallel(Arc::new(runtime.clone()), routers);
/// assert_eq!(runtime.block_on(both.find_peer(known.id)).unwrap()?, known);
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
///
/// As the routing of a node it is built with [`Combined::first`].
#[derive(Clone)]
pub struct Combined {
    runtime: Arc<dyn Runtime>,
    routers: Arc<[(Turn, Arc<dyn Routing>)]>,
    rules: Validators,
    all: bool,
    latch: Latch,
}

/// When a router is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// When the one before it has been asked for so long and not enough is found, or all before it
    /// have ended; at once after no time at all.
    After(Duration),
    /// When all before it have ended and found nothing.
    Otherwise,
}

/// A longer wait is as if it were this one, a year: the clock need not count so far.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Combined {
    /// Several, each with its turn; that of the first means nothing. Of none, nothing is supported.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        routers: impl IntoIterator<Item = (Turn, Arc<dyn Routing>)>,
    ) -> Self {
        let latch = Latch::new("the combined router");
        let routers = routers.into_iter().collect();
        Self { runtime, routers, rules: Validators::new(), all: false, latch }
    }

    /// All at once.
    pub fn parallel(
        runtime: Arc<dyn Runtime>,
        routers: impl IntoIterator<Item = Arc<dyn Routing>>,
    ) -> Self {
        let turn = Turn::After(Duration::ZERO);
        Self::new(runtime, routers.into_iter().map(|router| (turn, router)))
    }

    /// One after the other, until one finds something.
    pub fn sequence(
        runtime: Arc<dyn Runtime>,
        routers: impl IntoIterator<Item = Arc<dyn Routing>>,
    ) -> Self {
        Self::new(runtime, routers.into_iter().map(|router| (Turn::Otherwise, router)))
    }

    /// Holds values against these rules.
    #[must_use]
    pub fn with_rules(self, rules: Validators) -> Self {
        Self { rules, ..self }
    }

    /// Whether providing and putting succeed only if all do that can.
    #[must_use]
    pub fn with_all(self, all: bool) -> Self {
        Self { all, ..self }
    }

    /// How to build it as the routing of a node, from how its routers are built.
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    ///
    /// use ipfs_routing::{Routing, combine::Combined, delegated::{HttpRouter, Options}};
    /// use ipfs_traits::{HttpClient, Recipe};
    ///
    /// /// One endpoint, and another for what it has not found after two seconds.
    /// fn two(client: Arc<dyn HttpClient>) -> impl Recipe<dyn Routing> {
    ///     let near = HttpRouter::recipe(client.clone(), "http://192.0.2.1", Options::default());
    ///     let far = HttpRouter::recipe(client, "https://delegated-ipfs.dev", Options::default());
    ///     Combined::first(near).after(Duration::from_secs(2), far)
    /// }
    /// ```
    pub fn first(recipe: impl Recipe<dyn Routing>) -> CombinedRecipe {
        CombinedRecipe::new(recipe)
    }

    fn gather<T: Send + 'static>(
        &self,
        ask: impl Fn(Arc<dyn Routing>) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        if let Err(error) = self.latch.check() {
            return stream::iter([Err(error)]).boxed();
        }
        let gather = Gather::new(self.runtime.clone(), self.routers.clone(), Box::new(ask));
        until(gather.boxed(), vec![closed(&self.latch)])
    }

    /// The first answer that says anything.
    async fn first_answer<T, F>(
        &self,
        ask: impl Fn(Arc<dyn Routing>) -> F + Send + 'static,
    ) -> Option<Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = Option<Result<T>>> + Send + 'static,
    {
        let ask = move |router| stream::once(ask(router)).filter_map(future::ready).boxed();
        self.gather(ask).next().await
    }

    /// Has all of them do something.
    async fn each<F: Future<Output = Result<()>>>(
        &self,
        act: impl Fn(Arc<dyn Routing>) -> F,
    ) -> Result<()> {
        let acts = self.routers.iter().map(|(_, router)| act(router.clone()));
        let done = self.latch.guard(join_all(acts).map(Ok)).await?;
        let (done, failed): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
        let failed: Vec<Error> = failed.into_iter().filter_map(Result::err).collect();
        let strict = self.all && failed.iter().any(|error| !is_unsupported(error));
        if done.is_empty() || strict { Err(all_failed(failed)) } else { Ok(()) }
    }
}

#[async_trait]
impl Routing for Combined {
    /// At most [`MAX_PROVIDERS`], however many are wanted.
    fn find_providers(&self, key: &Multihash, want: usize) -> BoxStream<'static, Result<PeerInfo>> {
        let (key, want) = (*key, want.min(MAX_PROVIDERS));
        match want {
            0 => stream::empty().boxed(),
            _ => {
                providers::merge(self.gather(move |router| router.find_providers(&key, want)), want)
            }
        }
    }

    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        self.each(|router| {
            let keys = keys.clone();
            async move { router.provide(keys).await }
        })
        .await
    }

    async fn find_peer(&self, peer: PeerId) -> Result<PeerInfo> {
        let found = self.first_answer(move |router| async move {
            match router.find_peer(peer).await {
                Ok(found) if found.addresses.is_empty() => None,
                Err(Error::Unreachable(..)) => None,
                other => Some(other),
            }
        });
        found.await.unwrap_or(Err(Error::Unreachable(peer, None)))
    }

    fn get_value(&self, key: &[u8]) -> BoxStream<'static, Result<Bytes>> {
        values::improving(self, key.to_vec())
    }

    async fn put_value(&self, key: &[u8], value: Bytes) -> Result<()> {
        self.each(|router| {
            let (key, value) = (key.to_vec(), value.clone());
            async move { router.put_value(&key, value).await }
        })
        .await
    }

    async fn closest_peers(&self, key: &[u8]) -> Result<Vec<PeerInfo>> {
        let key = key.to_vec();
        let found = self.first_answer(move |router| {
            let key = key.clone();
            async move {
                let found = router.closest_peers(&key).await;
                Some(found).filter(|found| !matches!(found, Ok(peers) if peers.is_empty()))
            }
        });
        found.await.unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Closes all of them.
    ///
    /// # Errors
    ///
    /// The first error in the order of the list, after all were closed.
    async fn close(&self) -> Result<()> {
        self.latch.close();
        join_all(self.routers.iter().map(|(_, router)| router.close())).await.into_iter().collect()
    }
}

impl fmt::Debug for Combined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.routers).finish()
    }
}
