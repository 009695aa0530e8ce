//! The one error type of the family: what went wrong, said in the meanings a caller can act on.

use std::{borrow::Cow, error::Error as StdError, sync::Arc};

use crate::{Cid, PeerId};

/// What every fallible call of the family returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause below an [`Error`], shared so that one failure can be told to all who waited for it.
pub type Source = Arc<dyn StdError + Send + Sync>;

/// What went wrong.
///
/// The text of a variant says this level only; [`std::error::Error::source`] says why. An error is
/// cheap to clone, because one failed sync or one lost peer is told to every call that waited for
/// it.
///
/// The variants keep apart who is at fault: [`Invalid`](Self::Invalid) is the caller,
/// [`Malformed`](Self::Malformed) and [`Corrupt`](Self::Corrupt) are bytes from outside,
/// [`Peer`](Self::Peer) is another node, [`Component`](Self::Component) is the machine or a part
/// below.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The block is not here, and nobody who was asked gave it.
    #[error("block {0} was not found")]
    NotFound(Cid),

    /// Bytes that should be this block do not hash to its CID.
    #[error("the bytes given for {0} do not hash to it")]
    Corrupt(Cid),

    /// Bytes from outside do not follow their format.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// The format, or the part of it.
        what: &'static str,
        /// What is wrong with the bytes.
        reason: Cow<'static, str>,
    },

    /// No codec is registered for this multicodec.
    #[error("no codec is registered for multicodec 0x{0:x}")]
    UnknownCodec(u64),

    /// The hash function is not in the table, so its digests are neither made nor believed.
    #[error("hash function 0x{0:x} is unknown or not allowed")]
    UnknownHash(u64),

    /// An argument of the call makes no sense.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// The argument.
        what: &'static str,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },

    /// Something is larger (or, for a minimum, smaller) than it may be.
    #[error("{what}: {actual} is beyond the limit of {limit}")]
    Limit {
        /// What was measured, with its unit.
        what: &'static str,
        /// The named bound.
        limit: u64,
        /// What was found.
        actual: u64,
    },

    /// The store has reached the size that its owner allows; nothing of the call was stored.
    #[error("the store is full: {used} bytes of {limit} are used")]
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },

    /// The part cannot do this, and never will in this configuration.
    #[error("{0} is not supported")]
    Unsupported(Cow<'static, str>),

    /// The part was closed.
    #[error("{0} is closed")]
    Closed(&'static str),

    /// Somebody else holds it: a folder locked by another process, a protocol with an acceptor, a
    /// block under a hold.
    #[error("{0} is in use")]
    InUse(Cow<'static, str>),

    /// A block is pinned, by itself or by one above it, and cannot be deleted.
    #[error("block {cid} is pinned by {by}")]
    Pinned {
        /// The block.
        cid: Box<Cid>,
        /// What is pinned: the block, or a root above it.
        by: Box<Cid>,
    },

    /// There is no pin of this one itself.
    #[error("{0} is not pinned")]
    NotPinned(Cid),

    /// It was written by a newer version of this software.
    #[error("{what} has version {found}, the newest known here is {known}")]
    Newer {
        /// What carries the version.
        what: &'static str,
        /// The version found.
        found: u64,
        /// The newest version that this software reads.
        known: u64,
    },

    /// A path leads through a name that is not there.
    #[error("there is no {name:?} in {within}")]
    NoEntry {
        /// The name that was looked for.
        name: String,
        /// The block in which it was looked for.
        within: Box<Cid>,
    },

    /// A name leads nowhere: nobody who was asked has a record of it.
    #[error("nothing is known of the name {0:?}")]
    Unresolved(String),

    /// Something of this name is there already.
    #[error("{0} exists already")]
    Exists(String),

    /// Something is there, but of another kind: a directory where a file was wanted.
    #[error("expected {expected}, found {found}")]
    WrongKind {
        /// The kind that the call needs.
        expected: &'static str,
        /// The kind that is there.
        found: &'static str,
    },

    /// Another node did what it must not do.
    #[error("peer {peer}: {reason}")]
    Peer {
        /// The other node.
        peer: PeerId,
        /// What it did.
        reason: Cow<'static, str>,
    },

    /// There is no connection to the peer, and none could be made.
    #[error("peer {0} cannot be reached")]
    Unreachable(PeerId, #[source] Option<Source>),

    /// It took longer than it may.
    #[error("{0} took too long")]
    TimedOut(&'static str),

    /// It happened at a place in a tree of names; the source says what. [`Error::what`] looks
    /// through this.
    #[error("at {path:?}")]
    At {
        /// The names that lead to the place, each behind a slash, with U+FFFD in the place of what
        /// is not UTF-8.
        path: Box<str>,
        /// What happened.
        #[source]
        source: Arc<Self>,
    },

    /// Not all that belongs together could be had. What could is kept: asking again asks only for
    /// the rest.
    #[error("{count} blocks could not be had or followed")]
    Incomplete {
        /// How many blocks it is, as far as they are known: what lies below them is not.
        count: u64,
        /// The first of them, each with the reason.
        missing: Arc<[Missing]>,
        /// The reason of the first one.
        #[source]
        source: Arc<Self>,
    },

    /// A part below failed.
    #[error("{name} failed")]
    Component {
        /// The part.
        name: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
}

/// A block that something is incomplete without ([`Error::Incomplete`]).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Missing {
    /// The block.
    pub cid: Cid,
    /// Why: it was not found, is damaged, cannot be understood, or did not come in time.
    pub why: Error,
}

impl Missing {
    /// The block, and why it is missing.
    pub const fn new(cid: Cid, why: Error) -> Self {
        Self { cid, why }
    }
}

impl Error {
    /// An [`Error::Incomplete`] of so many blocks, of which these are the first.
    ///
    /// ```
    /// use ipfs_traits::{Cid, Error, Missing};
    ///
    /// let cid = Cid::default();
    /// let error = Error::incomplete(1, vec![Missing::new(cid, Error::NotFound(cid))]);
    /// assert!(matches!(&error, Error::Incomplete { missing, .. } if missing[0].cid == cid));
    /// ```
    pub fn incomplete(count: u64, missing: Vec<Missing>) -> Self {
        let why = missing.first().map(|first| first.why.clone());
        let source = Arc::new(why.unwrap_or(Self::TimedOut("the wait for blocks")));
        Self::Incomplete { count, missing: missing.into(), source }
    }

    /// An [`Error::Component`] from the error of the part.
    pub fn component(
        name: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Component { name, source: source.into().into() }
    }

    /// An [`Error::Invalid`]: the caller's argument makes no sense.
    pub fn invalid(what: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid { what, reason: reason.into() }
    }

    /// An [`Error::Malformed`]: bytes from outside do not follow their format.
    pub fn malformed(what: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { what, reason: reason.into() }
    }

    /// An [`Error::Limit`], with the numbers widened.
    pub fn limit(what: &'static str, limit: usize, actual: usize) -> Self {
        Self::Limit { what, limit: limit as u64, actual: actual as u64 }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Unsupported(what.into())
    }

    /// The same, met at a place in a tree of names: an [`Error::At`]. One that has a place keeps it.
    ///
    /// ```
    /// use ipfs_traits::{Cid, Error};
    ///
    /// let error = Error::NotFound(Cid::default()).at("/a/b");
    /// assert!(matches!(&error, Error::At { path, .. } if **path == *"/a/b"));
    /// assert!(matches!(error.what(), Error::NotFound(_)));
    /// assert!(error.is_not_found());
    /// ```
    #[must_use]
    pub fn at(self, path: impl Into<Box<str>>) -> Self {
        match self {
            Self::At { .. } => self,
            other => Self::At { path: path.into(), source: Arc::new(other) },
        }
    }

    /// What happened, wherever it did.
    pub fn what(&self) -> &Self {
        match self {
            Self::At { source, .. } => source.what(),
            other => other,
        }
    }

    /// Whether this says that a block is absent, and nothing worse.
    pub fn is_not_found(&self) -> bool {
        matches!(self.what(), Self::NotFound(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_one_level_and_source_says_why() {
        let io = std::io::Error::other("the disk is on fire");
        let error = Error::component("flat store", io);
        assert_eq!(error.to_string(), "flat store failed");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("the disk is on fire"));
    }

    #[test]
    fn stays_small_enough_to_return_by_value() {
        assert!(size_of::<Error>() <= 112, "{}", size_of::<Error>());
    }
}
