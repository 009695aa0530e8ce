//! IPNS: names that are keys, and the records that say what they lead to now.
//!
//! A [`Name`] is the peer id of a key. Whoever has the key signs a [`Record`], which leads from the
//! name to a path until it expires; anybody can hold it against the name, whoever brought it. Of
//! several the best one counts ([`Record::is_better_than`]). [`Ipns`] is these rules for a router.
//!
//! Publishing, resolving and renewing stand in [`names`](crate::names). The format is that of the
//! [IPNS record specification].
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use ipfs_routing::ipns::{Name, Record};
//! use libp2p_identity::Keypair;
//!
//! let (key, now) = (Keypair::generate_ed25519(), SystemTime::now());
//! let (day, minute) = (Duration::from_secs(86_400), Duration::from_secs(60));
//! let record = Record::sign(&key, "/ipfs/bafkqaaa", 1, now + day, minute, true)?;
//!
//! let name = Name::from(key.public().to_peer_id());
//! let received = Record::parse(record.as_bytes().clone())?;
//! received.verify(&name, now)?;
//! assert_eq!(received.value(), b"/ipfs/bafkqaaa");
//! # Ok::<(), ipfs_traits::Error>(())
//! ```
//!
//! [IPNS record specification]: https://specs.ipfs.tech/ipns/ipns-record/

mod data;
mod name;
mod record;

use std::time::SystemTime;

use ipfs_traits::Result;

pub use self::{name::Name, record::Record};
use crate::Validator;

/// The rules of the namespace `ipns`: under `/ipns/` and a peer id stands a record of that name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ipns;

impl Validator for Ipns {
    fn validate(&self, key: &[u8], value: &[u8], now: SystemTime) -> Result<()> {
        let name = Name::from_routing_key(key)?;
        Record::parse(value.to_vec())?.verify(&name, now)
    }

    fn is_better(&self, _: &[u8], new: &[u8], old: &[u8]) -> bool {
        let parse = |value: &[u8]| Record::parse(value.to_vec());
        matches!((parse(new), parse(old)), (Ok(new), Ok(old)) if new.is_better_than(&old))
    }
}
