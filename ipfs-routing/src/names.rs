//! Names that are published, resolved and kept alive.
//!
//! [`Names`] publishes under the keys of the node, and resolves what others published: IPNS names
//! through a router, and domains through their [DNSLink](crate::dnslink). A [`Republisher`] brings
//! out again what was published, before it is forgotten or expires.
//!
//! # What is believed
//!
//! A router may say anything. A record counts if it is signed by the key of its name and has not
//! expired; one that does not is passed over and [counted](Names::refused), and of those that count
//! the best one does. A DNSLink is what the resolver says.
//!
//! # What is kept
//!
//! Records of the node's own names stand in the datastore, under `ipns/` and the bytes of the peer
//! id, from before they are given to the router; they are what own names are answered with. What was
//! found elsewhere is kept in memory as long as its TTL says, and never beyond its end.

mod cache;
mod publish;
mod records;
mod republish;
mod resolve;
pub(crate) mod target;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ipfs_traits::{Datastore, Resolver, Routing, Runtime};

use self::cache::Cache;
pub use self::{
    publish::{PublishOptions, Published},
    records::published,
    republish::{Republisher, Signers},
    resolve::Resolution,
};

/// The names of a node. Clones are the same one.
///
/// ```
/// use std::sync::Arc;
///
/// use ipfs_routing::names::{Names, Options, PublishOptions};
/// use ipfs_traits::{
///     VirtualRuntime,
///     memory::{MemoryDatastore, MemoryResolver, RoutingTable, peer_id},
/// };
/// use libp2p_identity::Keypair;
///
/// let (runtime, world, domains) = (VirtualRuntime::new(), RoutingTable::new(), MemoryResolver::new());
/// let node = |number| {
///     Names::new(
///         Arc::new(runtime.clone()),
///         Arc::new(world.join(peer_id(number).into())),
///         Arc::new(MemoryDatastore::new()),
///         Some(Arc::new(domains.clone())),
///         Options::default(),
///     )
/// };
/// let (key, ours, theirs) = (Keypair::generate_ed25519(), node(1), node(2));
/// runtime.block_on(async {
///     let options = PublishOptions::default();
///     let published = ours.publish(&key, "/ipfs/bafkqaaa", options).await?;
///     let path = format!("/ipns/{}/a", published.name);
///     assert_eq!(theirs.resolve_one(&path).await?.path, "/ipfs/bafkqaaa/a");
///     Ok::<(), ipfs_traits::Error>(())
/// }).unwrap()?;
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Names(Arc<Shared>);

/// How [`Names`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long a record is valid from when it is signed: 48 hours by default, which is also how
    /// long the nodes of the DHT keep one.
    pub lifetime: Duration,
    /// How long others may answer from memory: five minutes by default, as in Kubo, so that a change
    /// is seen soon and not each visit costs a lookup. It is cut to the lifetime.
    pub ttl: Duration,
    /// How many names may lead to one another: 32 by default, as in Kubo. Chains are short; a circle
    /// of names is cut here.
    pub depth: usize,
    /// Names whose answers are kept in memory: 128 by default, as in Kubo. With none nothing is kept.
    pub cache: usize,
    /// How long the answer of a domain is kept where the resolver does not say: a minute by default,
    /// as in Kubo.
    pub cache_ttl: Duration,
    /// How long one name of a chain is looked for: a minute by default, in which a lookup in the DHT
    /// is mostly over. The best record found until then is taken.
    pub resolve_timeout: Duration,
    /// How long a router may take to bring one record out again, until the next one is tried: five
    /// minutes by default, several times what the DHT takes.
    pub publish_timeout: Duration,
    /// How long after the start records are first brought out again: a minute by default, when the
    /// node has found others.
    pub republish_first: Duration,
    /// How often records are brought out again: each four hours by default, since nodes of the DHT
    /// that have them leave it all the time.
    pub republish: Duration,
    /// How soon a record that could not be brought out is tried again: after five minutes by default.
    pub republish_retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            lifetime: 48 * 60 * MINUTE,
            ttl: 5 * MINUTE,
            depth: 32,
            cache: 128,
            cache_ttl: MINUTE,
            resolve_timeout: MINUTE,
            publish_timeout: 5 * MINUTE,
            republish_first: MINUTE,
            republish: 4 * 60 * MINUTE,
            republish_retry: 5 * MINUTE,
        }
    }
}

#[derive(Debug)]
struct Shared {
    runtime: Arc<dyn Runtime>,
    routing: Arc<dyn Routing>,
    datastore: Arc<dyn Datastore>,
    resolver: Option<Arc<dyn Resolver>>,
    options: Options,
    cache: Mutex<Cache>,
    refused: AtomicU64,
}

impl Names {
    /// Names over these parts. Without a resolver domains are not resolved.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        routing: Arc<dyn Routing>,
        datastore: Arc<dyn Datastore>,
        resolver: Option<Arc<dyn Resolver>>,
        options: Options,
    ) -> Self {
        let (cache, refused) = (Mutex::new(Cache::new(options.cache)), AtomicU64::new(0));
        let shared = Shared { runtime, routing, datastore, resolver, options, cache, refused };
        Self(Arc::new(shared))
    }

    /// How many values that a router gave were no records of the name that was asked for, or had
    /// expired.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}
