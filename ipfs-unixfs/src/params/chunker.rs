//! How a file is cut into leaves, and how that is spelled.

use std::{fmt, str::FromStr};

use ipfs_traits::{Error, Result, limits};

use super::chunking::{Chunking, CustomChunker};

/// How a file is cut into leaves.
///
/// Its text is that of `ipfs add --chunker`: `size-N`; `rabin`, `rabin-AVG` and
/// `rabin-MIN-AVG-MAX`, whose numbers may have labels (`rabin-min:18-avg:25-max:32`); `buzhash`;
/// `default` and nothing for `size-262144`.
///
/// Kubo also takes an average under 48 for `rabin-AVG`, and then does not cut at all, and anything
/// behind `buzhash-`; both are errors here.
///
/// ```
/// use ipfs_unixfs::Chunker;
///
/// assert_eq!("size-1048576".parse::<Chunker>()?, Chunker::fixed(1 << 20)?);
/// assert_eq!("rabin-65536".parse::<Chunker>()?.to_string(), "rabin-21845-65536-98304");
/// assert!("rabin-12-512-1024".parse::<Chunker>().is_err());
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunker {
    /// Into pieces of so many bytes each, the last one shorter. Make it with
    /// [`Chunker::fixed`].
    Fixed(usize),
    /// Where the Rabin fingerprint of the last 16 bytes ends in zeros: a change of some bytes
    /// changes only the pieces around them. Make it with [`Chunker::rabin`].
    Rabin {
        /// The fewest bytes of a piece but the last.
        min: usize,
        /// About how many bytes a piece has: its logarithm, rounded down, is the number of zeros.
        avg: usize,
        /// The most bytes of a piece.
        max: usize,
    },
    /// Where a cyclic hash of the last 32 bytes ends in zeros, into pieces of 128 KiB to 512 KiB:
    /// as [`Rabin`](Self::Rabin), and faster.
    Buzhash,
    /// As the user's own code says. Make it with [`Chunker::custom`].
    Custom(CustomChunker),
}

const WHAT: &str = "chunker";

impl Chunker {
    /// The largest leaf content, in bytes: a block of 2 MiB less room for what stands around it,
    /// as Kubo has it.
    pub const MAX_SIZE: usize = limits::MAX_BLOCK - 256;

    /// What `default` means, and what `rabin` has on average: Kubo's 256 KiB.
    const DEFAULT_SIZE: usize = 256 << 10;

    /// The fewest bytes of a Rabin piece: its window.
    const RABIN_WINDOW: usize = 16;

    /// The fewest bytes of a Buzhash piece but the last.
    pub(crate) const BUZHASH_MIN: usize = 128 << 10;

    /// The most bytes of a Buzhash piece.
    pub(crate) const BUZHASH_MAX: usize = 512 << 10;

    /// Pieces of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for 0, [`Error::Limit`] beyond [`Self::MAX_SIZE`].
    pub fn fixed(size: usize) -> Result<Self> {
        Self::Fixed(size).checked()
    }

    /// Pieces of `min` to `max` bytes, about `avg` of them, by their content.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] unless `16 <= min < avg < max`, [`Error::Limit`] for a `max` beyond
    /// [`Self::MAX_SIZE`].
    pub fn rabin(min: usize, avg: usize, max: usize) -> Result<Self> {
        Self::Rabin { min, avg, max }.checked()
    }

    /// Pieces as `chunking` cuts them.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] or [`Error::Limit`] for a [`max_size`](Chunking::max_size) that is not
    /// from 1 to [`Self::MAX_SIZE`].
    pub fn custom(chunking: impl Chunking) -> Result<Self> {
        Self::Custom(CustomChunker::new(chunking)).checked()
    }

    fn checked(self) -> Result<Self> {
        self.check()?;
        Ok(self)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Self::Rabin { min, avg, max } = *self {
            if min < Self::RABIN_WINDOW {
                return Err(Error::invalid(WHAT, "rabin pieces of less than 16 bytes"));
            }
            if min >= avg || avg >= max {
                return Err(Error::invalid(WHAT, "rabin sizes that do not grow: min, avg, max"));
            }
        }
        match self.max_size() {
            0 => Err(Error::invalid(WHAT, "pieces of no bytes")),
            1..=Self::MAX_SIZE => Ok(()),
            size => Err(Error::limit("bytes of a chunk", Self::MAX_SIZE, size)),
        }
    }

    /// The most bytes of a piece.
    pub fn max_size(&self) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Rabin { max, .. } => *max,
            Self::Buzhash => Self::BUZHASH_MAX,
            Self::Custom(custom) => custom.max_size(),
        }
    }
}

/// As Kubo spells it, with all numbers; of a chunker of the user's own its name.
impl fmt::Display for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "size-{size}"),
            Self::Rabin { min, avg, max } => write!(f, "rabin-{min}-{avg}-{max}"),
            Self::Buzhash => f.write_str("buzhash"),
            Self::Custom(custom) => f.write_str(custom.name()),
        }
    }
}

impl FromStr for Chunker {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] for what is no chunker, and as [`Chunker::fixed`] and
    /// [`Chunker::rabin`].
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        match parts[..] {
            ["" | "default"] => Self::fixed(Self::DEFAULT_SIZE),
            ["size", size] => Self::fixed(number(size)?),
            ["rabin"] => Self::rabin_about(Self::DEFAULT_SIZE),
            ["rabin", avg] => Self::rabin_about(number(avg)?),
            ["rabin", min, avg, max] => Self::rabin(
                number(unlabelled(min, "min")?)?,
                number(unlabelled(avg, "avg")?)?,
                number(unlabelled(max, "max")?)?,
            ),
            ["buzhash"] => Ok(Self::Buzhash),
            _ => Err(Error::invalid(WHAT, format!("{text:?} is not known"))),
        }
    }
}

impl Chunker {
    /// From a third of `avg` to half more than it.
    fn rabin_about(avg: usize) -> Result<Self> {
        Self::rabin(avg / 3, avg, avg.saturating_add(avg / 2))
    }
}

fn number(text: &str) -> Result<usize> {
    text.parse().map_err(|_| Error::invalid(WHAT, format!("{text:?} is no number of bytes")))
}

/// A number that may stand behind its label and a colon.
fn unlabelled<'a>(text: &'a str, label: &'static str) -> Result<&'a str> {
    match text.split_once(':') {
        None => Ok(text),
        Some((found, number)) if found == label => Ok(number),
        Some(_) => Err(Error::invalid(WHAT, format!("{text:?} stands where {label} does"))),
    }
}
