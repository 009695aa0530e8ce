//! Two nodes that write and one that collects, in any order of their calls: nothing is deleted that
//! one of them keeps.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::join;
use ipfs_core::{Block, Cid, Error, Hold, Node};

use super::{place::Place, raw};
use crate::{numbers::Numbers, seeds::seeds};

/// So few that all want the same.
const BLOCKS: u64 = 12;

/// What a node does one after the other.
const STEPS: u64 = 60;

/// A node that writes, and all that it knows to be kept.
struct Writer {
    node: Node,
    place: Place,
    numbers: Numbers,
    held: Option<(Hold, Vec<Cid>)>,
    /// Which blocks it pins, and which one it has pinned: a pin is one node's, or the other would
    /// remove it.
    parity: u64,
    pinned: Option<Cid>,
}

impl Writer {
    fn block(&mut self) -> Block {
        raw(self.numbers.below(BLOCKS).to_string())
    }

    async fn run(mut self) {
        for _ in 0..STEPS {
            match self.numbers.below(6) {
                0 | 1 => self.hold().await,
                2 => self.look().await,
                3 => self.pin().await,
                4 => {
                    let block = self.block();
                    self.node.blocks().put(block).await.unwrap();
                }
                _ => self.let_go(),
            }
        }
        self.let_go();
    }

    /// From now on nobody may delete it.
    async fn keep(&self, cid: Cid) {
        assert!(self.place.has(&cid).await, "{cid} is gone");
        self.place.kept.lock().unwrap().push(cid);
    }

    fn unkeep(&self, cid: &Cid) {
        let mut kept = self.place.kept.lock().unwrap();
        let place = kept.iter().position(|kept| kept == cid).unwrap();
        kept.swap_remove(place);
    }

    async fn hold(&mut self) {
        let block = self.block();
        let hold = self.held.get_or_insert_with(|| (self.node.hold(), Vec::new())).0.clone();
        self.node.under(&hold).blocks().put(block.clone()).await.unwrap();
        self.note(*block.cid()).await;
    }

    /// Holds what is there already.
    async fn look(&mut self) {
        let cid = *self.block().cid();
        let hold = self.held.get_or_insert_with(|| (self.node.hold(), Vec::new())).0.clone();
        if self.node.under(&hold).blocks().get(&cid).await.is_ok() {
            self.note(cid).await;
        }
    }

    async fn note(&mut self, cid: Cid) {
        self.keep(cid).await;
        self.held.as_mut().unwrap().1.push(cid);
    }

    fn let_go(&mut self) {
        let Some((hold, cids)) = self.held.take() else { return };
        cids.iter().for_each(|cid| self.unkeep(cid));
        drop(hold);
    }

    /// Pins a block, or removes the pin that it has made.
    async fn pin(&mut self) {
        if let Some(cid) = self.pinned.take() {
            self.unkeep(&cid);
            return self.node.pins().remove(&cid).await.unwrap();
        }
        let number = self.numbers.below(BLOCKS / 2) * 2 + self.parity;
        let cid = *raw(number.to_string()).cid();
        match self.node.pins().add(cid).await {
            Ok(_) => {
                self.keep(cid).await;
                self.pinned = Some(cid);
            }
            Err(Error::Incomplete { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn collect(node: Node, writes: Arc<AtomicBool>) -> u64 {
    let mut deleted = 0;
    while writes.load(Ordering::SeqCst) {
        deleted += node.gc().collect().await.unwrap().deleted_blocks;
    }
    deleted
}

fn run(seed: u64) -> u64 {
    let place = Place::slow(seed);
    let test = async {
        let writes = Arc::new(AtomicBool::new(true));
        let mut writers = Vec::new();
        for n in 0..2 {
            let numbers = Numbers(seed.wrapping_mul(3).wrapping_add(n));
            let (node, _) = place.node().await;
            let place = place.clone();
            writers.push(Writer { node, place, numbers, held: None, parity: n, pinned: None });
        }
        let (second, first) = (writers.pop().unwrap(), writers.pop().unwrap());
        let both = async {
            join(first.run(), second.run()).await;
            writes.store(false, Ordering::SeqCst);
        };
        let collector = place.node().await.0;
        join(both, collect(collector, writes.clone())).await.1
    };
    place.runtime.block_on(test).unwrap_or_else(|stalled| panic!("seed {seed}: {stalled}"))
}

#[test]
fn nothing_goes_that_a_node_keeps() {
    let mut deleted = 0;
    for seed in seeds(50, 5000) {
        deleted += run(seed);
    }
    println!("{deleted} blocks deleted");
    assert!(deleted > 100, "{deleted}: too little was collected to say anything");
}
