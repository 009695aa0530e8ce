//! Announcing what a node has.

use std::{fmt, sync::Arc};

use futures_util::{StreamExt, TryStreamExt};
use ipfs_routing::provide::{self, All, Provider, Source, from_fn};
use ipfs_traits::{Batch, Bytes, Cid, Datastore, Multihash, Parts, Result};

/// What a node announces again and again, so that others find it.
///
/// Given to [`Builder::provide`](crate::Builder::provide); without it nothing is announced unasked.
#[derive(Clone)]
pub struct Provide {
    what: What,
    options: provide::Options,
}

#[derive(Clone)]
enum What {
    All,
    Chosen,
    Source(Arc<dyn Source>),
}

impl Provide {
    /// Every block in the store, as Kubo does: whoever looks for any of them finds this node.
    pub fn all() -> Self {
        What::All.into()
    }

    /// What the application names with [`Providing::provide`], until it takes it back: the roots of
    /// what it shares, mostly. Who has found a root asks its provider for what is below it.
    pub fn chosen() -> Self {
        What::Chosen.into()
    }

    /// What a source lists.
    pub fn source(source: impl Source) -> Self {
        What::Source(Arc::new(source)).into()
    }

    /// Changes how it is announced, and how often.
    #[must_use]
    pub fn options(self, options: provide::Options) -> Self {
        Self { options, ..self }
    }

    pub(crate) async fn start(self, parts: &Parts) -> Result<Providing> {
        let datastore = parts.datastore()?.clone();
        let all = matches!(self.what, What::All);
        let (source, chosen): (Arc<dyn Source>, _) = match self.what {
            What::All => (Arc::new(All(parts.store()?.clone())), None),
            What::Chosen => {
                let listed = datastore.clone();
                let source = from_fn(move || chosen(&listed).boxed());
                (Arc::new(source), Some(datastore.clone()))
            }
            What::Source(source) => (source, None),
        };
        let (runtime, routing) = (parts.runtime().clone(), parts.routing()?.clone());
        let provider = Provider::spawn(runtime, routing, datastore, source, self.options).await?;
        Ok(Providing { provider, chosen, all })
    }
}

impl From<What> for Provide {
    fn from(what: What) -> Self {
        Self { what, options: provide::Options::default() }
    }
}

impl fmt::Debug for Provide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what: &dyn fmt::Debug = match &self.what {
            What::All => &"all",
            What::Chosen => &"chosen",
            What::Source(source) => source,
        };
        f.debug_struct("Provide")
            .field("what", what)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What a node announces, and how far it is: see [`Node::providing`](crate::Node::providing).
#[derive(Clone, Debug)]
pub struct Providing {
    provider: Provider,
    /// Where the chosen stand, if what is announced is what is chosen.
    chosen: Option<Arc<dyn Datastore>>,
    /// Whether it is every block.
    all: bool,
}

/// Where the chosen stand in the datastore: this, and the multihash.
const CHOSEN: &[u8] = b"provide-chosen/";

/// Chosen keys that are written at once.
const BATCH: usize = 4096;

fn chosen(
    datastore: &Arc<dyn Datastore>,
) -> impl futures_core::Stream<Item = Result<Vec<Multihash>>> + use<> {
    datastore.scan(CHOSEN).map_ok(|page: Vec<(Bytes, Bytes)>| {
        let key = |(key, _): &(Bytes, Bytes)| Multihash::from_bytes(key.get(CHOSEN.len()..)?).ok();
        page.iter().filter_map(key).collect()
    })
}

impl Providing {
    /// Announces blocks as soon as possible. Returns when that is durably queued. Those that were
    /// [chosen](Provide::chosen) are announced again and again from then on.
    ///
    /// # Errors
    ///
    /// Those of [`Provider::announce`].
    pub async fn provide(&self, cids: impl IntoIterator<Item = Cid> + Send) -> Result<()> {
        let keys: Vec<Multihash> = cids.into_iter().map(|cid| *cid.hash()).collect();
        self.choose(&keys, |batch, key| batch.put(key, Bytes::new())).await?;
        self.provider.announce(keys).await
    }

    /// Takes back what was chosen: it is no longer announced from the next round on. Others keep
    /// what they were told for up to 48 hours.
    ///
    /// # Errors
    ///
    /// What the datastore says.
    pub async fn stop(&self, cids: impl IntoIterator<Item = Cid> + Send) -> Result<()> {
        let keys: Vec<Multihash> = cids.into_iter().map(|cid| *cid.hash()).collect();
        self.choose(&keys, |batch, key| batch.delete(key)).await
    }

    async fn choose(
        &self,
        keys: &[Multihash],
        write: impl Fn(Batch, Vec<u8>) -> Batch + Send,
    ) -> Result<()> {
        let Some(datastore) = &self.chosen else { return Ok(()) };
        for keys in keys.chunks(BATCH) {
            let mut batch = Batch::new();
            for key in keys {
                batch = write(batch, [CHOSEN, &key.to_bytes()].concat());
            }
            datastore.commit(batch).await?;
        }
        Ok(())
    }

    /// The root of something was added.
    pub(crate) async fn added(&self, root: Cid) -> Result<()> {
        match self.all {
            true => self.provider.announce([*root.hash()]).await,
            false => Ok(()),
        }
    }

    /// What announces: its counters, pausing, and a round at once.
    pub const fn provider(&self) -> &Provider {
        &self.provider
    }
}
