//! Asking other nodes for routing, over HTTP, and answering them.
//!
//! [`HttpRouter`] asks an endpoint, [`Server`] is one: both speak the
//! [Delegated Routing V1 HTTP API][specification]. Several endpoints are several routers, which
//! [`Combined`](crate::combine::Combined) makes one.
//!
//! | behind `/routing/v1/` | |
//! |---|---|
//! | `GET providers/{cid}` | who has a block |
//! | `GET peers/{peer id}` | where a peer is |
//! | `GET dht/closest/peers/{cid or peer id}` | who is close to a key |
//! | `GET` and `PUT ipns/{name}` | the record under a name |
//!
//! # Not here
//!
//! Providing: the API had a `PUT providers/` once, which servers no longer take. Announcing over HTTP
//! waits for its successor.
//!
//! [specification]: https://specs.ipfs.tech/routing/http-routing-v1/

mod client;
mod decode;
mod filter;
mod pause;
mod record;
mod server;

use std::fmt::Debug;

use futures_core::stream::BoxStream;
use ipfs_traits::{Cid, Error, Multihash, PeerId, Result, codes};

pub use self::{
    client::{HttpRouter, Options},
    decode::{Decoder, Format, MAX_ANSWER, MAX_RECORDS},
    filter::Filters,
    pause::MAX_PAUSE,
    record::{MAX_PROTOCOL, MAX_PROTOCOLS, MAX_RECORD, Record},
    server::{MAX_URL, Server, ServerOptions},
};
use crate::ipns::Name;

/// Which peers are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// Those who have a block.
    Providers(Multihash),
    /// This one.
    Peer(PeerId),
    /// Those close to a key: a block's multihash, or the one that a peer id is.
    Closest(Multihash),
}

/// Looks for peers, and knows more of them than their addresses: what a [`Server`] may answer from
/// in the place of a router.
pub trait Records: Debug + Send + Sync + 'static {
    /// What is known of the peers that are looked for, as it is found.
    fn records(&self, lookup: &Lookup) -> BoxStream<'static, Result<Record>>;
}

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const NDJSON_OR_JSON: &str = "application/x-ndjson,application/json";
const IPNS_RECORD: &str = "application/vnd.ipfs.ipns-record";

/// The longest name of a peer or block that is read, in bytes of text: a digest of 64 bytes in base 16,
/// with what stands before it. Base 58 takes time that grows with the square.
const MAX_NAME: usize = 160;

impl Lookup {
    /// What stands behind `/routing/v1/`.
    fn path(&self) -> String {
        match self {
            Self::Providers(key) => format!("providers/{}", Cid::new_v1(codes::RAW, *key)),
            Self::Peer(peer) => format!("peers/{}", Name::from(*peer).cid()),
            Self::Closest(key) => format!("dht/closest/peers/{}", Cid::new_v1(codes::RAW, *key)),
        }
    }
}

/// The name in the key of an IPNS record.
fn ipns_name(key: &[u8]) -> Result<Name> {
    Name::from_routing_key(key).map_err(|_| Error::unsupported("a value that is no IPNS record"))
}

/// A peer's name, in base 58 or as a CID.
fn peer_id(text: &str) -> Option<PeerId> {
    if text.len() > MAX_NAME {
        return None;
    }
    text.parse().ok().or_else(|| PeerId::from_multihash(*cid(text)?.hash()).ok())
}

fn cid(text: &str) -> Option<Cid> {
    Some(text).filter(|text| text.len() <= MAX_NAME)?.parse().ok()
}
