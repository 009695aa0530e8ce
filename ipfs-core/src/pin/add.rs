//! Making a pin.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_channel::oneshot;
use ipfs_traits::{
    Batch, Bytes, Cid, Error, Missing, PeerInfo, Result,
    work::{Meter, Work},
};

use super::{Pin, PinMode, Pins, TemporaryPin, record};
use crate::{
    Fetch, Follow, IntoPeer, NodeEvent, Path,
    reach::{Item, Leaves, Reach, Site},
};

/// What is to be pinned, and how: see [`Pins::add`] and [`Pins::update`]. It is done when it is
/// awaited, or by the [`Work`] that it is [started](Self::start) as, which tells of the blocks that
/// were found, and of their bytes.
///
/// A pin is made only when all that it keeps is here, and durable. Blocks without links (raw ones)
/// are looked up, and the others read; neither is hashed: see [`Pins::verify`].
///
/// Where the CID has a pin already, the new one takes its place when it is whole, and not before: a
/// recursive one a direct one, or the same with another name.
///
/// # Errors
///
/// [`Error::Incomplete`] names the first thousand blocks that are not here, cannot be read or
/// understood, or have a codec that the node does not know; [`Error::Exists`] for a direct pin of
/// what is pinned recursively; [`Error::Limit`] for a name or metadata that are too long;
/// [`Error::Invalid`] for a path that ends inside a block, or what is not recursive and shall be
/// updated; those of [`Dag::resolve`](crate::Dag::resolve), of the store and of the datastore.
///
/// # Cancel safety
///
/// Dropping it leaves the pins as they were, or, when the pin was being written, as they are after
/// it. What was fetched by then stays until garbage is collected: beginning again asks only for the
/// rest.
#[derive(Clone, Debug)]
#[must_use = "nothing is pinned before it is started or awaited"]
pub struct AddPin {
    pins: Pins,
    path: Result<Path>,
    mode: PinMode,
    name: Option<String>,
    metadata: BTreeMap<String, String>,
    fetch: bool,
    providers: Vec<PeerInfo>,
    timeout: Option<Duration>,
    replaces: Option<Cid>,
    keeps_old: bool,
}

impl AddPin {
    pub(super) fn new(pins: Pins, path: Result<Path>) -> Self {
        Self {
            pins,
            path,
            mode: PinMode::Recursive(Follow::All),
            name: None,
            metadata: BTreeMap::new(),
            fetch: false,
            providers: Vec::new(),
            timeout: None,
            replaces: None,
            keeps_old: false,
        }
    }

    pub(super) fn replacing(mut self, old: Cid) -> Self {
        self.replaces = Some(old);
        self
    }

    /// Pins the block alone.
    pub fn direct(mut self) -> Self {
        self.mode = PinMode::Direct;
        self
    }

    /// Pins what can be reached along some of the links, and says so in the pin. The default is all
    /// of them.
    pub fn follow(mut self, follow: Follow) -> Self {
        self.mode = PinMode::Recursive(follow);
        self
    }

    /// Gives it a name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says something of it. Calls add up.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Fetches what is not here. The default is not to: then it is missing.
    pub fn fetch(mut self) -> Self {
        self.fetch = true;
        self
    }

    /// Fetches what is not here, also from these peers, beside those that the node finds. Calls add
    /// up.
    pub fn providers(mut self, peers: impl IntoIterator<Item: IntoPeer>) -> Self {
        self.fetch = true;
        for peer in peers {
            match peer.into_peer() {
                Ok(peer) => self.providers.push(peer),
                Err(error) => self.path = self.path.and(Err(error)),
            }
        }
        self
    }

    /// How long fetching may take; as long as something comes is the default.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Keeps the old pin beside the new one, in an update.
    pub fn keep_old(mut self) -> Self {
        self.keeps_old = true;
        self
    }

    /// The work, which goes on as long as it is polled.
    pub fn start(self) -> Work<Pin> {
        let meter = Meter::default();
        Work::new(meter.clone(), self.run(meter))
    }

    async fn run(self, meter: Meter) -> Result<Pin> {
        self.check()?;
        let node = self.pins.node.clone();
        self.old().await?;
        let found = node.dag().resolve(self.path.clone()?).await?;
        if !found.rest.is_empty() {
            return Err(Error::invalid("path", "it ends inside a block, which cannot be pinned"));
        }
        let cid = found.cid;
        // From here on all below it that is here, or comes, stays until the pin is there.
        let kept = self.pins.temporary_with(&cid, self.follows());
        // Other nodes know of it before anything is looked for.
        kept.guard(Batch::new()).await?;
        let hold = node.hold();
        match self.mode {
            PinMode::Direct => {
                hold.keep([cid.hash()].into_iter()).await?;
                self.bring_block(&cid).await?;
            }
            PinMode::Recursive(follow) => self.bring(Item { cid, follow }, &meter).await?,
        }
        node.blocks().flush().await?;
        // Committed to the end even if nobody waits for it any more: until then the blocks are kept.
        let (done, result) = oneshot::channel();
        let commit = async move {
            let made = self.commit(cid, &kept).await;
            made.iter().for_each(|pin| self.tell(pin));
            drop((kept, hold));
            let _ = done.send(made);
        };
        node.runtime().spawn(Box::pin(commit)).detach();
        result.await.map_err(|_| Error::Closed("the runtime"))?
    }

    fn check(&self) -> Result<()> {
        let name = self.name.as_ref().map_or(0, String::len);
        if name > Pins::MAX_NAME {
            return Err(Error::limit("bytes of the name of a pin", Pins::MAX_NAME, name));
        }
        check_metadata(&self.metadata)
    }

    const fn follows(&self) -> Follow {
        match self.mode {
            PinMode::Direct => Follow::All,
            PinMode::Recursive(follow) => follow,
        }
    }

    /// The pin that is replaced, and its record.
    async fn old(&self) -> Result<Option<(Pin, Bytes)>> {
        let Some(old) = self.replaces else { return Ok(None) };
        let record = self.pins.keeper().datastore.get(&record::key(&old)).await?;
        let record = record.ok_or(Error::NotPinned(old))?;
        let pin = record::decode(&record)?;
        if !pin.is_recursive() || !matches!(self.mode, PinMode::Recursive(_)) {
            return Err(Error::invalid("update of a pin", "only recursive ones are updated"));
        }
        Ok(Some((pin, record)))
    }

    /// Has one block here.
    async fn bring_block(&self, cid: &Cid) -> Result<()> {
        if self.pins.node.blocks().has(cid).await? {
            return Ok(());
        }
        match self.fetch {
            true => self.fetching(cid).block().await.map(drop),
            false => Err(missing(*cid, Error::NotFound(*cid))),
        }
    }

    /// Has all blocks here.
    async fn bring(&self, root: Item, meter: &Meter) -> Result<()> {
        let keeper = self.pins.keeper();
        // Through the guard, so that what is found is known to be asked for.
        let store = self.pins.node.store();
        let site = Site { store, ..keeper.site.clone() };
        let reach = Reach::new(site, Leaves::Check, meter.clone());
        reach.run(vec![root]).await?;
        match reach.lacking().await {
            Err(Error::Incomplete { .. }) if self.fetch => {}
            whole => return whole,
        }
        let mut fetching = self.fetching(&root.cid).follow(root.follow).start();
        let mut counted = meter.read();
        while let Some(progress) = fetching.next().await {
            let blocks = progress.here_blocks + progress.fetched_blocks;
            let bytes = progress.here_bytes + progress.fetched_bytes;
            meter.blocks(blocks.saturating_sub(counted.blocks));
            meter.bytes(bytes.saturating_sub(counted.bytes));
            counted = meter.read();
        }
        fetching.await.map(drop)
    }

    fn fetching(&self, cid: &Cid) -> Fetch {
        let fetch = self.pins.node.fetch(cid).providers(self.providers.clone());
        fetch.timeout(self.timeout)
    }

    fn tell(&self, pin: &Pin) {
        let name = pin.name.as_deref().map(Arc::from);
        self.pins.node.emit(NodeEvent::Pinned { root: pin.cid, name });
        let dropped = self.replaces.filter(|old| !self.keeps_old && *old != pin.cid);
        if let Some(root) = dropped {
            self.pins.node.emit(NodeEvent::Unpinned { root });
        }
    }

    /// Puts the pin into the place of the one that was there, and of the one that is replaced.
    async fn commit(&self, cid: Cid, kept: &TemporaryPin) -> Result<Pin> {
        let (datastore, key) = (&self.pins.keeper().datastore, record::key(&cid));
        let created = whole_seconds(self.pins.node.runtime().wall());
        loop {
            let before = datastore.get(&key).await?;
            if let Some(before) = &before
                && self.mode == PinMode::Direct
                && record::decode(before)?.is_recursive()
            {
                return Err(Error::Exists(format!("a recursive pin of {cid}")));
            }
            let (name, metadata) = (self.name.clone(), self.metadata.clone());
            let mut pin = Pin { cid, mode: self.mode, name, metadata, created };
            let mut batch = Batch::new().expect(key.clone(), before);
            if let Some((old, record)) = self.old().await? {
                inherit(&mut pin, &old)?;
                let old_key = record::key(&old.cid);
                if old_key != key {
                    batch = batch.expect(old_key.clone(), Some(record));
                    if !self.keeps_old {
                        batch = batch.delete(old_key);
                    }
                }
            }
            let batch = batch.put(key.clone(), record::encode(&pin)?);
            if datastore.commit(kept.guard(batch).await?).await? {
                return Ok(pin);
            }
        }
    }
}

/// Takes over what is said of the pin that is replaced, unless something else was said.
fn inherit(pin: &mut Pin, old: &Pin) -> Result<()> {
    pin.name = pin.name.take().or_else(|| old.name.clone());
    for (key, value) in &old.metadata {
        pin.metadata.entry(key.clone()).or_insert_with(|| value.clone());
    }
    check_metadata(&pin.metadata)
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<()> {
    let bytes = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > Pins::MAX_METADATA {
        return Err(Error::limit("bytes of the metadata of a pin", Pins::MAX_METADATA, bytes));
    }
    Ok(())
}

/// Says that one block is missing.
pub(super) fn missing(cid: Cid, why: Error) -> Error {
    Error::incomplete(1, vec![Missing::new(cid, why)])
}

/// A time without what a record does not keep.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

impl IntoFuture for AddPin {
    type Output = Result<Pin>;
    type IntoFuture = Work<Pin>;

    fn into_future(self) -> Work<Pin> {
        self.start()
    }
}
