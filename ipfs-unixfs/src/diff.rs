//! How two trees differ.

mod agenda;
mod load;
mod node;
mod piece;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
#[cfg(doc)]
use ipfs_traits::Error;
use ipfs_traits::{BlockSource, Cid, Result};

use self::agenda::Agenda;
use crate::Change;

/// How the tree at one root differs from that at another: a stream of [`Change`]s, which make the
/// second of the first ([`Patcher::apply`](crate::Patcher::apply)).
///
/// What has the same CID on both sides is not loaded, and of what is on one side only nothing but
/// its CID is told. Directories are compared by their entries, whatever their form, and sharded ones
/// block by block, those that are equal being left out. Everything else is compared by its CID
/// alone: a file is changed as a whole. Trees that differ in nothing but the form of their
/// directories (CID version, hash function, sharding, stated sizes) do not differ.
///
/// Directories are dag-pb nodes that UnixFS calls such, and those without UnixFS data that state the
/// same data on both sides. One with two entries of one name, or with an empty name, is compared as
/// a whole, since no path leads into it.
///
/// # Order
///
/// What differs in a directory comes in one run, by name, byte for byte, what is below a name in its
/// place. If the directory is sharded on either side it comes by the hash of the name, as sharded
/// directories are listed. The order is the same in every run.
///
/// # Memory
///
/// Up to 32 pairs of blocks are asked for or held at once, and about 16 MiB of differences that were
/// found ahead of the reader; beside that the differences of the directories on the way to where the
/// reader is. These are never more than 256 MiB.
///
/// # What Kubo gives
///
/// `ipfs object diff` compares the links of dag-pb nodes by name, whatever these are, and nothing
/// else of them:
/// - The links of a file have no names. Where two files of several blocks differ, it tells of pairs
///   of their blocks, under the path of the file; beside a dag-pb file of one block all blocks of
///   the other are removed or added.
/// - A file of one block in dag-pb, or a symbolic link, in the place of a directory is told of as the
///   removal of all entries.
/// - Other modes, times and data are not told of where there are links.
/// - Sharded directories are compared as if their blocks were directories, with the slots in the
///   names, and beside a directory in one block as if nothing in them were the same.
/// - What was removed from and added to a directory comes behind all that changed in it.
///
/// Of trees without these the changes are the same, in another order.
///
/// ```
/// # use std::sync::Arc;
/// # use futures::TryStreamExt;
/// # use ipfs_traits::{memory::MemoryStore, Local, VirtualRuntime};
/// use ipfs_unixfs::{Change, Diff, Importer};
///
/// # let runtime = VirtualRuntime::new();
/// # let store = Arc::new(MemoryStore::new());
/// # runtime.block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let put = |name, text| std::fs::write(folder.path().join(name), text);
/// # put("a", "1")?;
/// # put("b", "1")?;
/// # let importer = Importer::new(store.clone(), Arc::new(runtime.clone()));
/// # let before = importer.path(folder.path()).await?.cid;
/// # put("b", "2")?;
/// # put("c", "2")?;
/// # let after = importer.path(folder.path()).await?.cid;
/// let mut diff = Diff::new(Arc::new(Local(store)), &before, &after);
/// while let Some(change) = diff.try_next().await? {
///     println!("{change}");
///     # let name = &change.path()[0];
///     # assert!(matches!(change, Change::Changed { .. }) == (*name == "b"));
///     # assert!(matches!(change, Change::Added { .. }) == (*name == "c"));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
///
/// # Errors
///
/// [`Error::Malformed`] for blocks that are not what they are linked to as; [`Error::Limit`] for
/// directories nested deeper than 1,024 levels, for shards deeper than their hashes have bits, and
/// when more than 256 MiB would have to be held; what the source says. An error ends the stream.
///
/// Two trees in which the same few directories stand in very many places can differ in very many
/// places: the stream gives them one by one, and its reader decides how many it wants. Where such
/// directories hold nothing that differs, they are compared once.
pub struct Diff(Agenda);

impl Diff {
    /// How the tree at `after` differs from that at `before`. Nothing is asked for before the stream
    /// is polled.
    pub fn new(source: Arc<dyn BlockSource>, before: &Cid, after: &Cid) -> Self {
        Self(Agenda::new(source, *before, *after))
    }
}

impl Stream for Diff {
    type Item = Result<Change>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx)
    }
}

impl fmt::Debug for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Diff")
    }
}
