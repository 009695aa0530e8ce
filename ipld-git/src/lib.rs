//! Git objects as IPLD, byte for byte.
//!
//! Every object that git itself takes can be read in place, shown as a value of the IPLD data model
//! under the CID that says the same as its object id, and written again with exactly its bytes:
//! signed by whatever program, encoded in whatever way, with SHA-1 or SHA-256 ids.
//!
//! ```
//! use ipld_git::{Object, ObjectFormat, cid_of, decode_as, encode_as};
//!
//! let bytes = b"commit 148\0\
//!     tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
//!     author A <a@example.com> 1112911993 -0700\n\
//!     committer A <a@example.com> 1112911993 -0700\n\
//!     \n\
//!     an empty tree\n";
//!
//! // Read in place: nothing is copied, and nothing looked at that is not asked for.
//! let object = Object::parse(ObjectFormat::Sha1, bytes)?;
//! let Object::Commit(commit) = object else { panic!("a commit") };
//! assert_eq!(commit.author().unwrap().seconds(), Some(1_112_911_993));
//! assert_eq!(commit.message(), b"an empty tree\n");
//! println!("{} is {}", object.id()?, cid_of(&object.id()?));
//!
//! // As a value, and the same bytes again.
//! let value = decode_as(ObjectFormat::Sha1, bytes)?;
//! assert_eq!(encode_as(ObjectFormat::Sha1, &value)?, bytes);
//! # Ok::<(), ipld_git::Error>(())
//! ```
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`Object`], [`Blob`], [`Tree`], [`Commit`], [`Tag`] | objects, read in place |
//! | [`Entry`], [`Mode`], [`Person`], [`Header`], [`MergeTag`] | their parts |
//! | [`links_as`], [`Object::links`], [`Walk`] | the objects that an object names |
//! | [`CommitBuilder`], [`TreeBuilder`], [`TagBuilder`], [`blob()`] | new objects |
//! | [`decode_as`], [`encode_as`] | the data model |
//! | [`GitCodec`], [`GitSha1`], [`GitSha256`] | the codec, for a table of codecs |
//! | [`ObjectId`], [`ObjectFormat`], [`cid_of`], [`id_of`] | ids and CIDs |
//! | `inflate`, `deflate` (feature `zlib`) | loose objects |
//! | `repository` (feature `repository`) | whole repositories on disk, in and out |
//!
//! # In an IPFS node
//!
//! The codecs implement `ipld_core::codec::Codec`, so any table of such codecs takes them. In a node
//! of `ipfs-core` it is one line, after which paths such as `/ipfs/<commit>/tree/src/hash/lib.rs`
//! lead from object to object: `Node::builder().codec(ipld_git::GitCodec)`. With
//! `.codec_for(0x12, ipld_git::GitSha256)` beside it, trees of SHA-256 repositories are never
//! ambiguous.
//!
//! # When not to use it
//!
//! To work with a repository: `gix` and `git2` know its index, its references, its configuration and
//! the network. This crate knows objects.
//!
//! # What it takes, and what it does not
//!
//! An object is what git's own reader takes. A few things that git's reader ignores are checked:
//! the size in the header is that of the content. Nothing here does IO, starts threads, or panics,
//! whatever the bytes; time and memory are bounded by the size of the input, where not said
//! otherwise. Bytes are not hashed when they are read: [`Object::id`] does that, and finds
//! collision attacks on SHA-1 as git does.
//!
//! # Features
//!
//! None is on by default. `zlib` adds loose objects (`flate2`); `repository` adds repositories on
//! disk (`gix-odb`), and is the only part that uses files.

mod blob;
mod build;
mod codec;
mod commit;
mod error;
mod header;
mod id;
mod kind;
mod links;
#[cfg(feature = "zlib")]
mod loose;
mod object;
mod person;
#[cfg(feature = "repository")]
pub mod repository;
mod scan;
mod tag;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod walk;

#[cfg(feature = "zlib")]
pub use self::loose::{deflate, inflate};
pub use self::{
    blob::{Blob, blob},
    build::{CommitBuilder, TagBuilder, TreeBuilder},
    codec::{GitCodec, GitSha1, GitSha256, detect_format},
    commit::{Commit, MergeTag, Parents},
    error::{Error, Result},
    header::{Header, Headers},
    id::{GIT_RAW, ObjectFormat, ObjectId, cid_of, id_of},
    kind::Kind,
    links::{Links, links_as},
    object::{Object, read_header, with_header},
    person::{Person, PersonBuf},
    tag::Tag,
    tree::{Entries, Entry, Mode, Tree, compare_names},
    value::{decode_as, encode_as},
    walk::Walk,
};
