//! An IPFS node as a value: a library that any async Rust application embeds.
//!
//! ```
//! use futures::AsyncReadExt;
//! use ipfs_core::Node;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two nodes, here in one process. `.data_dir("…")` keeps one on disk.
//! let local = || Node::builder().listen(["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
//! let (a, b) = (local().spawn().await?, local().spawn().await?);
//!
//! let added = a.unixfs().add_bytes("hello world").await?;
//! b.connect(a.addresses()).await?;
//! let mut text = String::new();
//! b.unixfs().open(&added.cid).await?.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello world");
//!
//! a.close().await?;
//! b.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The node lives in the application's own runtime, makes no threads and no runtime of its own, and
//! holds no global: any number of nodes run in one process. It speaks with Kubo and Helia, and gives
//! the same CIDs.
//!
//! # Map
//!
//! | | |
//! |---|---|
//! | [`Node`], [`Builder`] | the node, and how it is built |
//! | [`Node::unixfs`] → [`UnixFs`] | files and directories: add, open, list, write to disk |
//! | [`Node::dag`] → [`Dag`] | values of the data model, links, walks, CAR files |
//! | [`Node::blocks`] → [`Blocks`] | single blocks |
//! | [`Node::source`] → [`NodeSource`] | many blocks that belong together, from here or fetched |
//! | [`Node::fetch`] → [`Fetch`] | a path, a file, a range or a whole DAG brought here, watched |
//! | [`Node::pins`] → [`Pins`] | what stays for good |
//! | [`Hold`], [`TemporaryPin`] | what must not be deleted yet |
//! | [`Node::gc`] → [`Gc`], [`CollectWhen`] | what nothing keeps goes, when it is told to or by itself |
//! | [`Node::repo`] → [`Repo`] | how much is kept, and whether it is whole |
//! | [`Node::events`] → [`Events`] | what happens in the node |
//! | [`Node::keys`] → [`Keys`] | keys: the node's own, and those that names are published with |
//! | [`Node::names`] → [`Names`] | names that stay while what they lead to changes: published and resolved |
//! | [`DhtOptions`], [`Node::dhts`] → [`Dhts`] | the DHTs that a node is in, if any |
//! | [`Provide`], [`Node::providing`] → [`Providing`] | what a node announces, if anything |
//! | [`Bootstrap`], [`Node::peering`] → [`Peering`] | whom the node connects to by itself |
//! | [`PinningService`] | having content pinned by others |
//! | [`Path`], [`IntoPath`], [`IntoPeer`] | what calls take |
//! | `http_client` | the client of HTTP by reqwest (feature `reqwest`) |
//! | `dns` | the resolver of names by hickory (feature `dns`) |
//! | [`standard_codecs`], [`Json`], [`Cbor`], [`Raw`] | codecs |
//! | [`bitswap`], [`blockstore`], [`routing`], [`unixfs`] | the parts, to be used alone or with other settings |
//! | the rest | `ipfs-traits`: what a plug of one's own is written against |
//!
//! # Plugs
//!
//! A store, a datastore, a network, a routing, an exchange, a codec, a hash function or a runtime of
//! one's own goes in through the [`Builder`]; each is written against `ipfs-traits` alone, and
//! checked by one of its [`conformance`] suites. Several exchanges go in as one, such as peers and a
//! gateway: see [`Builder::exchange`]. Routers likewise: see [`routing::combine`].
//!
//! # Features
//!
//! `tokio` (default): the runtime is found, if it is tokio. `libp2p` (default): connections over TCP
//! and QUIC; without it a network must be given, or the node is offline. `dns` (default): domains are
//! looked up, by the system's servers or over HTTPS; without it a resolver must be given, or
//! `/ipns/<domain>` is not resolved. `reqwest`: a client of HTTP.
//!
//! # When not to use it
//!
//! To read or write blocks, files or messages without a node: the crates below, which this one
//! re-exports, each stand alone.

mod addresses;
mod batches;
mod blocks;
mod bootstrap;
mod builder;
mod chance;
mod codec;
mod dag;
mod data_dir;
#[cfg(feature = "dns")]
pub mod dns;
mod events;
mod fetch;
mod files;
mod gc;
mod guarded;
mod hold;
#[cfg(feature = "reqwest")]
pub mod http_client;
mod keeper;
mod keys;
mod lease;
mod mfs;
mod names;
#[cfg(feature = "libp2p")]
pub mod network;
mod node;
mod path;
mod peering;
mod pin;
pub mod pinning_service;
mod providing;
mod reach;
mod repo;
mod routers;
mod source;
mod writer;

#[cfg(test)]
#[path = "../../ipfs-blockstore/tests/support/faulty.rs"]
mod faulty;
#[cfg(test)]
#[path = "../traits/tests/support/numbers.rs"]
mod numbers;

pub use ipfs_bitswap as bitswap;
pub use ipfs_blockstore as blockstore;
pub use ipfs_routing as routing;
pub use ipfs_traits::*;
pub use ipfs_unixfs as unixfs;
pub use libp2p_identity as identity;

#[cfg(feature = "dns")]
pub use self::dns::DnsResolver;
#[cfg(feature = "reqwest")]
pub use self::http_client::ReqwestClient;
pub use self::{
    addresses::IntoPeer,
    blocks::{BlockStat, Blocks},
    bootstrap::Bootstrap,
    builder::Builder,
    codec::{Cbor, Json, Raw, standard_codecs},
    dag::{Dag, ExportedLocal, ImportOptions, ImportedCar, PutOptions, Resolved},
    events::{Events, NodeEvent},
    fetch::{Fetch, FetchProgress, Fetched, Fetching},
    files::{Added, Adding, Patched, UnixFs},
    gc::{Collect, CollectWhen, Collected, Gc},
    hold::Hold,
    keys::{
        FolderKeystore, Key, KeyInfo, Keys, Keystore, MAX_KEY_NAME, MemoryKeystore, check_name,
    },
    names::Names,
    node::Node,
    path::{IntoPath, Namespace, Path},
    peering::Peering,
    pin::{AddPin, Indirect, Pin, PinMode, PinnedBy, Pins, TemporaryPin, Verified, VerifyPins},
    pinning_service::PinningService,
    providing::{Provide, Providing},
    reach::Follow,
    repo::{Fault, Faults, FolderStat, Mend, Repo, RepoStat, VerifiedBlocks},
    routers::{DhtOptions, Dhts},
    source::NodeSource,
};
