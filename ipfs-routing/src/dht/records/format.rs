//! How records stand in the datastore. `DESIGN.md` describes it.

use std::time::SystemTime;

use bytes::Bytes;
use ipfs_traits::{Multiaddr, PeerId, varint};

const PROVIDER: u8 = b'p';
const VALUE: u8 = b'v';
const WHAT: &str = "DHT record";

/// What an entry is, as far as its upkeep has to know.
pub(super) enum Stored {
    Provider { peer: PeerId, ends: u64 },
    Value { ends: u64 },
}

impl Stored {
    /// The entry under a key without its prefix; `None` for what cannot be read.
    pub(super) fn of(key: &[u8], value: &[u8]) -> Option<Self> {
        let ends = read_end(value)?.0;
        match key.split_first()? {
            (&PROVIDER, rest) => {
                let (len, rest) = rest.split_first()?;
                let peer = PeerId::from_bytes(rest.get(usize::from(*len)..)?).ok()?;
                Some(Self::Provider { peer, ends })
            }
            (&VALUE, _) => Some(Self::Value { ends }),
            _ => None,
        }
    }
}

/// `p`, the length of the key, the key; the peer follows.
pub(super) fn provider_key(mut prefix: Vec<u8>, key: &[u8]) -> Vec<u8> {
    prefix.push(PROVIDER);
    prefix.push(key.len() as u8);
    prefix.extend_from_slice(key);
    prefix
}

/// `v`, the key.
pub(super) fn value_key(mut prefix: Vec<u8>, key: &[u8]) -> Vec<u8> {
    prefix.push(VALUE);
    prefix.extend_from_slice(key);
    prefix
}

/// The end, then each address after its length.
pub(crate) fn provider(ends: u64, addresses: &[Multiaddr]) -> Bytes {
    let mut out = ends.to_be_bytes().to_vec();
    for address in addresses {
        varint::write(address.len() as u64, &mut out);
        out.extend_from_slice(address.as_ref());
    }
    out.into()
}

pub(crate) fn read_provider(stored: &[u8]) -> Option<(u64, Vec<Multiaddr>)> {
    let (ends, mut rest) = read_end(stored)?;
    let mut addresses = Vec::new();
    while !rest.is_empty() {
        let (len, after) = varint::read(rest, WHAT).ok()?;
        let (address, after) = after.split_at_checked(usize::try_from(len).ok()?)?;
        addresses.push(Multiaddr::try_from(address.to_vec()).ok()?);
        rest = after;
    }
    Some((ends, addresses))
}

/// The end, then the value.
pub(super) fn value(ends: u64, value: &[u8]) -> Bytes {
    [&ends.to_be_bytes()[..], value].concat().into()
}

pub(super) fn read_value(stored: &Bytes) -> Option<(u64, Bytes)> {
    let (ends, rest) = read_end(stored)?;
    Some((ends, stored.slice_ref(rest)))
}

fn read_end(stored: &[u8]) -> Option<(u64, &[u8])> {
    let (ends, rest) = stored.split_first_chunk()?;
    Some((u64::from_be_bytes(*ends), rest))
}

/// Seconds since 1970; a clock that stands before it says 0.
pub(super) fn seconds(wall: SystemTime) -> u64 {
    wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
