//! DAGs of all kinds, a store that damages blocks, and what should come of a walk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{TryStreamExt, stream::BoxStream};
use ipfs_core::{
    Block, Blockstore, Cid, Error, Follow, HashTable, Ipld, Multihash, Node, Result, async_trait,
    codes,
    memory::MemoryStore,
    unixfs::{Chunker, Params},
};
use ipld_git::{Mode, ObjectFormat, TreeBuilder, blob, cid_of};

use crate::{content, numbers::Numbers};

/// A codec that no node has.
pub(super) const UNKNOWN: u64 = 0x30_0000;

/// A block, and the links of it that lead on.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) block: Block,
    links: Vec<Cid>,
    /// Those of them that lead to submodules.
    submodules: Vec<Cid>,
}

/// All blocks of a run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) blocks: Vec<Known>,
    of_hash: BTreeMap<Multihash, usize>,
    pub(super) store: Arc<Damaging>,
}

/// What a walk comes to.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// What is here, or was looked for.
    pub(super) reached: BTreeSet<Cid>,
    pub(super) lacking: BTreeSet<Cid>,
}

/// What is looked at, as far as the model has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Blocks without links are not looked for.
    Links,
    All,
    /// All are hashed.
    Bytes,
}

impl World {
    pub(super) async fn make(node: &Node, store: Arc<Damaging>, numbers: &mut Numbers) -> Self {
        let mut world = Self { blocks: Vec::new(), of_hash: BTreeMap::new(), store };
        for number in 0..4 {
            world.insert(Block::of(codes::RAW, codes::SHA2_256, vec![number], node.hashes()));
        }
        let params = Params { chunker: Chunker::Fixed(50), max_links: 3, ..Params::default() };
        let file = node.unixfs().params(params).add_bytes(content::bytes(numbers.next(), 400));
        let file = file.await.unwrap().cid;
        let blocks: Vec<Block> = node.dag().walk(&file).try_collect().await.unwrap();
        blocks.into_iter().rev().for_each(|block| world.insert(Ok(block)));
        let strange = Block::of(UNKNOWN, codes::SHA2_256, "strange", node.hashes());
        if numbers.below(2) == 0 {
            world.insert(strange);
        }
        for number in 0..14 {
            match numbers.below(5) {
                0 => world.insert(git_tree(&world, numbers)),
                _ => world.insert(list(&world, node, number, numbers)),
            }
        }
        // The same bytes by another codec.
        let raw = |known: &Known| as_raw(known.block.cid());
        let last = world.blocks.last().map(raw).unwrap();
        let link = Ipld::List(vec![Ipld::Link(last)]);
        world.insert(node.codecs().encode(codes::DAG_CBOR, codes::SHA2_256, &link, node.hashes()));
        world
    }

    fn insert(&mut self, block: Result<Block>) {
        let block = block.unwrap();
        if self.of_hash.contains_key(block.hash()) {
            return;
        }
        let (links, submodules) = links(&block);
        self.of_hash.insert(*block.hash(), self.blocks.len());
        self.blocks.push(Known { block, links, submodules });
    }

    pub(super) fn any(&self, numbers: &mut Numbers) -> Cid {
        // Those that came last link to most.
        let count = self.blocks.len() as u64;
        let place = count - 1 - numbers.below(count).min(numbers.below(count));
        let cid = *self.blocks[place as usize].block.cid();
        if numbers.below(16) == 0 { as_raw(&cid) } else { cid }
    }

    pub(super) fn walk(&self, root: Cid, follow: Follow, look: Look) -> Walked {
        let mut walked = Walked::default();
        let mut next = vec![root];
        while let Some(cid) = next.pop() {
            if !walked.reached.insert(cid) {
                continue;
            }
            let (is_raw, health) = (cid.codec() == codes::RAW, self.store.health(cid.hash()));
            let lacks = match health {
                _ if cid.codec() == UNKNOWN => true,
                _ if is_raw && look == Look::Links => false,
                Health::Missing => true,
                Health::Damaged => !is_raw || look == Look::Bytes,
                Health::Good => false,
            };
            if lacks {
                walked.lacking.insert(cid);
            } else if !is_raw {
                let known = &self.blocks[self.of_hash[cid.hash()]];
                let leads = |link: &&Cid| follow == Follow::All || !known.submodules.contains(link);
                next.extend(known.links.iter().filter(leads));
            }
        }
        walked
    }
}

pub(super) fn as_raw(cid: &Cid) -> Cid {
    Cid::new_v1(codes::RAW, *cid.hash())
}

/// A value that links to a few blocks, mostly to those before it.
fn list(world: &World, node: &Node, number: i128, numbers: &mut Numbers) -> Result<Block> {
    let mut entries = vec![Ipld::Integer(number)];
    for _ in 0..1 + numbers.below(4) {
        entries.push(Ipld::Link(world.any(numbers)));
    }
    let codec = if numbers.below(3) == 0 { codes::DAG_JSON } else { codes::DAG_CBOR };
    node.codecs().encode(codec, codes::SHA2_256, &Ipld::List(entries), node.hashes())
}

/// A tree with a file, and one with a submodule that may be here or not.
fn git_tree(world: &World, numbers: &mut Numbers) -> Result<Block> {
    let format = ObjectFormat::Sha1;
    let git =
        world.blocks.iter().map(|known| &known.block).filter(|b| b.cid().codec() == codes::GIT_RAW);
    let git: Vec<&Block> = git.collect();
    let object = blob(&numbers.next().to_le_bytes());
    let id = format.hash(&object).unwrap();
    if git.is_empty() || numbers.below(3) == 0 {
        return Block::verify(cid_of(&id), object.into(), &HashTable::standard());
    }
    let id_of = |block: &Block| format.hash(block.data()).unwrap();
    let some = |numbers: &mut Numbers| id_of(git[numbers.below(git.len() as u64) as usize]);
    let mut tree = TreeBuilder::new(format).entry(Mode::FILE, "file", some(numbers));
    tree.push(Mode::SUBMODULE, "sub", if numbers.below(2) == 0 { id } else { some(numbers) });
    let tree = tree.build().unwrap();
    let cid = cid_of(&format.hash(&tree).unwrap());
    Block::verify(cid, tree.into(), &HashTable::standard())
}

fn links(block: &Block) -> (Vec<Cid>, Vec<Cid>) {
    let mut codecs = ipfs_core::standard_codecs();
    codecs.insert(ipfs_core::Static::<ipld_git::GitCodec>::new());
    if block.cid().codec() == UNKNOWN {
        return (Vec::new(), Vec::new());
    }
    let links = codecs.links(block).unwrap();
    let mut submodules = Vec::new();
    if let (codes::GIT_RAW, Ok(Ipld::Map(tree))) = (block.cid().codec(), codecs.decode(block))
        && let Some(Ipld::Map(entry)) = tree.get("sub")
        && let Some(Ipld::Link(cid)) = entry.get("hash")
    {
        submodules.push(*cid);
    }
    (links, submodules)
}

/// How a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    Damaged,
    Missing,
}

/// A store in memory that gives blocks back as a damaged disk does.
#[derive(Debug, Default)]
pub(super) struct Damaging {
    store: MemoryStore,
    here: Mutex<BTreeSet<Multihash>>,
    damaged: Mutex<BTreeMap<Multihash, Damage>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    /// It is known to be.
    Known,
    /// Its record cannot be understood.
    Record,
    /// It is what cannot be understood.
    Malformed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Damaging {
    pub(super) fn damage(&self, hash: &Multihash, damage: Damage) {
        lock(&self.damaged).insert(*hash, damage);
    }

    pub(super) fn heal(&self, hash: &Multihash) {
        lock(&self.damaged).remove(hash);
    }

    pub(super) fn health(&self, hash: &Multihash) -> Health {
        match lock(&self.damaged).contains_key(hash) {
            _ if !lock(&self.here).contains(hash) => Health::Missing,
            true => Health::Damaged,
            false => Health::Good,
        }
    }
}

#[async_trait]
impl Blockstore for Damaging {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let damage = |found: (Result<Option<Block>>, &Cid)| {
            let cid = *found.1;
            match (lock(&self.damaged).get(cid.hash()), found.0) {
                (Some(Damage::Known), Ok(Some(_))) => Err(Error::Corrupt(cid)),
                (Some(Damage::Record), Ok(Some(_))) => Err(Error::malformed("record", "torn")),
                (Some(Damage::Malformed), Ok(Some(_))) => {
                    Ok(Some(Block::trusted(cid, vec![0xff; 7].into())))
                }
                (_, found) => found,
            }
        };
        self.store.get_many(cids).await.into_iter().zip(cids).map(damage).collect()
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.store.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        lock(&self.here).extend(blocks.iter().map(|block| *block.hash()));
        self.store.put_many(blocks).await
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        lock(&self.here).retain(|hash| !cids.iter().any(|cid| cid.hash() == hash));
        self.store.delete_many(cids).await
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.store.list()
    }
    async fn flush(&self) -> Result<()> {
        self.store.flush().await
    }
}
