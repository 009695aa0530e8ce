//! Blocks that work on directories needs, for work that cannot wait.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, BlockSource, Cid, Error, Result};

/// Blocks that are asked for at once: a whole block of links of the usual fanout.
const MANY: usize = 256;

/// Blocks that are here, and those that were looked for and are not.
///
/// Work on a directory never waits: it says what is missing, ends without a change, and is done
/// again when that has come. So no lock that it is done under is held meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    here: HashMap<Cid, Block>,
    missing: HashSet<Cid>,
}

impl Loads {
    /// The block, or `None`, and then it is missing.
    pub(crate) fn get(&mut self, cid: &Cid) -> Option<Block> {
        let here = self.here.get(cid).cloned();
        if here.is_none() {
            self.missing.insert(*cid);
        }
        here
    }

    pub(crate) fn are_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Whether so many are missing that they should be fetched first.
    pub(crate) fn are_many(&self) -> bool {
        self.missing.len() >= MANY
    }

    /// Fetches what is missing.
    pub(crate) async fn fetch(&mut self, source: &dyn BlockSource) -> Result<()> {
        let missing: Vec<Cid> = self.missing.drain().collect();
        let mut answers = source.get_many(stream::iter(missing).boxed());
        while let Some((cid, block)) = answers.next().await {
            self.here.insert(cid, block?);
        }
        Ok(())
    }

    /// Does work until nothing is missing for it.
    pub(crate) async fn until_done<T>(
        source: &dyn BlockSource,
        mut work: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let mut loads = Self::default();
        loop {
            if let Some(done) = work(&mut loads)? {
                return Ok(done);
            }
            if !loads.are_missing() {
                return Err(Error::Closed("a directory that was open"));
            }
            loads.fetch(source).await?;
        }
    }
}
