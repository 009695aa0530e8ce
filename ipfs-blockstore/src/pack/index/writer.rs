//! Writing an index file.

use std::{path::PathBuf, sync::Arc};

use ipfs_traits::varint;

use super::{
    super::{error::PackError, place::Place},
    filter::{Filter, fingerprint},
    run::{CHECKSUM, DELETED, Entry, Group, MAGIC, PAGE, Run, STRIDE, fence},
};
use crate::files::{Files, Open, OpenFile};

/// Writes a run. Keys come in order, each once.
pub(super) struct Writer {
    path: PathBuf,
    file: Arc<dyn OpenFile>,
    written: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the page begins that is being filled.
    page: usize,
    groups: Vec<Group>,
    fences: Vec<u64>,
    filter: Filter,
}

impl Writer {
    /// A file for at most so many keys.
    pub(super) fn new(files: &dyn Files, path: PathBuf, keys: u64) -> Result<Self, PackError> {
        let file = files.open(&path, Open::New).map_err(PackError::io("make", &path))?;
        Ok(Self {
            path,
            file,
            written: 0,
            buffer: Vec::with_capacity(STRIDE + PAGE),
            page: 0,
            groups: Vec::new(),
            fences: Vec::new(),
            filter: Filter::new(keys),
        })
    }

    pub(super) fn push(&mut self, (key, place): Entry) -> Result<(), PackError> {
        let same = |group: &Group| (group.code, group.size) == (key.code(), key.size());
        if !self.groups.last().is_some_and(same) {
            self.end_page()?;
            let first_page = self.fences.len() as u32;
            let (code, size) = (key.code(), key.size());
            self.groups.push(Group { code, size, count: 0, first_page, pages: 0 });
        }
        let Some(group) = self.groups.last() else { return Ok(()) };
        if self.buffer.len() - self.page + group.width() > PAGE - CHECKSUM {
            self.end_page()?;
        }
        if self.buffer.len() == self.page {
            self.fences.push(fence(key.digest()));
        }
        self.filter.insert(fingerprint(&key));
        self.buffer.extend_from_slice(key.digest());
        let deleted = Place { segment: 0, offset: 0, head: 0, len: DELETED, crc: 0 };
        self.buffer.extend(place.unwrap_or(deleted).encode());
        if let Some(group) = self.groups.last_mut() {
            group.count += 1;
        }
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), PackError> {
        if self.buffer.len() == self.page {
            return Ok(());
        }
        self.buffer.resize(self.page + PAGE - CHECKSUM, 0);
        let checksum = crc32fast::hash(&self.buffer[self.page..]);
        self.buffer.extend(checksum.to_le_bytes());
        self.page = self.buffer.len();
        if self.buffer.len() >= STRIDE {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), PackError> {
        let written = self.file.write_at(&self.buffer, self.written);
        written.map_err(PackError::io("write", &self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.page = 0;
        Ok(())
    }

    /// Writes the rest, and makes the file durable; its name is the caller's to sync.
    pub(super) fn finish(mut self, number: u32) -> Result<Run, PackError> {
        self.end_page()?;
        self.write()?;
        let mut checksum = crc32fast::Hasher::new();
        let fences = std::mem::take(&mut self.fences);
        self.write_words(fences.iter(), &mut checksum)?;
        let filter = std::mem::take(&mut self.filter);
        self.write_words(filter.words(), &mut checksum)?;
        self.buffer.extend(checksum.finalize().to_le_bytes());
        let mut footer = Vec::new();
        for group in &mut self.groups {
            group.pages = group.count.div_ceil(group.in_page() as u64) as u32;
            varint::write(group.code, &mut footer);
            varint::write(group.size.into(), &mut footer);
            varint::write(group.count, &mut footer);
        }
        self.buffer.extend(&footer);
        self.buffer.extend((footer.len() as u32).to_le_bytes());
        self.buffer.extend(crc32fast::hash(&footer).to_le_bytes());
        self.buffer.extend(MAGIC);
        self.write()?;
        self.file.sync().map_err(PackError::io("sync", &self.path))?;
        let Self { path, file, groups, .. } = self;
        let count = groups.iter().map(|group| group.count).sum();
        Ok(Run { path, file, number, count, groups, fences, filter })
    }

    fn write_words<'a>(
        &mut self,
        words: impl Iterator<Item = &'a u64>,
        checksum: &mut crc32fast::Hasher,
    ) -> Result<(), PackError> {
        for word in words {
            self.buffer.extend(word.to_le_bytes());
            if self.buffer.len() >= STRIDE {
                checksum.update(&self.buffer);
                self.write()?;
            }
        }
        checksum.update(&self.buffer);
        self.write()
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}
