//! Which files make up the index, and how far into the segments they reach.

use std::path::Path;

use ipfs_traits::varint;

use super::super::error::PackError;
use crate::files::Files;

const NAME: &str = "manifest";
const TEMP: &str = "manifest.new";
const MAGIC: [u8; 8] = *b"pkmanif1";
const CHECKSUM: usize = 4;

/// The state of the index on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) checkpoint: Checkpoint,
    /// The number of the next run.
    pub(super) next_run: u32,
    /// The runs, the newest first.
    pub(super) runs: Vec<u32>,
}

/// A point in the segments: the index holds all that was written before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Checkpoint {
    pub(in super::super) segment: u32,
    pub(in super::super) offset: u32,
    /// What the segments held then.
    pub(in super::super) segments: Vec<Content>,
}

impl Checkpoint {
    /// That of an index which is being made.
    pub(in super::super) const UNFINISHED: Self =
        Self { segment: u32::MAX, offset: u32::MAX, segments: Vec::new() };

    pub(in super::super) fn is_unfinished(&self) -> bool {
        *self == Self::UNFINISHED
    }
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Content {
    pub(in super::super) segment: u32,
    /// Blocks that are found here.
    pub(in super::super) blocks: u64,
    /// Bytes of them.
    pub(in super::super) alive: u64,
    /// Bytes of all blocks that were put here and are not removed, dead ones too.
    pub(in super::super) all: u64,
}

impl Manifest {
    /// Reads the manifest; `None` where there is none.
    pub(super) fn read(files: &dyn Files, folder: &Path) -> Result<Option<Self>, PackError> {
        let path = folder.join(NAME);
        match files.read(&path) {
            Ok(bytes) => Self::decode(&bytes).map(Some).ok_or_else(|| PackError::damaged(&path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PackError::io("read", &path)(error)),
        }
    }

    /// Writes it in place of the one before. What it names is durable already, but for the names.
    pub(super) fn write(&self, files: &dyn Files, folder: &Path) -> Result<(), PackError> {
        let (path, temp) = (folder.join(NAME), folder.join(TEMP));
        super::run::remove(files, &temp)?;
        let write = || {
            files.create(&temp, &self.encode())?;
            files.sync_file(&temp)?;
            files.sync_dir(folder)?;
            files.rename(&temp, &path)?;
            files.sync_dir(folder)
        };
        write().map_err(PackError::io("write", &path))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let Checkpoint { segment, offset, segments } = &self.checkpoint;
        let mut push = |number: u64| varint::write(number, &mut bytes);
        push((*segment).into());
        push((*offset).into());
        push(segments.len() as u64);
        for Content { segment, blocks, alive, all } in segments {
            [u64::from(*segment), *blocks, *alive, *all].into_iter().for_each(&mut push);
        }
        push(self.next_run.into());
        push(self.runs.len() as u64);
        self.runs.iter().for_each(|run| push((*run).into()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        if crc32fast::hash(body).to_le_bytes() != checksum {
            return None;
        }
        let mut rest = body.strip_prefix(&MAGIC)?;
        let mut next = || {
            let (number, after) = varint::read(rest, NAME).ok()?;
            rest = after;
            Some(number)
        };
        let small = |number: Option<u64>| u32::try_from(number?).ok();
        let (segment, offset) = (small(next())?, small(next())?);
        // Nothing is set aside for a count: what does not follow ends it.
        let mut segments = Vec::new();
        for _ in 0..next()? {
            let (segment, blocks) = (small(next())?, next()?);
            segments.push(Content { segment, blocks, alive: next()?, all: next()? });
        }
        let next_run = small(next()).filter(|number| *number <= u32::MAX / 2)?;
        let mut runs = Vec::new();
        for _ in 0..next()? {
            runs.push(small(next())?);
        }
        let checkpoint = Checkpoint { segment, offset, segments };
        rest.is_empty().then_some(Self { checkpoint, next_run, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let content = |segment| Content { segment, blocks: 3, alive: 1000, all: u64::MAX };
        let checkpoint =
            Checkpoint { segment: 7, offset: u32::MAX, segments: vec![content(1), content(7)] };
        let manifest = Manifest { checkpoint, next_run: 9, runs: vec![8, 5] };
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Some(manifest));
        for at in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..at]), None);
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(Manifest::decode(&other), None);
        }
    }
}
