//! A whole tree as a stream, in order.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use ipfs_traits::{BlockSource, Cid, Result};

use super::{
    Entry,
    content::{self, Contents},
};
use crate::{
    Name,
    ahead::{Ahead, WINDOW},
    data::Mtime,
};

/// What comes next in a [`Tree`]. The root has an empty name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A directory; what is in it follows, up to its [`Leave`](Self::Leave).
    Enter {
        /// Its name.
        name: Name,
        /// Its permissions and other bits of the mode.
        mode: Option<u32>,
        /// When it was changed.
        mtime: Option<Mtime>,
    },
    /// The end of a directory.
    Leave,
    /// A file; its bytes follow, up to its [`End`](Self::End).
    File {
        /// Its name.
        name: Name,
        /// How many bytes follow.
        size: u64,
        /// Its permissions and other bits of the mode.
        mode: Option<u32>,
        /// When it was changed.
        mtime: Option<Mtime>,
    },
    /// The next bytes of a file, never none.
    Data(Bytes),
    /// The end of a file.
    End,
    /// A symbolic link.
    Symlink {
        /// Its name.
        name: Name,
        /// Where it points: a stranger's bytes, which may be any path, or none.
        target: Bytes,
        /// Its permissions and other bits of the mode.
        mode: Option<u32>,
        /// When it was changed.
        mtime: Option<Mtime>,
    },
}

impl Item {
    /// How many bytes of content it holds.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            _ => 0,
        }
    }
}

/// All that is below a CID, in the order of the directories, read ahead: up to 128 blocks are asked
/// for at once, and about 16 MiB held.
///
/// Names are those of the blocks, which may be empty, hold slashes or stand twice: whoever writes
/// them somewhere checks them first. An error ends the stream.
pub struct Tree(Ahead<Contents>);

impl Tree {
    pub(super) fn new(source: Arc<dyn BlockSource>, root: Cid) -> Self {
        Self(content::tree(source, root, WINDOW))
    }

    /// What is below some entries of a directory.
    pub(super) fn entries(source: Arc<dyn BlockSource>, entries: Vec<Entry>) -> Self {
        Self(content::entries(source, entries, WINDOW))
    }
}

impl Stream for Tree {
    type Item = Result<Item>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tree")
    }
}
