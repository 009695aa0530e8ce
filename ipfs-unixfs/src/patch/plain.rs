//! Nodes of dag-pb that are not UnixFS: their links are changed by their names, and their data stays.

use bytes::Bytes;
use ipfs_traits::{Block, Cid, Error, HashTable, Result, limits};

use crate::{
    Name, Params, Target,
    child::Sealer,
    dagpb::{self, OwnedLink},
};

/// A node under change.
#[derive(Debug)]
pub(super) struct Plain {
    sealer: Sealer,
    links: Vec<OwnedLink>,
    data: Option<Bytes>,
}

impl Plain {
    /// Of a node at `cid`, which is changed to one like it.
    pub(super) fn of(
        node: dagpb::Node,
        cid: &Cid,
        params: &Params,
        hashes: &HashTable,
    ) -> Result<Self> {
        let sealer = Sealer::nodes(params, hashes).like(cid)?;
        let data = node.data();
        let mut links: Vec<OwnedLink> = node.into_links().collect();
        links.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { sealer, links, data })
    }

    /// Where the links of this name stand.
    fn place(&self, name: &[u8]) -> std::ops::Range<usize> {
        let start = self.links.partition_point(|link| &*link.name < name);
        start..self.links.partition_point(|link| &*link.name <= name)
    }

    /// Where the first link of this name leads.
    pub(super) fn get(&self, name: &[u8]) -> Option<Target> {
        let link = self.links[self.place(name)].first()?;
        Some(Target { cid: link.cid, dag_size: link.tsize.unwrap_or(0) })
    }

    /// Puts a link in the place of all of its name; gives where the first of them led.
    pub(super) fn insert(&mut self, name: Name, target: Target) -> Option<Target> {
        let (old, place) = (self.get(&name), self.place(&name));
        let link = OwnedLink { cid: target.cid, name, tsize: Some(target.dag_size) };
        self.links.splice(place, [link]);
        old
    }

    /// Takes all links of this name out; gives where the first of them led.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Target> {
        let old = self.get(name);
        self.links.drain(self.place(name));
        old
    }

    pub(super) fn seal(&self, out: &mut Vec<Block>) -> Result<Target> {
        let target = |link: &OwnedLink| Target { cid: link.cid, dag_size: link.tsize.unwrap_or(0) };
        let links = self.links.iter().map(|link| target(link).link(&link.name));
        let bytes = dagpb::encode(links.collect::<Vec<_>>(), self.data.as_deref());
        if bytes.len() > limits::MAX_BLOCK {
            return Err(Error::limit("bytes of a node", limits::MAX_BLOCK, bytes.len()));
        }
        let sizes = self.links.iter().map(|link| target(link).dag_size);
        let (block, child) = self.sealer.seal(bytes, 0, sizes.fold(0, u64::saturating_add))?;
        out.push(block);
        Ok(child.into())
    }
}
