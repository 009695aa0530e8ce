//! CAR files: read and written as streams, used as stores, imported and exported.
//!
//! | | |
//! |---|---|
//! | [`Reader`] | the blocks of a CAR of either version, verified, from any stream of bytes |
//! | [`Writer`], [`IndexedWriter`] | a CARv1, and a CARv2 with its index |
//! | [`CarStore`] | a file of either version as a store that is only read |
//! | [`AppendableCar`] | a CARv2 that is written to as a store, and finished when it is closed |
//! | [`import`], [`export`] | all of a CAR into a store, all below a root out of a source |
//! | [`walk`], [`measure`] | the blocks of an export in their order, and its length beforehand |
//!
//! The formats are those of the [CARv1] and [CARv2] specifications. The sections themselves, without
//! IO, are in [`ipfs_traits::car`].
//!
//! # Limits
//!
//! Headers of at most 1 MiB ([`ipfs_traits::car::MAX_HEADER`]), blocks of at most 2 MiB unless more is
//! asked for, digests of at most 64 bytes, varints in their shortest form. What is cut off is an
//! error and never looks like an end. Padding behind the last section, which some writers leave, is
//! refused, as Kubo does.
//!
//! Identity CIDs hold their blocks: an import verifies such a section and stores nothing, a store
//! does not list it, and an export writes it as Kubo does unless it is told not to.
//!
//! Kubo imports what is written here if each block has a codec that it knows and at most 2 MiB.
//!
//! [CARv1]: https://ipld.io/specs/transport/car/carv1/
//! [CARv2]: https://ipld.io/specs/transport/car/carv2/

mod append;
mod export;
mod file;
mod import;
mod index;
mod read;
mod store;
mod v2;
mod walk;
mod write;

pub use self::{
    append::{AppendOptions, AppendableCar},
    export::{Export, Exported, export, measure},
    import::{Import, Imported, import},
    index::IndexKind,
    read::{ReadOptions, Reader},
    store::CarStore,
    walk::{Order, walk},
    write::{IndexedWriter, Writer},
};

/// What errors of this format name.
const WHAT: &str = "CAR";

/// What goes wrong with a file or a stream.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}{}", of(.path.as_deref()))]
struct CarError {
    action: &'static str,
    path: Option<std::path::PathBuf>,
    source: std::io::Error,
}

fn of(path: Option<&std::path::Path>) -> String {
    path.map_or_else(String::new, |path| format!(" {}", path.display()))
}

/// Turns an error of a stream into one of the family.
fn stream_error(action: &'static str) -> impl FnOnce(std::io::Error) -> ipfs_traits::Error {
    move |source| ipfs_traits::Error::component(WHAT, CarError { action, path: None, source })
}

/// Turns an error of a file into one of the family.
fn file_error(
    action: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> ipfs_traits::Error + use<> {
    let path = Some(path.to_owned());
    move |source| ipfs_traits::Error::component(WHAT, CarError { action, path, source })
}
