//! Changing the mode or the time of a file or link.

use bytes::Bytes;
use ipfs_traits::{Block, Error, HashTable, Result, codes};

use crate::{
    Params,
    child::Sealer,
    dagpb,
    data::{Data, Kind, Mtime, NewData},
    directory::Target,
};

/// Changes a mode and a time.
pub(super) type Restat<'a> = &'a (dyn Fn(&mut Option<u32>, &mut Option<Mtime>) + Send + Sync);

/// The root of a file or a symbolic link, with another mode or time. A raw leaf becomes a file of
/// dag-pb under a CIDv0, which has room for them.
pub(super) fn restat(
    block: &Block,
    old: Target,
    change: Restat<'_>,
    params: &Params,
    hashes: &HashTable,
) -> Result<(Block, Target)> {
    let (links, data) = match block.cid().codec() {
        codes::RAW => {
            let (content, len) = (Some(&block.data()[..]), block.len() as u64);
            let new = NewData { content, file_size: Some(len), ..NewData::of(Kind::File) };
            (None, Data::parse(new.encode().into())?)
        }
        codes::DAG_PB => {
            let node = dagpb::Node::parse(block.data().clone())?;
            let data =
                node.data().ok_or_else(|| Error::malformed("UnixFS node", "it has no data"))?;
            (Some(node), Data::parse(data)?)
        }
        other => return Err(Error::UnknownCodec(other)),
    };
    let mut new = data.to_new();
    change(&mut new.mode, &mut new.mtime);
    let links = links.iter().flat_map(|node| node.links());
    let bytes = Bytes::from(dagpb::encode(links, Some(&new.encode())));
    let below = old.dag_size.saturating_sub(block.len() as u64);
    let below = if block.cid().codec() == codes::RAW { 0 } else { below };
    let sealer = match block.cid().codec() {
        // As in Kubo, whatever the version around it.
        codes::RAW => Sealer::nodes(&Params::unixfs_v0_2015(), hashes),
        _ => Sealer::nodes(params, hashes).like(block.cid())?,
    };
    let (block, child) = sealer.seal(bytes, 0, below)?;
    Ok((block, child.into()))
}
