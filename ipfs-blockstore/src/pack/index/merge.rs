//! Several sources of keys as one, in order, the newest word of each key alone.

use ipfs_traits::Multihash;

use super::{
    super::{error::PackError, place::Place},
    run::{Entries, Entry},
    table::Sorted,
};

/// Keys in order.
#[derive(Debug)]
pub(super) enum Source {
    Memory(Sorted),
    File(Entries),
}

impl Source {
    fn next(&mut self) -> Result<Option<Entry>, PackError> {
        match self {
            Self::Memory(entries) => Ok(entries.next()),
            Self::File(entries) => entries.next(),
        }
    }
}

/// The keys of all sources, those deleted too.
#[derive(Debug)]
pub(super) struct Merged {
    /// The newest first, each with its next key.
    sources: Vec<(Source, Option<Entry>)>,
}

impl Merged {
    pub(super) fn new(sources: Vec<Source>) -> Result<Self, PackError> {
        let begin = |mut source: Source| {
            let first = source.next()?;
            Ok((source, first))
        };
        Ok(Self { sources: sources.into_iter().map(begin).collect::<Result<_, PackError>>()? })
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, PackError> {
        let heads = self.sources.iter().filter_map(|(_, head)| head.as_ref());
        // Of equal ones this is the first, and so the newest.
        let Some(least) = heads.min_by(|(a, _), (b, _)| a.cmp(b)).copied() else {
            return Ok(None);
        };
        for (source, head) in &mut self.sources {
            if head.as_ref().is_some_and(|(other, _)| *other == least.0) {
                *head = source.next()?;
            }
        }
        Ok(Some(least))
    }

    /// The next key that is not deleted.
    pub(super) fn next_alive(&mut self) -> Result<Option<(Multihash, Place)>, PackError> {
        loop {
            match self.next()? {
                Some((key, Some(place))) => return Ok(Some((key, place))),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}
