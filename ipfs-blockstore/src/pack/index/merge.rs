//! Several sources of keys as one, in order, the newest word of each key alone.

use std::cmp::Ordering;

use ipfs_traits::Multihash;

use super::{
    super::{error::PackError, place::Place},
    run::{Entries, Entry, Rank, rank},
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
    /// Those that have not ended, the newest first.
    sources: Vec<Head>,
}

/// A source, and its next key.
#[derive(Debug)]
struct Head {
    source: Source,
    next: Entry,
    rank: Rank,
}

impl Head {
    /// `None` for a source without keys.
    fn new(mut source: Source) -> Result<Option<Self>, PackError> {
        let next = source.next()?;
        Ok(next.map(|next| Self { source, rank: rank(&next.0), next }))
    }

    /// Goes on to the next key; `false` when there is none.
    fn advance(&mut self) -> Result<bool, PackError> {
        let Some(next) = self.source.next()? else { return Ok(false) };
        (self.rank, self.next) = (rank(&next.0), next);
        Ok(true)
    }

    fn order(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank).then_with(|| self.next.0.cmp(&other.next.0))
    }
}

impl Merged {
    pub(super) fn new(sources: Vec<Source>) -> Result<Self, PackError> {
        let heads = sources.into_iter().filter_map(|source| Head::new(source).transpose());
        Ok(Self { sources: heads.collect::<Result<_, PackError>>()? })
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, PackError> {
        // Of equal ones this is the first, and so the newest.
        let heads = self.sources.iter().enumerate();
        let Some((mut at, least)) = heads.min_by(|(_, a), (_, b)| a.order(b)) else {
            return Ok(None);
        };
        let (rank, least) = (least.rank, least.next);
        while let Some(head) = self.sources.get_mut(at) {
            if head.rank == rank && head.next.0 == least.0 && !head.advance()? {
                self.sources.remove(at);
            } else {
                at += 1;
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
