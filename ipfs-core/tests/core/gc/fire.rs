//! Garbage is collected again and again while a node is in use, until it is killed or the power is
//! lost: what something keeps is there afterwards, and whole, and what nothing keeps goes.
//!
//! A seed repeats a run exactly.

mod actors;
mod dags;
mod known;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    path::Path,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures::{
    AsyncReadExt, FutureExt, TryStreamExt,
    future::{self, Either},
    stream::BoxStream,
};
use ipfs_core::{
    Block, Blockstore, Builder, Cid, Datastore, Multihash, Node, Result, RuntimeExt, Usage,
    VirtualRuntime, async_trait,
    blockstore::{PackStore, RedbDatastore, pack},
    memory::{MemoryHub, MemoryStore, peer_id},
};

use self::{
    actors::Run,
    dags::Dags,
    known::{Counts, Entry, Known, OWNERS, Tree},
};
use crate::{
    faulty::{Faulty, TakenOut},
    numbers::Numbers,
    seeds::seeds,
};

const RUNS: u64 = 50;
const LONG_RUNS: u64 = 2000;

#[test]
fn what_is_kept_stays_while_garbage_is_collected() {
    let world = World::new();
    let mut counts = Counts::default();
    for seed in seeds(RUNS, LONG_RUNS) {
        let done = world.run(seed, Flush::Works).unwrap_or_else(|wrong| panic!("{wrong}"));
        counts.add(&done);
    }
    println!("{counts:?}");
    let Counts { collections, deleted, pins, unpins, held, noted, flushes, .. } = counts;
    for count in [collections, deleted, pins, unpins, held, noted, flushes] {
        assert!(count > RUNS / 5, "{counts:?}");
    }
}

#[test]
fn a_seed_repeats_a_run() {
    let world = World::new();
    for seed in 0..3 {
        let runs = [(), ()].map(|()| world.play(seed, Flush::Works));
        assert_eq!(runs[0].files.trace(), runs[1].files.trace(), "{seed}");
    }
}

/// Where nothing is made durable before a pin is, the test above fails.
#[test]
fn a_missing_flush_would_be_seen() {
    let world = World::new();
    let seen = (0..LONG_RUNS).find_map(|seed| world.run(seed, Flush::DoesNothing).err());
    println!("{}", seen.as_deref().unwrap_or("unseen"));
    assert!(seen.is_some());
}

#[test]
fn a_pin_is_durable_with_all_that_it_keeps() {
    let world = World::new();
    for seed in 0..20 {
        let (runtime, mut numbers) = (VirtualRuntime::new(), Numbers(seed));
        let files = Faulty::new(Path::new("/node"), true, TakenOut::Nothing);
        let root = dags::pick(&world.dags.roots, &mut numbers);
        let played = runtime.block_on(async {
            let builder = Node::builder().offline();
            let (node, _) = on(&files, &runtime, Flush::Works, builder).await?;
            node.blocks().put_many(&world.dags.below(&root)).await?;
            node.pins().add(root).await
        });
        played.unwrap().unwrap();
        let files = files.after_power_loss(&mut numbers);
        let checked = runtime.block_on(async {
            let builder = Node::builder().offline();
            let (node, _) = on(&files, &runtime, Flush::Works, builder).await?;
            let pin = node.pins().get(&root).await?.expect("it is durable");
            node.pins().verify().hashing().one(&pin).await
        });
        checked.unwrap().unwrap();
    }
}

/// Whether the store does what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    Works,
    DoesNothing,
}

/// How a run ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The process is killed.
    Kill,
    /// The power is lost.
    PowerLoss,
    /// The power is lost while something is written.
    TornWrite,
    /// All is done, and then the power is lost.
    Done,
}

/// What all runs have.
struct World {
    dags: Dags,
    /// How long a run is that is not ended: in calls of the file system, and in turns.
    calls: u64,
    turns: u64,
}

/// After this time a run is stuck.
const TOO_LONG: Duration = Duration::from_secs(24 * 3600);

/// What is left of a run.
struct Played {
    files: Faulty,
    known: Known,
    turns: u64,
    end: End,
}

impl World {
    fn new() -> Self {
        let runtime = VirtualRuntime::new();
        let dags = runtime.block_on(async {
            let node = Node::builder().runtime(runtime.clone()).offline().spawn().await.unwrap();
            Dags::make(&node).await
        });
        let mut world = Self { dags: dags.unwrap(), calls: u64::MAX, turns: u64::MAX };
        let whole = world.play(3, Flush::Works);
        (world.calls, world.turns) = (whole.files.calls(), whole.turns);
        println!("a run of {} calls and {} turns", world.calls, world.turns);
        world
    }

    /// Plays, and says what is wrong with what is left.
    fn run(&self, seed: u64, flush: Flush) -> Result<Counts, String> {
        let Played { files, known, end, .. } = self.play(seed, flush);
        let failed = |wrong: String| format!("seed {seed}, {end:?}: {wrong}");
        if let Some(wrong) = known.wrong {
            return Err(failed(wrong));
        }
        let survivor = match end {
            End::Kill => files.after_kill(),
            _ => files.after_power_loss(&mut Numbers(seed ^ 0xdead)),
        };
        let runtime = VirtualRuntime::new();
        let checked = runtime.block_on(async {
            let (node, _) = on(&survivor, &runtime, Flush::Works, Node::builder().offline())
                .await
                .map_err(|error| format!("it does not open: {error:?}"))?;
            self.check(&node, &known).await
        });
        checked.unwrap().map_err(failed)?;
        Ok(known.counts)
    }

    fn play(&self, seed: u64, flush: Flush) -> Played {
        let end = [End::Kill, End::PowerLoss, End::TornWrite, End::Done][seed as usize % 4];
        let mut numbers = Numbers(seed);
        let files = Faulty::new(Path::new("/node"), true, TakenOut::Nothing);
        let (mut turns, mut last) = (0, u64::MAX);
        match end {
            End::Kill | End::PowerLoss => last = numbers.below(self.turns),
            End::TornWrite => files.crash_at(numbers.below(self.calls)),
            End::Done => {}
        }
        let known = RefCell::new(Known::default());
        let runtime = VirtualRuntime::new();
        let played = runtime.block_on(async {
            let used = self.used(&runtime, &files, &known, flush, numbers).boxed_local();
            let mut used = future::select(used, runtime.sleep(TOO_LONG));
            poll_fn(|cx| {
                turns += 1;
                match turns > last {
                    true => Poll::Ready(true),
                    false => used.poll_unpin(cx).map(|end| matches!(end, Either::Left(_))),
                }
            })
            .await
        });
        if !played.unwrap() {
            known.borrow_mut().wrong = Some("it does not go on".to_owned());
        }
        Played { files, known: known.into_inner(), turns, end }
    }

    async fn used(
        &self,
        runtime: &VirtualRuntime,
        files: &Faulty,
        known: &RefCell<Known>,
        flush: Flush,
        mut numbers: Numbers,
    ) {
        let hub = MemoryHub::new();
        let builder = |number| Node::builder().network(hub.join(peer_id(number)).unwrap());
        let store = Arc::new(MemoryStore::new());
        store.put_many(&self.dags.blocks()).await.unwrap();
        let other = builder(2).runtime(runtime.clone()).store(store as Arc<dyn Blockstore>);
        let other = other.spawn().await.unwrap();
        // A crash may come before the node is there.
        let Ok((node, below)) = on(files, runtime, flush, builder(1)).await else { return };
        if node.connect(other.peer_id()).await.is_err() {
            return;
        }
        let run = Run { node, below, files: files.clone(), dags: &self.dags, known };
        let mut next = || Numbers(numbers.next());
        let (collector, mut actors) = (next(), Vec::new());
        for _ in 0..2 {
            actors.push(run.import(next()).boxed_local());
            actors.push(run.note(next()).boxed_local());
        }
        actors.push(run.fetch(next()).boxed_local());
        actors.push(run.bring(next()).boxed_local());
        actors.push(run.delete(next()).boxed_local());
        actors.push(run.read(next()).boxed_local());
        actors.push(run.tree(next()).boxed_local());
        actors.push(run.compact(next()).boxed_local());
        actors.extend((0..OWNERS).map(|owner| run.pin(owner, next()).boxed_local()));
        let actors = future::join_all(actors).map(drop);
        run.collect(collector, actors).await;
    }

    /// Says what is wrong with a node that was opened again.
    async fn check(&self, node: &Node, known: &Known) -> Result<(), String> {
        self.check_pins(node, known).await?;
        let tree = check_tree(node, known).await?;
        // Now only what is known keeps something.
        let collected = node.gc().collect().await;
        collected.map_err(|error| format!("the last collection: {error:?}"))?;
        let mut expected = tree;
        let pins: Vec<_> = node.pins().list().try_collect().await.map_err(said)?;
        for pin in pins {
            expected.extend(self.dags.below(&pin.cid).iter().map(|block| *block.hash()));
        }
        let pages: Vec<_> = node.blocks().list().try_collect().await.map_err(said)?;
        let here: BTreeSet<Multihash> = pages.concat().into_iter().map(|(hash, _)| hash).collect();
        if here != expected {
            let (gone, stayed) =
                (expected.difference(&here).count(), here.difference(&expected).count());
            return Err(format!("{gone} that are kept are gone, {stayed} that are not stayed"));
        }
        Ok(())
    }

    /// Every pin is whole, and they are those that they should be.
    async fn check_pins(&self, node: &Node, known: &Known) -> Result<(), String> {
        let mut all = node.pins().verify().hashing().all();
        let mut found = BTreeMap::new();
        while let Some(verified) = all.try_next().await.map_err(said)? {
            verified.whole.map_err(|error| format!("{}: {error:?}", verified.pin.cid))?;
            found.insert(verified.pin.cid, verified.pin.name.unwrap_or_default());
        }
        for (owner, possible) in known.pins.iter().enumerate() {
            let own = self.dags.roots.iter().skip(owner).step_by(OWNERS);
            let own = own.filter_map(|root| found.remove_entry(root)).collect();
            if !possible.allows(&own) {
                return Err(format!("the pins are {own:?}, and should be {possible:?}"));
            }
        }
        match found.is_empty() {
            true => Ok(()),
            false => Err(format!("nobody has pinned {found:?}")),
        }
    }
}

/// The mutable tree holds what it should. Gives its blocks.
async fn check_tree(node: &Node, known: &Known) -> Result<BTreeSet<Multihash>, String> {
    let key = ipfs_core::unixfs::mfs::Options::default().key;
    let Some(root) = node.datastore().get(&key).await.map_err(said)? else {
        return match known.tree.allows(&Tree::new()) {
            true => Ok(BTreeSet::new()),
            false => Err(format!("there is no tree, and there should be {:?}", known.tree)),
        };
    };
    let root = Cid::try_from(&root[..]).map_err(|error| error.to_string())?;
    let blocks: Vec<Block> = node.dag().walk(&root).try_collect().await.map_err(said)?;
    let tree = node.mfs().await.map_err(said)?;
    let mut found = Tree::new();
    let mut entries = tree.list("/").await.map_err(said)?;
    while let Some(entry) = entries.try_next().await.map_err(said)? {
        let name = format!("/{}", entry.name);
        let stat = tree.stat(&name).await.map_err(said)?;
        let is_directory = matches!(stat.kind, ipfs_core::unixfs::StatKind::Directory { .. });
        let mut data = Vec::new();
        if !is_directory {
            let mut file = tree.read(&name).await.map_err(said)?;
            file.read_to_end(&mut data).await.map_err(|error| error.to_string())?;
        }
        found.insert(name, if is_directory { Entry::Directory } else { Entry::File(data) });
    }
    if !known.tree.allows(&found) {
        return Err(format!("the tree is {found:?}, and should be {:?}", known.tree));
    }
    Ok(blocks.iter().map(|block| *block.hash()).collect())
}

/// A node on these files, with small segments and a small index, and the store below it.
async fn on(
    files: &Faulty,
    runtime: &VirtualRuntime,
    flush: Flush,
    builder: Builder,
) -> Result<(Node, Arc<dyn Blockstore>)> {
    let runtime = Arc::new(runtime.clone());
    let mut options = pack::Options::default();
    (options.segment_bytes, options.index_table) = (8 << 10, 50);
    let as_files = || Arc::new(files.clone());
    let store = PackStore::open_on(as_files(), "/node", runtime.clone(), options).await?;
    let datastore = RedbDatastore::open_on(as_files(), "/node/state.redb", runtime.clone()).await?;
    let below: Arc<dyn Blockstore> = match flush {
        Flush::Works => Arc::new(store),
        Flush::DoesNothing => Arc::new(WithoutFlush(store)),
    };
    let builder = builder.runtime(runtime).store(below.clone());
    Ok((builder.datastore(Arc::new(datastore) as Arc<dyn Datastore>).spawn().await?, below))
}

/// A store that makes nothing durable when it is told to.
#[derive(Debug)]
struct WithoutFlush(PackStore);

#[async_trait]
impl Blockstore for WithoutFlush {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.0.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.0.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        self.0.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        self.0.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.0.list()
    }
    async fn flush(&self) -> Result<()> {
        Ok(())
    }
    async fn usage(&self) -> Result<Option<Usage>> {
        self.0.usage().await
    }
    async fn compact(&self) -> Result<()> {
        self.0.compact().await
    }
}

fn said(error: ipfs_core::Error) -> String {
    format!("{error:?}")
}
