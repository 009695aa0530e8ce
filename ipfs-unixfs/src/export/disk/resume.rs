//! Going on where an export was stopped: directories that are there are listed again, and only what
//! is missing in them is fetched.

use std::ffi::OsString;

use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use ipfs_traits::{Cid, Error, Result};

use super::{Pump, place::Place};
use crate::{
    Entry, Exporter, Node,
    data::Mtime,
    export::{Tree, names},
};

/// Entries that are looked for on disk in one go.
const LOOK: usize = 1024;

/// How deep a tree may be, as for one that is read from its root.
const MAX_DEPTH: usize = 1024;

/// A directory that was there, and of which some may be missing.
struct Listing {
    rest: BoxStream<'static, Result<Entry>>,
    /// Directories that were there too.
    pending: Vec<Entry>,
    entries: u64,
}

/// Writes what is missing below a root that is a directory, and is there.
pub(super) async fn directory(pump: &mut Pump, exporter: &Exporter, root: &Cid) -> Result<()> {
    let mut open = vec![descend(pump, exporter, root, Place::root().to_owned()).await?];
    while let Some(listing) = open.last_mut() {
        if let Some(Entry { name, cid, .. }) = listing.pending.pop() {
            if open.len() >= MAX_DEPTH {
                return Err(Error::limit("levels of a tree", MAX_DEPTH, open.len() + 1));
            }
            let name = names::check(&name)?.to_owned();
            open.push(descend(pump, exporter, &cid, name).await?);
            continue;
        }
        let entries = listing.next().await?;
        if entries.is_empty() {
            let count = listing.entries;
            pump.run(move |writer| writer.leave_counted(count)).await?;
            open.pop();
            continue;
        }
        let found = pump.run(move |writer| writer.look(entries)).await?;
        listing.pending = found.directories;
        pump.pour(&mut Tree::entries(exporter.source.clone(), found.missing)).await?;
    }
    Ok(())
}

impl Listing {
    /// The next entries; none at the end.
    async fn next(&mut self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while entries.len() < LOOK
            && let Some(entry) = self.rest.try_next().await?
        {
            entries.push(entry);
        }
        self.entries += entries.len() as u64;
        Ok(entries)
    }
}

/// Goes down into a directory.
async fn descend(
    pump: &mut Pump,
    exporter: &Exporter,
    cid: &Cid,
    name: OsString,
) -> Result<Listing> {
    let (mode, mtime) = said_of(exporter.node(cid).await?);
    let rest = exporter.list(cid).await?;
    pump.run(move |writer| writer.enter(&name, writer.meta(mode, mtime))).await?;
    Ok(Listing { rest, pending: Vec::new(), entries: 0 })
}

/// The mode and time of a directory.
fn said_of(node: Node) -> (Option<u32>, Option<Mtime>) {
    match node {
        Node::Directory(directory) => (directory.mode(), directory.mtime()),
        Node::Shard(shard) => (shard.mode(), shard.mtime()),
        _ => (None, None),
    }
}
