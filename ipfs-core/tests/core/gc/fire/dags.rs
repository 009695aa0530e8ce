//! The DAGs of a run, of which all is known.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use ipfs_core::{
    Block, Cid, Ipld, Multihash, Node,
    unixfs::{Chunker, Params},
};

use crate::{content, numbers::Numbers};

/// Files that share leaves, and lists of them and of each other.
#[derive(Debug)]
pub(super) struct Dags {
    pub(super) files: Vec<(Cid, Vec<u8>)>,
    /// The roots of the files, and then those of the lists.
    pub(super) roots: Vec<Cid>,
    blocks: BTreeMap<Multihash, (Block, Vec<Cid>)>,
}

const FILES: u64 = 9;
/// Those of them that share leaves.
const ALIKE: u64 = 3;
const LISTS: u64 = 9;

/// Small blocks, so that there are several levels of them.
pub(super) fn params() -> Params {
    Params { chunker: Chunker::Fixed(200), max_links: 4, ..Params::default() }
}

impl Dags {
    pub(super) async fn make(node: &Node) -> Self {
        let mut numbers = Numbers(1);
        let (mut files, mut roots) = (Vec::new(), Vec::new());
        for number in 0..FILES {
            let mut data = content::bytes(number / ALIKE, 400);
            data.extend(content::bytes(100 + number, 250 * number as usize));
            let added = node.unixfs().params(params()).add_bytes(data.clone()).await.unwrap();
            files.push((added.cid, data));
            roots.push(added.cid);
        }
        for number in 0..LISTS {
            let any = |numbers: &mut Numbers| Ipld::Link(pick(&roots, numbers));
            let links = [any(&mut numbers), Ipld::Integer(number.into()), any(&mut numbers)];
            let root = node.dag().put(&Ipld::List(links.to_vec())).await.unwrap();
            roots.push(root);
        }
        let mut blocks = BTreeMap::new();
        for root in &roots {
            let below: Vec<Block> = node.dag().walk(root).try_collect().await.unwrap();
            for block in below {
                let links = node.codecs().links(&block).unwrap();
                blocks.insert(*block.hash(), (block, links));
            }
        }
        Self { files, roots, blocks }
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        self.blocks.values().map(|(block, _)| block.clone()).collect()
    }

    /// Those that the mutable tree has, and nobody deletes: a tree does not keep its blocks from that.
    pub(super) fn of_tree(&self) -> &[(Cid, Vec<u8>)] {
        &self.files[(FILES - ALIKE) as usize..]
    }

    /// Those that may be deleted.
    pub(super) fn deletable(&self) -> Vec<Block> {
        let below = self.of_tree().iter().flat_map(|(root, _)| self.below(root));
        let of_tree: BTreeSet<Multihash> = below.map(|block| *block.hash()).collect();
        self.blocks().into_iter().filter(|block| !of_tree.contains(block.hash())).collect()
    }

    /// All blocks below a root, each after the one that links to it.
    pub(super) fn below(&self, root: &Cid) -> Vec<Block> {
        let (mut below, mut seen) = (Vec::new(), BTreeSet::from([*root.hash()]));
        let mut next = vec![*root.hash()];
        while let Some(hash) = next.pop() {
            let (block, links) = &self.blocks[&hash];
            below.push(block.clone());
            next.extend(links.iter().map(|link| *link.hash()).filter(|link| seen.insert(*link)));
        }
        below
    }
}

/// One of several.
pub(super) fn pick<T: Clone>(all: &[T], numbers: &mut Numbers) -> T {
    all[numbers.below(all.len() as u64) as usize].clone()
}
