//! Looking at all that a store holds, and mending what is damaged.

use std::time::Duration;

use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{
    BlockSource, Blockstore, Cid, Error, Multihash, Result, RuntimeExt, codes,
    work::{Meter, Work},
};

use super::look::{Condition, look};
use crate::{Node, NodeSource};

/// What [`Repo::verify`](super::Repo::verify) does with a block that is damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mend {
    /// It is reported, and stays: the default, for nothing is deleted unasked.
    #[default]
    No,
    /// It is deleted: whatever reads it next fetches it.
    Drop,
    /// It is deleted, fetched again and stored.
    Fetch {
        /// How long is waited for each block: [`Mend::fetch`] has a default.
        within: Duration,
    },
}

impl Mend {
    /// Fetches what is damaged, and waits for each block as long as Kubo does: 30 seconds.
    pub const fn fetch() -> Self {
        Self::Fetch { within: Duration::from_secs(30) }
    }
}

/// What was found in a store.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifiedBlocks {
    /// Blocks that were looked at.
    pub blocks: u64,
    /// Bytes of those that are whole.
    pub bytes: u64,
    /// Those whose bytes do not hash to them.
    pub damaged: Faults,
    /// How many of the damaged ones are damaged no longer: deleted, or had again, as was asked.
    pub mended: u64,
    /// Those of the damaged ones that could not be deleted, or not be had again.
    pub unmended: Faults,
    /// Those of which nobody can say: their hash function is unknown, or they cannot be read. They
    /// are left as they are.
    pub unchecked: Faults,
}

/// Blocks with which something is wrong: counted, and the first of them named.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Faults {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most [`Faults::MAX`].
    pub first: Vec<Fault>,
}

/// A block with which something is wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fault {
    /// The block. Stores know the multihash alone, so the codec is raw.
    pub cid: Cid,
    /// What is wrong.
    pub why: Error,
}

impl Faults {
    /// How many are named: enough to see what they have in common, some 200 kilobytes.
    pub const MAX: usize = 1000;

    fn add(&mut self, cid: Cid, why: Error) {
        self.count += 1;
        if self.first.len() < Self::MAX {
            self.first.push(Fault { cid, why });
        }
    }
}

/// Blocks that are looked at in one go, and their bytes: enough to be hashed side by side.
const BATCH: usize = 1024;
const BATCH_BYTES: u64 = 16 << 20;

/// Batches that are looked at at the same time, where the machine has so many cores.
const MOST_BATCHES: usize = 16;

/// Damaged blocks that are mended at the same time: to fetch one is mostly to wait.
const MENDING: usize = 32;

pub(super) fn verify(node: Node, mend: Mend) -> Work<VerifiedBlocks> {
    let meter = Meter::default();
    Work::new(meter.clone(), run(node, mend, meter))
}

async fn run(node: Node, mend: Mend, meter: Meter) -> Result<VerifiedBlocks> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut looked = batches(node.guarded().list())
        .map(|batch| async { look(&node, batch?).await })
        .buffer_unordered(cores.min(MOST_BATCHES));
    let source = NodeSource::new(node.clone(), None);
    let mut verified = VerifiedBlocks::default();
    while let Some(looked) = looked.try_next().await? {
        let damaged = verified.count(looked, &meter);
        let mending = damaged.into_iter().map(|cid| mend_one(&node, &source, cid, mend));
        let mut mending = stream::iter(mending).buffer_unordered(MENDING);
        while let Some((cid, result)) = mending.next().await {
            match result {
                Ok(mended) => verified.mended += u64::from(mended),
                Err(error @ Error::Closed(_)) => return Err(error),
                Err(why) => verified.unmended.add(cid, why),
            }
        }
    }
    if verified.damaged.count > 0 && mend != Mend::No {
        node.guarded().flush().await?;
    }
    Ok(verified)
}

/// Whether the block is mended.
async fn mend_one(node: &Node, source: &NodeSource, cid: Cid, mend: Mend) -> (Cid, Result<bool>) {
    let mended = async {
        let within = match mend {
            Mend::No => return Ok(false),
            Mend::Drop => None,
            Mend::Fetch { within } => Some(within),
        };
        node.damage().delete(node, cid).await?;
        if let Some(within) = within {
            node.runtime().timeout(within, "fetching a block again", source.get(&cid)).await?;
        }
        Ok(true)
    };
    (cid, mended.await)
}

impl VerifiedBlocks {
    /// Counts what was looked at; gives what is damaged.
    fn count(&mut self, looked: Vec<(Cid, Condition)>, meter: &Meter) -> Vec<Cid> {
        let (blocks, bytes) = (self.blocks, self.bytes);
        let mut damaged = Vec::new();
        for (cid, condition) in looked {
            self.blocks += 1;
            match condition {
                Condition::Whole(len) => self.bytes += len,
                Condition::Absent => self.blocks -= 1,
                Condition::Damaged => {
                    self.damaged.add(cid, Error::Corrupt(cid));
                    damaged.push(cid);
                }
                Condition::Unknown(why) => self.unchecked.add(cid, why),
            }
        }
        meter.blocks(self.blocks - blocks);
        meter.bytes(self.bytes - bytes);
        damaged
    }
}

/// What is listed, in batches that fit into memory.
fn batches(
    list: BoxStream<'static, Result<Vec<(Multihash, u64)>>>,
) -> impl Stream<Item = Result<Vec<Cid>>> + Send {
    list.map_ok(|page| stream::iter(split(page).into_iter().map(Ok))).try_flatten()
}

fn split(page: Vec<(Multihash, u64)>) -> Vec<Vec<Cid>> {
    let mut batches = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0_u64);
    for (hash, len) in page {
        batch.push(Cid::new_v1(codes::RAW, hash));
        bytes = bytes.saturating_add(len);
        if batch.len() == BATCH || bytes >= BATCH_BYTES {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
    }
    batches.push(batch);
    batches.retain(|batch| !batch.is_empty());
    batches
}

#[cfg(test)]
mod tests {
    use ipfs_traits::HashTable;

    use super::*;

    #[test]
    fn batches_are_bounded_both_ways_and_lose_nothing() {
        let hash = |number: u64| {
            HashTable::standard().hash(codes::SHA2_256, &number.to_le_bytes()).unwrap()
        };
        let lengths = |sizes: &[u64]| -> Vec<usize> {
            let page = (0..).zip(sizes).map(|(number, len)| (hash(number), *len));
            split(page.collect()).iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[0; 2500]), [1024, 1024, 452]);
        assert_eq!(lengths(&[6 << 20; 7]), [3, 3, 1]);
        assert_eq!(lengths(&[64 << 20, 1, u64::MAX, u64::MAX]), [1, 2, 1]);
    }
}
