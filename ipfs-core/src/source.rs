//! Blocks from here, or from others: what a node reads from.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, future, stream};
use ipfs_traits::{
    Block, BlockSource, Blockstore, BlockstoreExt, Cid, Error, PeerInfo, Result, Session,
    SessionStats, async_trait,
};

use crate::{Hold, Node, batches::batches};

/// Gives the blocks that are here, and fetches the others in one session: see
/// [`Node::source`].
///
/// What it fetches it stores. All that was asked of it is held as long as it lives. The session
/// begins with the first block that is not here: reading what is here asks nobody.
#[derive(Clone, Debug)]
pub struct NodeSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: Node,
    hold: Hold,
    root: Option<Cid>,
    session: OnceLock<Arc<dyn Session>>,
    /// Peers named before there was a session.
    providers: Mutex<Vec<PeerInfo>>,
}

/// Blocks that are looked for in the store at once: enough to share one hop to a thread.
pub(crate) const LOCAL_BATCH: usize = 16;
/// Blocks that are on their way to the session.
const MISSING: usize = 64;
/// Fetched blocks that are stored at once, and their bytes: enough to share one hop, and few beside
/// what the session itself keeps waiting.
const STORED_BATCH: usize = 64;
const STORED_BYTES: usize = 4 << 20;
/// Batches that are stored at the same time.
const STORING: usize = 2;

/// What the store says of a block.
pub(crate) enum Found {
    /// It is here, or its CID may not be used, or it cannot be held.
    Here(Cid, Result<Block>),
    Missing(Cid),
}

impl NodeSource {
    pub(crate) fn new(node: Node, root: Option<Cid>) -> Self {
        let hold = node.hold_of_writes();
        let (session, providers) = (OnceLock::new(), Mutex::default());
        Self(Arc::new(Inner { node, hold, root, session, providers }))
    }

    /// Looks for many here. They are held first: what is found cannot be deleted afterwards.
    pub(crate) async fn look(&self, cids: Vec<Cid>) -> Vec<Found> {
        if let Err(error) = self.0.hold.keep(cids.iter().map(Cid::hash)).await {
            return cids.into_iter().map(|cid| Found::Here(cid, Err(error.clone()))).collect();
        }
        let found = self.0.node.guarded().get_many(&cids).await;
        let hashes = self.0.node.hashes();
        let sort = |(cid, found): (Cid, Result<Option<Block>>)| match found.transpose() {
            Some(found) => Found::Here(cid, found),
            None => match hashes.check(&cid) {
                Err(error) => Found::Here(cid, Err(error)),
                Ok(()) => Found::Missing(cid),
            },
        };
        std::iter::zip(cids, found).map(sort).collect()
    }

    async fn store(&self, fetched: Vec<(Cid, Result<Block>)>) -> Vec<(Cid, Result<Block>)> {
        let blocks: Vec<Block> =
            fetched.iter().filter_map(|(_, block)| block.as_ref().ok().cloned()).collect();
        match self.0.node.write(&self.0.hold, &blocks).await {
            Ok(()) => fetched,
            Err(error) => fetched
                .into_iter()
                .map(|(cid, block)| (cid, block.and_then(|_| Err(error.clone()))))
                .collect(),
        }
    }

    fn session(&self) -> &Arc<dyn Session> {
        // Locked meanwhile, so that no peer is named in between and forgotten.
        let mut named = self.0.named();
        self.0.session.get_or_init(|| {
            let session = self.0.node.exchange().session(self.0.root.as_ref());
            session.providers(&std::mem::take(&mut *named));
            session
        })
    }

    /// Fetches what comes, which was looked for here, and stores it in batches before it is given
    /// on.
    pub(crate) fn fetch(
        self,
        cids: BoxStream<'static, Cid>,
    ) -> BoxStream<'static, (Cid, Result<Block>)> {
        let fetched = self.session().get_many(cids);
        let size = |(_, block): &(Cid, Result<Block>)| block.as_ref().map_or(0, Block::len);
        batches(fetched, STORED_BATCH, STORED_BYTES, size)
            .map(move |batch| {
                let source = self.clone();
                async move { stream::iter(source.store(batch).await) }
            })
            .buffered(STORING)
            .flatten()
            .boxed()
    }
}

impl Inner {
    fn named(&self) -> std::sync::MutexGuard<'_, Vec<PeerInfo>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlockSource for NodeSource {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.0.hold.keep([cid.hash()].into_iter()).await?;
        if let Some(block) = self.0.node.guarded().get(cid).await? {
            return Ok(block);
        }
        self.0.node.hashes().check(cid)?;
        let block = self.session().get(cid).await?;
        self.0.node.write(&self.0.hold, std::slice::from_ref(&block)).await?;
        Ok(block)
    }

    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let (missing, wanted) = async_channel::bounded::<Cid>(MISSING);
        let end = missing.clone();
        let source = self.clone();
        let here = cids
            .ready_chunks(LOCAL_BATCH)
            .then(move |cids| {
                let (source, missing) = (source.clone(), missing.clone());
                async move { stream::iter(source.sort(cids, missing).await) }
            })
            .flatten()
            .chain(stream::once(async move { end.close() }).filter_map(|_| future::ready(None)));
        let source = self.clone();
        let fetched = stream::once(async move {
            match wanted.recv().await {
                Ok(first) => source.fetch(stream::iter([first]).chain(wanted).boxed()),
                Err(_) => stream::empty().boxed(),
            }
        });
        stream::select(here, fetched.flatten()).boxed()
    }
}

impl NodeSource {
    /// Answers what is here, or cannot be fetched, and passes on the rest.
    async fn sort(
        &self,
        cids: Vec<Cid>,
        missing: async_channel::Sender<Cid>,
    ) -> Vec<(Cid, Result<Block>)> {
        let mut answers = Vec::with_capacity(cids.len());
        for found in self.look(cids).await {
            match found {
                Found::Here(cid, block) => answers.push((cid, block)),
                Found::Missing(cid) if missing.send(cid).await.is_ok() => {}
                Found::Missing(cid) => answers.push((cid, Err(Error::Closed("the source")))),
            }
        }
        answers
    }
}

impl Session for NodeSource {
    fn providers(&self, peers: &[PeerInfo]) {
        let mut named = self.0.named();
        match self.0.session.get() {
            Some(session) => session.providers(peers),
            None => named.extend_from_slice(peers),
        }
    }

    fn stats(&self) -> SessionStats {
        self.0.session.get().map(|session| session.stats()).unwrap_or_default()
    }
}
