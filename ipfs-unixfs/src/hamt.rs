//! Directories spread over many blocks by the hash of their names: hash array mapped tries.
//!
//! The format is that of the [UnixFS specification], with its bytes as every implementation writes
//! them: the bits of a name's hash are taken from the highest on, as many for each level as the
//! fanout needs; the bitmap of a block says which of its slots are taken, big end first, without
//! leading zeros; and each link's name begins with its slot in upper-case hexadecimal digits, behind
//! which stands the name of an entry, or nothing if it leads to the next level.
//!
//! [UnixFS specification]: https://specs.ipfs.tech/unixfs/

mod bitmap;
mod build;
mod hash;
mod shard;
mod tree;

pub(crate) use self::build::Build;
pub(crate) use self::hash::NameHash;
#[cfg(test)]
pub(crate) use self::hash::colliding_names;
pub(crate) use self::shard::Shape;
pub(crate) use self::shard::look_up;
pub use self::shard::{Shard, Slot};
pub(crate) use self::tree::Tree;
