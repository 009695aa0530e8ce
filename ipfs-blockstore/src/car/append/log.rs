//! Writing to the file: sections at its end, dead marks where they stand, the index and the header.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use ipfs_traits::{Block, Cid, Error, Multihash, Result, car};

use super::{Inner, Section, dead};
use crate::{
    car::{
        file_error,
        index::{Builder, IndexKind},
        v2::{self, PRAGMA},
    },
    files::OpenFile,
};

/// Sections below this are copied together for one write; larger ones are written as they are.
const SMALL: usize = 32 << 10;

/// Bytes that are copied together for one write.
const GATHER: usize = 256 << 10;

/// The end of the archive: one at a time holds it.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Where in the file the last section ends.
    pub(super) end: u64,
    /// Whether the header names the data, and the index if there is one.
    pub(super) finished: bool,
    /// Whether sections are there that no index names: dead ones, and those of identity CIDs.
    pub(super) unlisted: bool,
    /// Further sections of blocks that are there more than once: a delete is one of all of them.
    pub(super) others: HashMap<Multihash, Vec<Section>>,
    /// Bytes of the blocks that are there.
    pub(super) bytes: u64,
    /// Counts what was put and deleted, and how much of it is durable.
    pub(super) changes: u64,
    pub(super) durable: u64,
    /// A sync has failed.
    failed: Option<Error>,
}

impl Log {
    pub(super) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// From now on the store only reads: after a failed sync a later one may succeed without the
    /// data that the first one lost.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        self.failed.get_or_insert(error).clone()
    }
}

impl Inner {
    /// Appends the blocks that are not here yet.
    pub(super) fn put_many(&self, blocks: &[Block]) -> Result<()> {
        blocks.iter().try_for_each(dead::check)?;
        let mut log = self.log();
        log.check()?;
        let new = self.absent(blocks);
        if new.is_empty() {
            return Ok(());
        }
        let len = |block: &&Block| car::section_len(block.cid(), block.len()) as u64;
        let bytes: u64 = new.iter().map(len).sum();
        if let Some(limit) = self.options.max_bytes.filter(|limit| log.end + bytes > *limit) {
            return Err(Error::Full { used: log.end, limit });
        }
        self.unfinish(&mut log)?;
        let written = self.append(&new, log.end);
        let found = written.map_err(|error| self.take_back(&mut log, error))?;
        log.end += bytes;
        log.bytes += new.iter().map(|block| block.len() as u64).sum::<u64>();
        log.changes += new.len() as u64;
        self.found_mut().extend(found);
        Ok(())
    }

    /// The blocks that are not here, each once.
    fn absent<'a>(&self, blocks: &'a [Block]) -> Vec<&'a Block> {
        let (index, mut seen) = (self.found(), HashSet::new());
        let absent = |block: &&Block| {
            Block::inline(block.cid()).is_none()
                && !index.contains_key(block.hash())
                && seen.insert(*block.hash())
        };
        blocks.iter().filter(absent).collect()
    }

    /// Writes sections from a place on, and says where each is.
    fn append(&self, blocks: &[&Block], mut at: u64) -> io::Result<Vec<(Multihash, Section)>> {
        let (mut found, mut gathered, mut from) = (Vec::new(), Vec::new(), at);
        for block in blocks {
            let head = car::section_head(block.cid(), block.len());
            let section = Section { at, head: head.len() as u8, len: block.len() as u32 };
            found.push((*block.hash(), section));
            at += section.bytes();
            gathered.extend(head);
            let small = block.len() < SMALL;
            if small {
                gathered.extend_from_slice(block.data());
            }
            if !small || gathered.len() >= GATHER {
                self.file.write_at(&gathered, from)?;
                from += gathered.len() as u64;
                gathered.clear();
            }
            if !small {
                self.file.write_at(block.data(), from)?;
                from += block.len() as u64;
            }
        }
        self.file.write_at(&gathered, from)?;
        Ok(found)
    }

    /// Cuts off what was written in part.
    fn take_back(&self, log: &mut Log, error: io::Error) -> Error {
        let error = file_error("write", &self.path)(error);
        match self.file.set_len(log.end) {
            Ok(()) => error,
            Err(_) => log.fail(error),
        }
    }

    pub(super) fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        let mut log = self.log();
        log.check()?;
        for cid in cids {
            let Some(section) = self.found().get(cid.hash()).copied() else { continue };
            self.unfinish(&mut log)?;
            // From here on it is gone, even if marking it fails: a section that is torn is dead too.
            self.found_mut().remove(cid.hash());
            log.bytes -= u64::from(section.len);
            log.changes += 1;
            log.unlisted = true;
            let others = log.others.remove(cid.hash()).unwrap_or_default();
            for section in others.iter().chain([&section]) {
                self.mark_dead(section).map_err(|error| log.fail(error))?;
            }
        }
        Ok(())
    }

    fn mark_dead(&self, section: &Section) -> Result<()> {
        // The length stays as it is.
        let body = section.bytes() - length_of(section);
        let at = section.at + length_of(section);
        let mut bytes = vec![0; body as usize];
        let read = self.file.read_at(&mut bytes, at).map_err(file_error("read", &self.path))?;
        bytes.truncate(read);
        let start = dead::make(&bytes, &self.options.hashes)?;
        self.file.write_at(&start, at).map_err(file_error("write", &self.path))
    }

    /// Says durably that the archive is being written to, before anything else is. What stands
    /// behind the sections goes.
    fn unfinish(&self, log: &mut Log) -> Result<()> {
        if !log.finished {
            return Ok(());
        }
        let unfinish = || {
            unfinish(&*self.file, self.start)?;
            self.file.set_len(log.end)
        };
        unfinish().map_err(file_error("write", &self.path)).map_err(|error| log.fail(error))?;
        log.finished = false;
        Ok(())
    }

    /// Writes the index, and then the header that names it, each durable before the next.
    pub(super) fn finish(&self) -> Result<()> {
        let mut log = self.log();
        log.check()?;
        if log.finished {
            return Ok(());
        }
        let mut index = Builder::new();
        self.found().iter().for_each(|(hash, section)| index.push(hash, section.at - self.start));
        let header = v2::Header {
            fully_indexed: !log.unlisted,
            data_offset: self.start,
            data_size: log.end - self.start,
            index_offset: log.end,
        };
        let finish = || {
            let mut at = log.end;
            for piece in index.encode(IndexKind::MultihashSorted) {
                self.file.write_at(&piece, at)?;
                at += piece.len() as u64;
            }
            self.file.set_len(at)?;
            self.file.sync()?;
            self.file.write_at(&header.encode(), PRAGMA.len() as u64)?;
            self.file.sync()
        };
        finish().map_err(file_error("write", &self.path)).map_err(|error| log.fail(error))?;
        log.finished = true;
        Ok(())
    }
}

/// Makes a header durable that says that the archive is not finished.
pub(super) fn unfinish(file: &dyn OpenFile, data_offset: u64) -> io::Result<()> {
    let header = v2::Header { data_offset, ..v2::Header::default() };
    file.write_at(&header.encode(), PRAGMA.len() as u64)?;
    file.sync()
}

/// Bytes of the length that a section begins with.
fn length_of(section: &Section) -> u64 {
    // The body is what is behind it, and the length is as short as it can be.
    let all = section.bytes();
    (1..).find(|len| ipfs_traits::varint::len(all - len) as u64 == *len).unwrap_or(1)
}
