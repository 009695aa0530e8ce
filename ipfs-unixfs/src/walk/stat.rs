//! How large DAGs are, and what they share.

use std::{collections::HashSet, sync::Arc};

use futures_util::TryStreamExt;
use ipfs_traits::{
    BlockSource, Cid, CodecTable,
    work::{Meter, Work},
};

use super::{Walk, WalkOptions};

/// How large some DAGs are, and what they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DagStat {
    /// Each DAG alone, in the order of the roots.
    pub roots: Vec<RootStat>,
    /// Different blocks in all of them.
    pub unique_blocks: u64,
    /// Bytes of those.
    pub unique_bytes: u64,
    /// Blocks of all DAGs, those that several of them have counted for each.
    pub blocks: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// How large one DAG is, each block of it counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootStat {
    /// The root.
    pub cid: Cid,
    /// Its blocks.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl DagStat {
    /// Bytes that need not be kept or sent, because several of the DAGs have them.
    pub const fn shared_bytes(&self) -> u64 {
        self.bytes - self.unique_bytes
    }

    /// How many times larger the DAGs are alone than together: 1 when they share nothing.
    pub fn ratio(&self) -> f64 {
        match self.unique_bytes {
            0 => 1.0,
            unique => self.bytes as f64 / unique as f64,
        }
    }
}

/// Counts the blocks below some roots. A block that stands in a DAG several times counts once for
/// it.
///
/// The progress tells of the blocks that were visited, and of their bytes. Some 100 bytes are kept
/// for each block of the DAG that is being counted, and with several roots 100 more for each
/// different block.
///
/// # Errors
///
/// As [`Walk`]: the first block that cannot be had ends the count, so that no number is too small.
pub fn dag_stat(
    source: Arc<dyn BlockSource>,
    codecs: Arc<CodecTable>,
    roots: &[Cid],
) -> Work<DagStat> {
    let (meter, roots) = (Meter::default(), roots.to_vec());
    Work::new(meter.clone(), async move {
        let mut stat = DagStat::default();
        let mut all = (roots.len() > 1).then(HashSet::new);
        for cid in roots {
            let mut root = RootStat { cid, blocks: 0, bytes: 0 };
            let mut walk =
                Walk::new(source.clone(), codecs.clone(), &[cid], WalkOptions::default());
            while let Some(visit) = walk.try_next().await? {
                let bytes = visit.block.len() as u64;
                meter.blocks(1);
                meter.bytes(bytes);
                root.blocks += 1;
                root.bytes += bytes;
                if all.as_mut().is_none_or(|all| all.insert(*visit.block.cid())) {
                    stat.unique_blocks += 1;
                    stat.unique_bytes += bytes;
                }
            }
            stat.blocks += root.blocks;
            stat.bytes += root.bytes;
            stat.roots.push(root);
        }
        Ok(stat)
    })
}
