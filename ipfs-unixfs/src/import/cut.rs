//! Cutting runs of bytes into pieces, wherever the runs begin and end.

mod buzhash;
mod rabin;

use bytes::Bytes;
use ipfs_traits::{Error, Result};

use self::rabin::Rabin;
use crate::{Chunker, Cutter};

/// Cuts one file.
pub(crate) struct Cutting {
    max: usize,
    kind: Kind,
}

enum Kind {
    Fixed,
    Rabin(Rabin),
    Buzhash,
    Custom(Box<dyn Cutter>),
}

impl Cutting {
    /// By a chunker that was checked.
    pub(crate) fn new(chunker: &Chunker) -> Self {
        let kind = match chunker {
            Chunker::Fixed(_) => Kind::Fixed,
            Chunker::Rabin { min, avg, max } => Kind::Rabin(Rabin::new(*min, *avg, *max)),
            Chunker::Buzhash => Kind::Buzhash,
            Chunker::Custom(custom) => Kind::Custom(custom.start()),
        };
        Self { max: chunker.max_size(), kind }
    }

    /// The most bytes of a piece.
    pub(crate) const fn max_size(&self) -> usize {
        self.max
    }

    /// Whether it has to look at the bytes, which takes its time.
    pub(crate) const fn looks(&self) -> bool {
        !matches!(self.kind, Kind::Fixed)
    }

    /// Takes pieces off the front of `run`, up to `count` of them and about `bytes`, sharing its
    /// memory. What is left may be cut only once more bytes have come behind it, unless `end` says
    /// that there are none.
    pub(crate) fn cut(
        &mut self,
        run: &mut Bytes,
        end: bool,
        count: usize,
        bytes: usize,
    ) -> Result<Vec<Bytes>> {
        let (mut pieces, mut taken) = (Vec::new(), 0);
        while pieces.len() < count
            && taken < bytes
            && (run.len() >= self.max || (end && !run.is_empty()))
        {
            let len = self.next(run)?;
            taken += len;
            pieces.push(run.split_to(len));
        }
        Ok(pieces)
    }

    /// All pieces of a whole content.
    pub(crate) fn whole(chunker: &Chunker, mut content: Bytes) -> Result<Vec<Bytes>> {
        Self::new(chunker).cut(&mut content, true, usize::MAX, usize::MAX)
    }

    /// How long the next piece is; `rest` has [`max_size`](Self::max_size) bytes or is the end.
    fn next(&mut self, rest: &[u8]) -> Result<usize> {
        let most = rest.len().min(self.max);
        let len = match &mut self.kind {
            Kind::Fixed => most,
            Kind::Rabin(rabin) => rabin.next(rest),
            Kind::Buzhash => buzhash::next(rest),
            Kind::Custom(cutter) => cutter.next(rest),
        };
        if !(1..=most).contains(&len) {
            let reason = format!("it cut a piece of {len} bytes, and may of 1 to {most}");
            return Err(Error::invalid("chunker", reason));
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
