//! Files and directories as IPFS blocks, and back.
//!
//! [`Importer`] makes blocks of a file, a stream or a directory tree, with the CIDs that Kubo gives
//! them; [`Exporter`] reads files, ranges, directories and whole trees from any
//! [`BlockSource`](ipfs_traits::BlockSource). Both work on any store and any runtime, with memory
//! that stays flat whatever the size of the content.
//!
//! ```
//! use std::sync::Arc;
//!
//! use futures::AsyncReadExt;
//! use ipfs_traits::{memory::MemoryStore, Local, VirtualRuntime};
//! use ipfs_unixfs::{Exporter, Importer};
//!
//! let runtime = VirtualRuntime::new();
//! let store = Arc::new(MemoryStore::new());
//! # runtime.block_on(async {
//! let importer = Importer::new(store.clone(), Arc::new(runtime.clone()));
//! let imported = importer.bytes("hello world").await?;
//!
//! let exporter = Exporter::new(Arc::new(Local(store)), Arc::new(runtime.clone()));
//! let mut file = exporter.open(&imported.cid).await?;
//! let mut text = String::new();
//! file.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello world");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap().unwrap();
//! ```
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`Importer`], [`Params`], [`Imported`] | from content to blocks |
//! | [`NewEntry`] | a tree that comes from elsewhere than a disk |
//! | [`Chunker`], [`Chunking`] | how files are cut, also by your own code |
//! | [`Exporter`], [`File`], [`Tree`], [`Listed`] | from blocks to content |
//! | [`DirectoryEditor`], [`FileEditor`] | changing one directory, or one file |
//! | [`mfs`] | a mutable tree of both |
//! | [`Patcher`], [`Diff`], [`Change`] | trees changed at a path, and how two trees differ |
//! | [`Work`], [`Event`], [`Progress`] | an import or export under way |
//! | [`Walk`], [`dag_stat`] | the blocks of any DAG, in order; how large they are |
//! | [`Node`] | one block as a node of UnixFS |
//! | [`tar`] | trees as archives, and archives as entries |
//! | [`dagpb`], [`data`] | the two formats below |
//!
//! # When not to use it
//!
//! In an application that runs a node: `ipfs-core` joins this with stores, peers and holds, and
//! re-exports it.

mod ahead;
mod attributes;
mod change;
mod child;
pub mod dagpb;
pub mod data;
mod diff;
mod directory;
mod edit;
mod export;
pub mod hamt;
mod import;
mod layout;
pub mod mfs;
mod name;
mod node;
mod params;
mod patch;
mod rules;
pub mod tar;
mod walk;

pub use ipfs_traits::work::{Event, Progress, Work};

pub use self::{
    change::Change,
    diff::Diff,
    directory::{DirectoryEditor, Target},
    edit::FileEditor,
    export::{
        Disk, Entry, Export, Exported, Exporter, File, Item, LinksOnPath, Listed, Resolution, Stat,
        StatKind, Tree,
    },
    import::{Import, Imported, Importer, NewContent, NewEntry},
    name::Name,
    node::{DirectoryNode, FileNode, MetadataNode, Node, SymlinkNode, Unmeasured},
    params::{
        Attribute, Chunker, Chunking, CustomChunker, Cutter, Layout, Params, Sharding, Symlinks,
    },
    patch::Patcher,
    walk::{DagStat, Edge, RootStat, Visit, Walk, WalkOptions, dag_stat},
};
