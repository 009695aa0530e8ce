//! Each suite on plugs that break one promise each: it has to see every one of them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures::{
    FutureExt, StreamExt,
    executor::block_on,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use ipfs_traits::{
    Batch, Block, BlockSource, Blockstore, Bytes, Cid, Codec, Datastore, Error, Exchange, Inbound,
    Ipld, Local, Multiaddr, Network, NetworkStats, PeerId, PeerInfo, Protection, Result, Routing,
    Runtime, Session, Static, Task, VirtualRuntime, async_trait, conformance,
    conformance::Violation,
    memory::{MemoryDatastore, MemoryHub, MemoryNetwork, MemoryStore, peer_id},
    network::{Event, Protocol, Stream},
};
use ipfs_traits::{Multihash, limits};
use serde_ipld_dagcbor::codec::DagCborCodec;

use super::conformance::{some_values, store_of};

/// Says which promise was broken, and fails if none was seen to be.
fn caught<F: std::fmt::Debug + Copy>(fault: F, verdict: Result<(), Violation>) {
    let violation = verdict.expect_err(&format!("{fault:?} went unseen"));
    println!("{fault:?}: {violation}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum StoreFault {
    None,
    AbsenceIsAnError,
    ForgetsUnflushed,
    CidAsFirstPut,
    KeyedByCid,
    WrongOrder,
    DeleteOnFlush,
    DeletesAll,
    ListsTwice,
    ListSkips,
    OnePage,
    WrongSizes,
    RefusesEmpty,
    TakesTooLarge,
    LosesPartOfBatch,
    UsageIsWrong,
    CompactLoses,
}

/// A store with one fault.
#[derive(Debug)]
struct Store {
    fault: StoreFault,
    inner: Arc<MemoryStore>,
    unflushed: Mutex<Vec<Cid>>,
    first_cids: Mutex<Vec<Cid>>,
    /// Held by every handle, and not let go of on close.
    _lock: Arc<()>,
}

impl Store {
    fn new(fault: StoreFault) -> Self {
        Self::locked(fault, Arc::default(), Arc::default())
    }
    fn locked(fault: StoreFault, inner: Arc<MemoryStore>, lock: Arc<()>) -> Self {
        Self {
            fault,
            inner,
            unflushed: Mutex::default(),
            first_cids: Mutex::default(),
            _lock: lock,
        }
    }
    fn open(inner: &Arc<MemoryStore>, lock: &Arc<()>) -> Result<Self> {
        match Arc::strong_count(lock) {
            1 => Ok(Self::locked(StoreFault::None, inner.clone(), lock.clone())),
            _ => Err(Error::InUse("the store".into())),
        }
    }
    fn has(&self, fault: StoreFault) -> bool {
        self.fault == fault
    }
    fn hidden(&self, cid: &Cid) -> bool {
        self.has(StoreFault::ForgetsUnflushed) && self.unflushed.lock().unwrap().contains(cid)
    }
    fn rekey(&self, cid: &Cid) -> Cid {
        let first = self.first_cids.lock().unwrap();
        let first = first.iter().find(|first| first.hash() == cid.hash());
        *first.filter(|_| self.has(StoreFault::CidAsFirstPut)).unwrap_or(cid)
    }
}

#[async_trait]
impl Blockstore for Store {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let mut found = self.inner.get_many(cids).await;
        for (cid, found) in cids.iter().zip(&mut found) {
            let other_cid =
                self.has(StoreFault::KeyedByCid) && !self.first_cids.lock().unwrap().contains(cid);
            if self.hidden(cid) || other_cid {
                *found = Ok(None);
            }
            if self.has(StoreFault::AbsenceIsAnError) && matches!(found, Ok(None)) {
                *found = Err(Error::NotFound(*cid));
            }
            if let Ok(Some(block)) = found {
                *block = Block::trusted(self.rekey(cid), block.data().clone());
            }
        }
        if self.has(StoreFault::WrongOrder) {
            found.reverse();
        }
        found
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        let more = u64::from(self.has(StoreFault::WrongSizes));
        let sizes = self.inner.sizes(cids).await?.into_iter();
        Ok(sizes.map(|size| size.map(|size| size + more)).collect())
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        if self.has(StoreFault::RefusesEmpty) && blocks.iter().any(Block::is_empty) {
            return Err(Error::invalid("block", "it is empty"));
        }
        let cids = blocks.iter().map(|block| *block.cid());
        self.unflushed.lock().unwrap().extend(cids.clone());
        self.first_cids.lock().unwrap().extend(cids);
        if self.has(StoreFault::TakesTooLarge)
            && blocks.iter().any(|block| block.len() > limits::MAX_STORED_BLOCK)
        {
            return Ok(());
        }
        let keep = blocks.len()
            - usize::from(self.has(StoreFault::LosesPartOfBatch)).min(blocks.len() / 10);
        self.inner.put_many(&blocks[..keep]).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        match self.fault {
            StoreFault::DeleteOnFlush => Ok(()),
            StoreFault::DeletesAll => {
                let all = self.inner.list().next().await.unwrap_or(Ok(Vec::new()))?;
                let all: Vec<Cid> = all.iter().map(|(hash, _)| Cid::new_v1(0x55, *hash)).collect();
                self.inner.delete_many(&all).await
            }
            _ => self.inner.delete_many(cids).await,
        }
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        let fault = self.fault;
        match fault {
            StoreFault::ListsTwice => self.inner.list().chain(self.inner.list()).boxed(),
            StoreFault::ListSkips => self.inner.list().skip(1).boxed(),
            StoreFault::OnePage => {
                let pages = self.inner.list();
                async move {
                    let pages: Vec<_> = pages.map(Result::unwrap).collect().await;
                    Ok(pages.concat())
                }
                .into_stream()
                .boxed()
            }
            _ => self.inner.list(),
        }
    }
    async fn flush(&self) -> Result<()> {
        self.unflushed.lock().unwrap().clear();
        Ok(())
    }
    async fn usage(&self) -> Result<Option<ipfs_traits::Usage>> {
        let usage = self.inner.usage().await?;
        let more = u64::from(self.has(StoreFault::UsageIsWrong));
        Ok(usage.map(|usage| ipfs_traits::Usage::of_bytes(usage.bytes + more)))
    }
    async fn compact(&self) -> Result<()> {
        if self.has(StoreFault::CompactLoses) {
            let some = self.inner.list().next().await.unwrap_or(Ok(Vec::new()))?;
            self.inner.delete_many(&[Cid::new_v1(0x55, some[0].0)]).await?;
        }
        Ok(())
    }
}

#[test]
fn wrong_stores_are_caught() {
    use StoreFault as F;
    let run = |fault| block_on(conformance::blockstore(|| async move { Ok(Store::new(fault)) }));
    run(F::None).unwrap();
    for fault in [
        F::AbsenceIsAnError,
        F::ForgetsUnflushed,
        F::CidAsFirstPut,
        F::KeyedByCid,
        F::WrongOrder,
        F::DeleteOnFlush,
        F::DeletesAll,
        F::ListsTwice,
        F::ListSkips,
        F::OnePage,
        F::WrongSizes,
        F::RefusesEmpty,
        F::TakesTooLarge,
        F::LosesPartOfBatch,
        F::UsageIsWrong,
        F::CompactLoses,
    ] {
        caught(fault, run(fault));
    }
    let forgets = block_on(conformance::blockstore_reopen(|| async { Ok(MemoryStore::new()) }));
    caught("a store that forgets", forgets);
    let (inner, lock) = (Arc::default(), Arc::new(()));
    let keeps = block_on(conformance::blockstore_reopen(|| async { Store::open(&inner, &lock) }));
    caught("a store that keeps its lock", keeps);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum TableFault {
    None,
    IgnoresExpectations,
    HalfOfABatch,
    FirstWriteHolds,
    NoBounds,
    ScanUnsorted,
    ScanIgnoresPrefix,
    OnePage,
    EmptyIsAbsent,
}

/// A datastore with one fault.
#[derive(Debug)]
struct Table(TableFault, MemoryDatastore);

#[async_trait]
impl Datastore for Table {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.1.get(key).await?;
        Ok(found.filter(|value| self.0 != TableFault::EmptyIsAbsent || !value.is_empty()))
    }
    fn scan(&self, prefix: &[u8]) -> BoxStream<'static, Result<Vec<(Bytes, Bytes)>>> {
        match self.0 {
            TableFault::ScanIgnoresPrefix => self.1.scan(b""),
            TableFault::ScanUnsorted => {
                let reverse = |page: Result<Vec<_>>| page.map(|p| p.into_iter().rev().collect());
                self.1.scan(prefix).map(reverse).boxed()
            }
            TableFault::OnePage => {
                let pages = self.1.scan(prefix);
                async move { Ok(pages.map(Result::unwrap).concat().await) }.into_stream().boxed()
            }
            _ => self.1.scan(prefix),
        }
    }
    async fn commit(&self, batch: Batch) -> Result<bool> {
        let rebuilt = |writes: Vec<(Bytes, Option<Bytes>)>,
                       expected: Vec<(Bytes, Option<Bytes>)>| {
            let batch = expected.into_iter().fold(Batch::new(), |b, (k, v)| b.expect(k, v));
            writes.into_iter().fold(batch, |b, (key, value)| match value {
                Some(value) => b.put(key, value),
                None => b.delete(key),
            })
        };
        let expected = || batch.expectations().map(|(k, v)| (k.clone(), v.cloned())).collect();
        let writes: Vec<_> = batch.clone().into_writes().collect();
        let changed = match self.0 {
            TableFault::IgnoresExpectations => rebuilt(writes, Vec::new()),
            TableFault::HalfOfABatch => {
                rebuilt(writes[..writes.len().div_ceil(2)].into(), expected())
            }
            TableFault::FirstWriteHolds => rebuilt(writes.into_iter().rev().collect(), expected()),
            TableFault::NoBounds => {
                let small = |(k, _): &(Bytes, Option<Bytes>)| k.len() <= Batch::MAX_KEY;
                let cut = |(k, v): (Bytes, Option<Bytes>)| {
                    (k, v.map(|v| v.slice(..v.len().min(Batch::MAX_VALUE))))
                };
                rebuilt(writes.into_iter().filter(small).map(cut).collect(), expected())
            }
            _ => batch,
        };
        self.1.commit(changed).await
    }
}

#[test]
fn wrong_datastores_are_caught() {
    use TableFault as F;
    let make = |fault| async move { Ok(Table(fault, MemoryDatastore::new())) };
    let run = |fault| block_on(conformance::datastore(|| make(fault)));
    run(F::None).unwrap();
    for fault in [
        F::IgnoresExpectations,
        F::HalfOfABatch,
        F::FirstWriteHolds,
        F::NoBounds,
        F::ScanUnsorted,
        F::ScanIgnoresPrefix,
        F::OnePage,
        F::EmptyIsAbsent,
    ] {
        caught(fault, run(fault));
    }
    let forgets = block_on(conformance::datastore_reopen(|| async { Ok(MemoryDatastore::new()) }));
    caught("a datastore that forgets", forgets);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SourceFault {
    None,
    NoInline,
    AnswersOnce,
    WrongBlock,
    TakesAll,
    NeverEnough,
    CountsTooFew,
    WantsForever,
    NoSecondClose,
}

/// A source, a session and an exchange with one fault.
#[derive(Clone, Debug)]
struct Fetch {
    fault: SourceFault,
    inner: Local<Arc<MemoryStore>>,
    closed: Arc<AtomicBool>,
}

impl Fetch {
    async fn new(fault: SourceFault, blocks: Vec<Block>) -> Result<Self> {
        Ok(Self { fault, inner: Local(store_of(&blocks).await?), closed: Arc::default() })
    }
}

#[async_trait]
impl BlockSource for Fetch {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        match self.fault {
            SourceFault::NoInline if cid.hash().code() == 0 => Err(Error::NotFound(*cid)),
            _ => self.inner.get(cid).await,
        }
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        match self.fault {
            SourceFault::AnswersOnce => {
                let mut seen = std::collections::BTreeSet::new();
                let once = cids.filter(move |cid| std::future::ready(seen.insert(*cid)));
                self.inner.get_many(once.boxed())
            }
            SourceFault::WrongBlock => {
                let mut last: Option<Block> = None;
                let shift = move |(cid, block): (Cid, Result<Block>)| {
                    let block = block.unwrap();
                    let given = last.replace(block.clone()).unwrap_or(block);
                    (cid, Ok(given))
                };
                self.inner.get_many(cids).map(shift).boxed()
            }
            SourceFault::TakesAll => {
                let source = self.inner.clone();
                async move { source.get_many(stream::iter(cids.collect::<Vec<_>>().await).boxed()) }
                    .flatten_stream()
                    .boxed()
            }
            SourceFault::NeverEnough => self.inner.get_many(cids).take(100).boxed(),
            _ => self.inner.get_many(cids),
        }
    }
}

impl Session for Fetch {
    fn stats(&self) -> ipfs_traits::SessionStats {
        let mut stats = ipfs_traits::SessionStats::default();
        stats.blocks = u64::from(self.fault == SourceFault::CountsTooFew);
        stats.wanted = u64::from(self.fault == SourceFault::WantsForever);
        stats
    }
}

#[async_trait]
impl Exchange for Fetch {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(self.clone())
    }
    async fn close(&self) -> Result<()> {
        let again = self.closed.swap(true, Ordering::Relaxed);
        match again && self.fault == SourceFault::NoSecondClose {
            true => Err(Error::Closed("the exchange")),
            false => Ok(()),
        }
    }
}

#[test]
fn wrong_sources_and_exchanges_are_caught() {
    use SourceFault as F;
    let source = |fault| block_on(conformance::source(|blocks| Fetch::new(fault, blocks)));
    let exchange = |fault| block_on(conformance::exchange(|blocks| Fetch::new(fault, blocks)));
    source(F::None).unwrap();
    exchange(F::None).unwrap();
    for fault in [F::NoInline, F::AnswersOnce, F::WrongBlock, F::TakesAll, F::NeverEnough] {
        caught(fault, source(fault));
        caught(fault, exchange(fault));
    }
    for fault in [F::CountsTooFew, F::WantsForever, F::NoSecondClose] {
        caught(fault, exchange(fault));
    }
}

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

#[derive(Clone, Copy, Debug, PartialEq)]
enum CodecFault {
    MissesLinks,
    NotDeterministic,
    LosesInformation,
    WrongError,
}

#[derive(Debug)]
struct Faulty(CodecFault, Static<DagCborCodec>, AtomicBool);

impl Codec for Faulty {
    fn code(&self) -> u64 {
        self.1.code()
    }
    fn links(&self, cid: &Cid, data: &[u8], out: &mut dyn FnMut(Cid)) -> Result<()> {
        match self.0 {
            CodecFault::MissesLinks => Ok(()),
            _ => self.1.links(cid, data, out),
        }
    }
    fn decode(&self, cid: &Cid, data: &Bytes) -> Result<Ipld> {
        let value = self.1.decode(cid, data);
        match self.0 {
            CodecFault::WrongError => value.map_err(|_| Error::Closed("the codec")),
            CodecFault::LosesInformation if matches!(value, Ok(Ipld::String(_))) => Ok(Ipld::Null),
            _ => value,
        }
    }
    fn encode(&self, value: &Ipld) -> Result<Bytes> {
        let data = self.1.encode(value)?;
        if self.0 == CodecFault::NotDeterministic && self.2.fetch_xor(true, Ordering::Relaxed) {
            return self.1.encode(&Ipld::List(vec![value.clone()]));
        }
        Ok(data)
    }
}

#[test]
fn wrong_codecs_are_caught() {
    use CodecFault as F;
    for fault in [F::MissesLinks, F::NotDeterministic, F::LosesInformation, F::WrongError] {
        let codec = Faulty(fault, Static::new(), AtomicBool::new(false));
        caught(fault, conformance::codec(&codec, &some_values()));
    }
    caught("no values", conformance::codec(&Static::<DagCborCodec>::new(), &[]));
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ClockFault {
    WakesEarly,
    NeverAborts,
    LosesBlocking,
    GoesBack,
}

/// A runtime with one fault, over a virtual one.
#[derive(Debug)]
struct Clock(ClockFault, VirtualRuntime, AtomicBool);

impl Runtime for Clock {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        if self.0 == ClockFault::NeverAborts {
            self.1.spawn(future).detach();
            return Task::new(Box::pin(std::future::ready(()))).0;
        }
        self.1.spawn(future)
    }
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        if self.0 != ClockFault::LosesBlocking {
            self.1.spawn_blocking(work);
        }
    }
    fn sleep_until(&self, t: Instant) -> BoxFuture<'static, ()> {
        match self.0 {
            ClockFault::WakesEarly => Box::pin(std::future::ready(())),
            _ => self.1.sleep_until(t),
        }
    }
    fn now(&self) -> Instant {
        let back = self.0 == ClockFault::GoesBack && self.2.fetch_xor(true, Ordering::Relaxed);
        self.1.now() + Duration::from_secs(if back { 5 } else { 9 })
    }
    fn wall(&self) -> SystemTime {
        self.1.wall()
    }
}

#[test]
fn wrong_runtimes_are_caught() {
    use ClockFault as F;
    for fault in [F::WakesEarly, F::LosesBlocking, F::GoesBack] {
        let inner = VirtualRuntime::new();
        let clock = Arc::new(Clock(fault, inner.clone(), AtomicBool::new(false)));
        caught(fault, inner.block_on(conformance::runtime(clock)).unwrap());
    }
    // A future that is never aborted is one that the suite waits for until nothing is left to run.
    let inner = VirtualRuntime::new();
    let clock = Arc::new(Clock(F::NeverAborts, inner.clone(), AtomicBool::new(false)));
    assert!(inner.block_on(conformance::runtime(clock)).is_err());
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum NetFault {
    None,
    OpensUnconnected,
    NoSnapshot,
    WrongName,
    NoBound,
    NotCounted,
    EndForReset,
    AcceptsTwice,
    WrongProtocol,
}

/// A network with one fault, over one in memory.
#[derive(Debug)]
struct Net(NetFault, MemoryNetwork);

#[async_trait]
impl Network for Net {
    fn local_peer(&self) -> PeerId {
        self.1.local_peer()
    }
    fn addresses(&self) -> Vec<Multiaddr> {
        self.1.addresses()
    }
    async fn connect(&self, peer: &PeerInfo) -> Result<()> {
        self.1.connect(peer).await
    }
    async fn disconnect(&self, peer: PeerId) -> Result<()> {
        self.1.disconnect(peer).await
    }
    async fn open(&self, peer: PeerId, protocols: &[Protocol]) -> Result<Stream> {
        match self.0 {
            NetFault::OpensUnconnected => self.1.connect(&peer.into()).await?,
            NetFault::WrongProtocol => {
                let stream = self.1.open(peer, protocols).await?;
                return Ok(Stream::new(protocols[0].clone(), stream));
            }
            _ => {}
        }
        self.1.open(peer, protocols).await
    }
    fn accept(&self, protocols: &[Protocol], max: usize) -> Result<BoxStream<'static, Inbound>> {
        let max = if self.0 == NetFault::NoBound { max + 1 } else { max };
        let found = self.1.accept(protocols, max);
        if self.0 == NetFault::AcceptsTwice && found.is_err() {
            return Ok(stream::pending().boxed());
        }
        let fault = self.0;
        let spoil = move |inbound: Inbound| match fault {
            NetFault::WrongName => Inbound { peer: peer_id(99), ..inbound },
            NetFault::EndForReset => {
                let protocol = inbound.stream.protocol().clone();
                let stream = Stream::new(protocol, Quiet(inbound.stream));
                Inbound { stream, ..inbound }
            }
            _ => inbound,
        };
        Ok(found?.map(spoil).boxed())
    }
    fn events(&self) -> BoxStream<'static, Event> {
        if self.0 == NetFault::NoSnapshot {
            let news = stream::iter([Event::Gone(peer_id(0))]);
            return news.chain(self.1.events().skip(1)).boxed();
        }
        self.1.events()
    }
    fn protect(&self, peer: PeerId, tag: &'static str, weight: u32) -> Protection {
        self.1.protect(peer, tag, weight)
    }
    fn stats(&self) -> NetworkStats {
        match self.0 {
            NetFault::NotCounted => NetworkStats::default(),
            _ => self.1.stats(),
        }
    }
    async fn close(&self) -> Result<()> {
        self.1.close().await
    }
}

/// A stream that shows a reset as an end.
struct Quiet(Stream);

impl futures::AsyncRead for Quiet {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf).map(|read| read.or(Ok(0)))
    }
}

impl futures::AsyncWrite for Quiet {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_close(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_close(cx)
    }
}

#[test]
fn wrong_networks_are_caught() {
    use NetFault as F;
    let run = |fault| {
        let pair = || async move {
            let hub = MemoryHub::new();
            let net = |n| Ok::<_, Error>(Arc::new(Net(fault, hub.join(peer_id(n))?)));
            let (a, b): (Arc<dyn Network>, Arc<dyn Network>) = (net(1)?, net(2)?);
            Ok((a, b))
        };
        block_on(conformance::network(pair))?;
        block_on(conformance::network_resets(pair))
    };
    run(F::None).unwrap();
    for fault in [
        F::OpensUnconnected,
        F::NoSnapshot,
        F::WrongName,
        F::NoBound,
        F::NotCounted,
        F::EndForReset,
        F::AcceptsTwice,
        F::WrongProtocol,
    ] {
        caught(fault, run(fault));
    }
}
