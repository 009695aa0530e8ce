//! Trees as tar archives, and archives as entries.
//!
//! [`Exporter::tar`](crate::Exporter::tar) makes an archive of a tree as it is fetched, as
//! `ipfs get --archive` and gateways do: one entry for the root, named by its CID, then all that is
//! below it. [`Reader`] reads any archive, from whoever it is, as it arrives.
//!
//! The format is that of POSIX with the extensions of 2001 (pax) where an entry needs them, which
//! Go, GNU tar and bsdtar read: for paths and targets that are longer than 100 bytes or not ASCII,
//! files of 8 GiB or more, and times before 1970, beyond 8^11 seconds, or with nanoseconds.

mod entries;
mod gzip;
mod header;
mod input;
mod pax;
mod read;
mod write;

pub(crate) use self::entries::Entries;
pub use self::{
    read::{Entry, Kind, Part, Reader},
    write::{Archive, Options},
};

/// What every error of an archive is about.
const WHAT: &str = "tar archive";
