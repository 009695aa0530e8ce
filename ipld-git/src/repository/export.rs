//! Handing the objects of a repository to a store of blocks.

use std::fmt;

use bytes::Bytes;
use cid::Cid;

use super::{Error, Repository};
use crate::{Kind, cid_of};

/// The sizes of objects that a store and an exchange take, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest that peers exchange. Larger ones are handed over, and listed in the report.
    /// 2 MiB by default, as bitswap has it.
    pub exchange: u64,
    /// The largest that is handed over. Larger ones are listed in the report. 64 MiB by default.
    pub store: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { exchange: 2 << 20, store: 64 << 20 }
    }
}

/// What was handed over, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Blobs that were handed over.
    pub blobs: u64,
    /// Trees that were handed over.
    pub trees: u64,
    /// Commits that were handed over.
    pub commits: u64,
    /// Tags that were handed over.
    pub tags: u64,
    /// The bytes of all of them.
    pub bytes: u64,
    /// Those that were handed over, and are too large to be exchanged, with their sizes.
    pub not_exchangeable: Vec<(Cid, u64)>,
    /// Those that were not handed over, because they are too large, with their sizes.
    pub left_out: Vec<(Cid, u64)>,
}

impl Report {
    /// How many objects were handed over.
    pub const fn objects(&self) -> u64 {
        self.blobs + self.trees + self.commits + self.tags
    }

    fn count(&mut self, kind: Kind, bytes: u64) {
        self.bytes += bytes;
        *match kind {
            Kind::Blob => &mut self.blobs,
            Kind::Tree => &mut self.trees,
            Kind::Commit => &mut self.commits,
            Kind::Tag => &mut self.tags,
        } += 1;
    }
}

/// A line for the whole, and one for each object that is too large.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blobs, trees, commits, tags, bytes, .. } = self;
        write!(f, "{commits} commits, {trees} trees, {blobs} blobs, {tags} tags: {bytes} bytes")?;
        for (cid, size) in &self.not_exchangeable {
            write!(f, "\n{cid} has {size} bytes: too large to be exchanged")?;
        }
        for (cid, size) in &self.left_out {
            write!(f, "\n{cid} has {size} bytes: left out")?;
        }
        Ok(())
    }
}

impl Repository {
    /// Hands all objects to `sink`, each once, in no particular order, until it gives an error.
    ///
    /// # Errors
    ///
    /// What `sink` says, and those of [`ids`](Self::ids) and [`read`](Self::read).
    pub fn export<E: From<Error>>(
        &self,
        limits: &Limits,
        mut sink: impl FnMut(Cid, Bytes) -> Result<(), E>,
    ) -> Result<Report, E> {
        let mut report = Report::default();
        for id in self.ids()? {
            let id = id?;
            let cid = cid_of(&id);
            // Before it is read: it would take the memory that the limit is there to save.
            let (kind, content) = self.header(&id)?;
            if content > limits.store {
                report.left_out.push((cid, content));
                continue;
            }
            let object = self.read(&id)?;
            let size = object.len() as u64;
            if size > limits.store {
                report.left_out.push((cid, size));
                continue;
            }
            if size > limits.exchange {
                report.not_exchangeable.push((cid, size));
            }
            sink(cid, object.into())?;
            report.count(kind, size);
        }
        Ok(report)
    }
}
