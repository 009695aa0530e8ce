//! What can go wrong.

use cid::Cid;

use crate::Kind;

/// Why bytes are no git object, or a value cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin with `type SP size NUL`.
    #[error("the bytes do not begin with the type and size of a git object")]
    Header,

    /// The size that the header says is not the size of what follows.
    #[error("the object says it has {declared} bytes, and has {found}")]
    Size {
        /// What the header says.
        declared: u64,
        /// What is there.
        found: u64,
    },

    /// The content is not what git takes for an object of this type.
    #[error("malformed {kind}: {reason}")]
    Malformed {
        /// The type of the object.
        kind: Kind,
        /// What is wrong.
        reason: &'static str,
    },

    /// The bytes are a tree with ids of 20 bytes, and another one with ids of 32.
    #[error(
        "the tree can be read with SHA-1 and with SHA-256 ids: the object format must be named"
    )]
    Ambiguous,

    /// The text or the bytes are no object id.
    #[error("not a git object id: it takes 40 or 64 hexadecimal digits")]
    Id,

    /// The CID is not one of a git object.
    #[error("not the CID of a git object: {0}")]
    Cid(Box<Cid>),

    /// The bytes were made to have the SHA-1 of others.
    #[error("SHA-1 collision attack detected")]
    Collision,

    /// A value, or a part given to a builder, that no git object can hold.
    #[error("{field} cannot stand in a git object: {reason}")]
    Value {
        /// Which part of the value.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The fields of a value do not fit the splice that it carries.
    #[error("the value's fields do not fit what it carries of the original bytes")]
    Disagreement,

    /// A reader or a writer failed.
    #[error("reading or writing failed: {0}")]
    Io(std::io::ErrorKind),

    /// The zlib stream is damaged, or is none.
    #[error("damaged zlib stream")]
    Zlib,

    /// More bytes than the caller allowed.
    #[error("the object has {size} bytes, of {limit} allowed")]
    Limit {
        /// What is allowed.
        limit: u64,
        /// What it has, or at least has.
        size: u64,
    },
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) const fn malformed(kind: Kind, reason: &'static str) -> Error {
    Error::Malformed { kind, reason }
}

pub(crate) const fn value(field: &'static str, reason: &'static str) -> Error {
    Error::Value { field, reason }
}
