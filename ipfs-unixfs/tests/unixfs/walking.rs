//! Walking along links: order, depth, what is visited once, and what it costs.

use std::{collections::HashMap, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use ipfs_traits::{
    Block, BlockSource, Blockstore, Cid, CodecTable, Error, Local, Result, async_trait, codes,
    memory::MemoryStore, work::Event,
};
use ipfs_unixfs::{
    Edge, Walk, WalkOptions, dag_stat,
    dagpb::{self, DagPb, Link},
};
use proptest::{prelude::*, sample::Index};

use crate::{
    content::Desk,
    export::{Watched, put},
};

fn codecs() -> Arc<CodecTable> {
    let mut codecs = CodecTable::new();
    codecs.insert(DagPb);
    Arc::new(codecs)
}

fn options(unique: bool, max_depth: Option<usize>) -> WalkOptions {
    let mut options = WalkOptions::default();
    (options.unique, options.max_depth) = (unique, max_depth);
    options
}

fn walk(desk: &Desk, roots: &[Cid], options: WalkOptions) -> Walk {
    Walk::new(Arc::new(Local(desk.store.clone())), codecs(), roots, options)
}

fn node(desk: &Desk, data: &[u8], links: &[Cid]) -> Cid {
    let names: Vec<String> = (0..links.len()).map(|at| at.to_string()).collect();
    let links = std::iter::zip(links, &names);
    let links: Vec<Link<'_>> = links
        .map(|(cid, name)| Link { cid: *cid, name: Some(name.as_bytes()), tsize: None })
        .collect();
    *put(desk, codes::DAG_PB, dagpb::encode(links, Some(data))).cid()
}

/// Blocks, each linking to some of those before it.
fn dag(desk: &Desk, links: &[Vec<Index>]) -> (Vec<Cid>, HashMap<Cid, Vec<Cid>>) {
    let mut all: Vec<Cid> = Vec::new();
    let mut below = HashMap::new();
    for (number, links) in links.iter().enumerate() {
        let links: Vec<Cid> = match all.len() {
            0 => Vec::new(),
            count => links.iter().map(|link| all[link.index(count)]).collect(),
        };
        let cid = node(desk, &number.to_be_bytes(), &links);
        below.insert(cid, links);
        all.push(cid);
    }
    (all, below)
}

/// Kubo's rules for `refs`, said once more and without any reading ahead.
struct Rules<'a> {
    below: &'a HashMap<Cid, Vec<Cid>>,
    unique: bool,
    max_depth: Option<usize>,
    seen: HashMap<Cid, usize>,
    found: Vec<(Cid, Cid, String)>,
}

impl Rules<'_> {
    fn refs(&mut self, from: Cid, depth: usize) {
        for (at, to) in self.below[&from].clone().into_iter().enumerate() {
            if self.max_depth.is_some_and(|most| depth > most) {
                continue;
            }
            let before = self.seen.get(&to).copied();
            if self.unique {
                if before.is_some_and(|seen| self.max_depth.is_none() || seen <= depth) {
                    continue;
                }
                self.seen.insert(to, depth);
            }
            if !self.unique || before.is_none() {
                self.found.push((from, to, at.to_string()));
            }
            if self.max_depth != Some(depth) {
                self.refs(to, depth + 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn refs_as_kubo_gives_them(
        links in prop::collection::vec(prop::collection::vec(any::<Index>(), 0..4), 1..10),
        unique: bool,
        max_depth in prop::option::of(0..5_usize),
    ) {
        let desk = Desk::new();
        let (all, below) = dag(&desk, &links);
        let root = *all.last().unwrap();
        let (seen, found) = (HashMap::new(), Vec::new());
        let mut rules = Rules { below: &below, unique, max_depth, seen, found };
        rules.refs(root, 1);
        let edges: Vec<Edge> =
            desk.run(walk(&desk, &[root], options(unique, max_depth)).edges().try_collect()).unwrap();
        let edges: Vec<(Cid, Cid, String)> =
            edges.into_iter().map(|edge| (edge.from, edge.to, edge.name.to_string())).collect();
        prop_assert_eq!(edges, rules.found);
    }
}

/// A block a level, and more ways through them than anybody can go.
#[test]
fn a_bomb_of_links_is_a_limit() {
    let desk = Desk::new();
    let mut root = node(&desk, b"", &[]);
    for _ in 0..64 {
        root = node(&desk, b"", &[root; 10]);
    }
    let once: Vec<_> = desk.run(walk(&desk, &[root], options(true, None)).try_collect()).unwrap();
    assert_eq!(once.len(), 65);
    let mut bounded = options(false, None);
    bounded.max_visits = 10_000;
    let mut walk = walk(&desk, &[root], bounded);
    let mut visits = 0;
    let error = desk.run(async {
        loop {
            match walk.try_next().await {
                Ok(Some(_)) => visits += 1,
                Ok(None) => panic!("it ended"),
                Err(error) => break error,
            }
        }
    });
    assert!(matches!(error, Error::Limit { limit: 10_000, actual: 10_001, .. }), "{error}");
    assert_eq!(visits, 10_000);
}

/// A chain as long as a history, and a block with many links at each of its ends.
#[test]
fn a_chain_of_any_length_is_walked() {
    let desk = Desk::new();
    let leaves: Vec<Cid> =
        (0..300_u32).map(|i| *put(&desk, codes::RAW, i.to_be_bytes().to_vec()).cid()).collect();
    let mut root = node(&desk, b"end", &leaves);
    for i in 0..20_000_u32 {
        root = node(&desk, &i.to_be_bytes(), &[leaves[0], root]);
    }
    let count = desk.run(async {
        let mut walk = walk(&desk, &[root], WalkOptions::default());
        let mut count = 0;
        while walk.try_next().await.unwrap().is_some() {
            count += 1;
        }
        count
    });
    assert_eq!(count, 20_001 + 300);
}

/// What is linked to again and again is asked for once; what is far off is not asked for yet.
#[test]
fn a_walk_reads_ahead_and_not_without_end() {
    let desk = Desk::new();
    let leaf = *put(&desk, codes::RAW, b"same".to_vec()).cid();
    let same = node(&desk, b"", &[leaf; 1000]);
    let others: Vec<Cid> =
        (0..5000_u32).map(|i| *put(&desk, codes::RAW, i.to_be_bytes().to_vec()).cid()).collect();
    let root = node(&desk, b"", &[vec![same], others].concat());
    let (source, asked) = Watched::new(&desk);
    let mut walk = Walk::new(Arc::new(source), codecs(), &[root], WalkOptions::default());
    desk.run(async {
        for _ in 0..3 {
            walk.try_next().await.unwrap().unwrap();
        }
        let count = asked.lock().unwrap().len();
        assert!((100..700).contains(&count), "{count} blocks for three");
        assert_eq!(walk.try_fold(0, |count, _| async move { Ok(count + 1) }).await.unwrap(), 5000);
        let asked = asked.lock().unwrap();
        let again = asked.iter().filter(|(cid, count)| **cid != leaf && **count > 1).count();
        assert_eq!(again, 0);
        assert!(asked[&leaf] < 10, "{} times for a thousand links", asked[&leaf]);
    });
}

#[test]
fn a_walk_that_misses_a_block_says_so_in_its_place() {
    let desk = Desk::new();
    let leaves: Vec<Cid> = (0..9_u8).map(|i| *put(&desk, codes::RAW, vec![i]).cid()).collect();
    let root = node(&desk, b"", &leaves);
    desk.run(desk.store.delete_many(&[leaves[4]])).unwrap();
    let mut all = walk(&desk, &[root], WalkOptions::default());
    desk.run(async {
        for _ in 0..5 {
            all.try_next().await.unwrap().unwrap();
        }
        let error = all.try_next().await.unwrap_err();
        assert!(matches!(error, Error::NotFound(cid) if cid == leaves[4]));
        assert!(all.try_next().await.unwrap().is_none());
    });
    let stat = desk.run(dag_stat(Arc::new(Local(desk.store.clone())), codecs(), &[root]));
    assert!(matches!(stat, Err(Error::NotFound(cid)) if cid == leaves[4]));
    let cbor = *put(&desk, codes::DAG_CBOR, vec![0xa0]).cid();
    let unknown: Result<Vec<_>> =
        desk.run(walk(&desk, &[cbor], WalkOptions::default()).try_collect());
    assert!(matches!(unknown, Err(Error::UnknownCodec(codes::DAG_CBOR))));
}

/// A source that is never ready at once.
#[derive(Debug)]
struct Slow(Local<Arc<MemoryStore>>);

#[async_trait]
impl BlockSource for Slow {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.0.get(cid).await
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let slowly = |answer| async move {
            for _ in 0..9 {
                tokio::task::yield_now().await;
            }
            answer
        };
        self.0.get_many(cids).then(slowly).boxed()
    }
}

#[test]
fn what_dags_share_is_counted() {
    let desk = Desk::new();
    let size = |cid: &Cid| {
        let found = desk.run(desk.store.get_many(&[*cid]));
        found[0].as_ref().unwrap().as_ref().map_or(0, Block::len) as u64
    };
    let leaf = |i: u8| *put(&desk, codes::RAW, vec![i; 100]).cid();
    let (a, b, c) = (leaf(1), leaf(2), leaf(3));
    let one = node(&desk, b"one", &[a, b, a]);
    let two = node(&desk, b"two", &[b, c]);
    let source = Arc::new(Slow(Local(desk.store.clone())));
    let mut work = dag_stat(source, codecs(), &[one, two]);
    let stat = desk.run(async {
        let mut told = 0;
        loop {
            match work.try_next().await.unwrap().unwrap() {
                Event::Progress(progress) => told = told.max(progress.blocks),
                Event::Done(stat) => {
                    assert!(told > 0);
                    break stat;
                }
            }
        }
    });
    let expected = [(one, 3, size(&one) + 200), (two, 3, size(&two) + 200)];
    for (root, expected) in std::iter::zip(&stat.roots, expected) {
        assert_eq!((root.cid, root.blocks, root.bytes), expected);
    }
    assert_eq!((stat.blocks, stat.unique_blocks), (6, 5));
    assert_eq!(stat.shared_bytes(), 100);
    assert!((stat.ratio() - stat.bytes as f64 / (stat.bytes - 100) as f64).abs() < 1e-9);
}
