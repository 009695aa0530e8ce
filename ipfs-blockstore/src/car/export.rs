//! A DAG into a CAR.

use std::{collections::HashSet, sync::Arc};

use futures_util::{AsyncWrite, AsyncWriteExt, TryStreamExt};
use ipfs_traits::{
    Block, BlockSource, Blockstore, Cid, CodecTable, Error, Result, car, codes,
    work::{Meter, Work},
};

use super::{Order, Writer, stream_error, walk};

/// Bytes of blocks that are written at once.
const BATCH_BYTES: usize = 1 << 20;

/// Blocks that are written at once.
const BATCH: usize = 64;

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Sections.
    pub blocks: u64,
    /// Bytes of the archive, its header and heads too.
    pub bytes: u64,
}

/// An export under way: a future, and a stream of its progress.
pub type Export = Work<Exported>;

/// Writes all blocks below some roots as a CARv1, in the order of [`walk`], and closes `out`.
///
/// For one root with the defaults it is byte for byte what Kubo's `dag export` writes. A slow `out`
/// slows the walk down.
///
/// # Errors
///
/// Those of [`walk`], and what `out` says. What was written until then is no whole archive.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
///
/// use futures::io::AllowStdIo;
/// use ipfs_blockstore::{car, BlockstoreExt};
/// use ipfs_traits::{codes, memory::MemoryStore, Block, CodecTable, HashTable, Local, Static};
/// use serde_ipld_dagcbor::codec::DagCborCodec;
///
/// let store = Arc::new(MemoryStore::new());
/// let block = Block::of(codes::DAG_CBOR, codes::SHA2_256, vec![0xf6], &HashTable::standard())?;
/// store.put(block.clone()).await?;
///
/// let mut codecs = CodecTable::new();
/// codecs.insert(Static::<DagCborCodec>::new());
/// let file = AllowStdIo::new(tempfile::tempfile()?);
/// let roots = [*block.cid()];
/// let source = Arc::new(Local(store));
/// let done = car::export(source, Arc::new(codecs), &roots, file, car::Order::default()).await?;
/// assert_eq!(done.blocks, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub fn export(
    source: Arc<dyn BlockSource>,
    codecs: Arc<CodecTable>,
    roots: &[Cid],
    out: impl AsyncWrite + Unpin + Send + 'static,
    order: Order,
) -> Export {
    let (roots, meter) = (roots.to_vec(), Meter::default());
    Work::new(meter.clone(), async move {
        let mut blocks = walk(source, codecs, &roots, order);
        let mut writer = Writer::new(out, &roots).await?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        loop {
            let block = blocks.try_next().await?;
            let ended = block.is_none();
            if let Some(block) = block {
                bytes += block.len();
                batch.push(block);
            }
            if ended || batch.len() >= BATCH || bytes >= BATCH_BYTES {
                writer.write(&batch).await?;
                meter.blocks(batch.len() as u64);
                meter.bytes(bytes as u64);
                batch.clear();
                bytes = 0;
            }
            if ended {
                break;
            }
        }
        let bytes = writer.len();
        writer.finish().await?.close().await.map_err(stream_error("close"))?;
        Ok(Exported { blocks: meter.read().blocks, bytes })
    })
}

/// How many blocks and bytes an [`export`] will have, where all blocks are in a store: for what must
/// be told beforehand, as the length of an HTTP answer. Blocks of raw bytes are not read.
///
/// # Errors
///
/// Those of [`walk`].
pub async fn measure(
    store: &dyn Blockstore,
    codecs: &CodecTable,
    roots: &[Cid],
    order: &Order,
) -> Result<Exported> {
    let (mut stack, mut seen) = (roots.to_vec(), HashSet::new());
    let mut measured = Exported { blocks: 0, bytes: car::header(roots).len() as u64 };
    while !stack.is_empty() {
        let mut now = stack.split_off(stack.len().saturating_sub(BATCH));
        now.retain(|cid| order.duplicates || seen.insert(*cid));
        for (cid, len, links) in visit(store, codecs, &now, order.partial).await? {
            stack.extend(links);
            if order.without_identity && Block::inline(&cid).is_some() {
                continue;
            }
            measured.blocks += 1;
            measured.bytes += car::section_len(&cid, len) as u64;
        }
        order.check(measured.blocks)?;
    }
    Ok(measured)
}

/// A block: its length, and what it links to.
type Visited = (Cid, usize, Vec<Cid>);

/// Looks at blocks, reading those that may link to others.
async fn visit(
    store: &dyn Blockstore,
    codecs: &CodecTable,
    cids: &[Cid],
    partial: bool,
) -> Result<Vec<Visited>> {
    let is_leaf = |cid: &Cid| cid.codec() == codes::RAW;
    let (leaves, inner): (Vec<Cid>, Vec<Cid>) = cids.iter().partition(|cid| is_leaf(cid));
    leaves.iter().try_for_each(|cid| codecs.of(cid).map(drop))?;
    let mut visited = Vec::new();
    let missing = |cid: &Cid| if partial { Ok(()) } else { Err(Error::NotFound(*cid)) };
    let mut sizes = store.sizes(&stored(&leaves)).await?.into_iter();
    for cid in &leaves {
        let inline = Block::inline(cid).map(|block| block.len() as u64);
        match inline.or_else(|| sizes.next().flatten()) {
            Some(len) => visited.push((*cid, len as usize, Vec::new())),
            None => missing(cid)?,
        }
    }
    let mut blocks = store.get_many(&stored(&inner)).await.into_iter();
    for cid in &inner {
        let block = match Block::inline(cid) {
            Some(block) => Some(block),
            None => blocks.next().unwrap_or(Ok(None))?,
        };
        match block {
            Some(block) => visited.push((*cid, block.len(), codecs.links(&block)?)),
            None => missing(cid)?,
        }
    }
    Ok(visited)
}

/// Those that a store has to have: not those that their CIDs hold.
fn stored(cids: &[Cid]) -> Vec<Cid> {
    cids.iter().filter(|cid| Block::inline(cid).is_none()).copied().collect()
}
