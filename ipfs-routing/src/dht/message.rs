//! The messages of the DHT, as libp2p's specification of `kad-dht` has them.

use bytes::Bytes;
use ipfs_traits::{
    Error, Multiaddr, PeerId, PeerInfo, Result,
    network::{MAX_ADDRESS, Protocol},
    protobuf::{Fields, Value, write_bytes, write_varint},
};

/// The protocol among nodes that all can reach.
pub const WAN: Protocol = Protocol::from_static("/ipfs/kad/1.0.0");
/// The protocol among the nodes of a local network.
pub const LAN: Protocol = Protocol::from_static("/ipfs/lan/kad/1.0.0");

/// Bytes of an answer, at the most. go-libp2p-kad-dht allows 4 MiB; what is needed is 20 peers and
/// [`MAX_PROVIDERS`] providers with their addresses.
pub const MAX_ANSWER: usize = 1 << 20;
/// Bytes of a request, at the most: a key, a value of 10 KiB, or one provider with its addresses.
pub const MAX_REQUEST: usize = 48 << 10;
/// Bytes of a key. Those of providers are at most 80 in other implementations, those of names 50.
pub const MAX_KEY: usize = 256;
/// Peers in an answer that are looked at: as many as a bucket holds, and what the specification
/// allows. A longer list would let one peer decide whom a lookup asks.
pub const MAX_CLOSER: usize = 20;
/// Providers in an answer that are looked at. Widely held blocks have thousands.
pub const MAX_PROVIDERS: usize = 1000;
/// Addresses of a peer in a message that are looked at, and that are sent.
pub const MAX_PEER_ADDRESSES: usize = 16;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Keep this value.
    PutValue,
    /// Give the value of this key.
    GetValue,
    /// The sender has this block.
    AddProvider,
    /// Who has this block?
    GetProviders,
    /// Who is near this key?
    FindNode,
    /// No longer used; answered as it came.
    Ping,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::PutValue,
        Self::GetValue,
        Self::AddProvider,
        Self::GetProviders,
        Self::FindNode,
        Self::Ping,
    ];
}

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about; an answer says what its request said.
    pub kind: Kind,
    /// The key: a multihash, the bytes of a peer id, or `/namespace/…`.
    pub key: Bytes,
    /// The value, and the key it stands under.
    pub record: Option<Record>,
    /// Peers that are closer to the key.
    pub closer: Vec<PeerInfo>,
    /// Peers that have the block.
    pub providers: Vec<PeerInfo>,
}

/// A value under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

const WHAT: &str = "DHT message";

impl Message {
    /// A message with nothing but a key.
    pub fn new(kind: Kind, key: impl Into<Bytes>) -> Self {
        let (closer, providers) = (Vec::new(), Vec::new());
        Self { kind, key: key.into(), record: None, closer, providers }
    }

    /// A message with a value under the key.
    pub fn with_value(kind: Kind, key: impl Into<Bytes>, value: Bytes) -> Self {
        let key = key.into();
        Self { record: Some(Record { key: key.clone(), value }), ..Self::new(kind, key) }
    }

    /// The bytes, without the length before them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        // Zero is written too: other implementations, and older ones of theirs, do.
        write_varint(1, self.kind as u64, &mut out);
        write_bytes(2, &self.key, &mut out);
        if let Some(record) = &self.record {
            let mut inner = Vec::with_capacity(record.key.len() + record.value.len() + 8);
            write_bytes(1, &record.key, &mut inner);
            write_bytes(2, &record.value, &mut inner);
            write_bytes(3, &inner, &mut out);
        }
        self.closer.iter().for_each(|peer| write_peer(8, peer, &mut out));
        self.providers.iter().for_each(|peer| write_peer(9, peer, &mut out));
        out
    }

    /// Reads a message. Peers beyond the bounds, and those whose names are none, are left out, and so
    /// are addresses that make no sense; unknown fields are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for what is no message; [`Error::Limit`] for a key beyond [`MAX_KEY`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut message = Self::new(Kind::PutValue, Bytes::new());
        for field in Fields::new(bytes, WHAT) {
            match field? {
                (1, value) => {
                    let kind = usize::try_from(value.varint(WHAT)?).ok();
                    let kind = kind.and_then(|kind| Kind::ALL.get(kind));
                    message.kind = *kind.ok_or_else(|| malformed("its type is unknown"))?;
                }
                (2, value) => message.key = key(value)?,
                (3, value) => message.record = Some(Record::decode(value.bytes(WHAT)?)?),
                (8, value) if message.closer.len() < MAX_CLOSER => {
                    message.closer.extend(read_peer(value.bytes(WHAT)?)?);
                }
                (9, value) if message.providers.len() < MAX_PROVIDERS => {
                    message.providers.extend(read_peer(value.bytes(WHAT)?)?);
                }
                _ => {}
            }
        }
        Ok(message)
    }
}

impl Record {
    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut record = Self { key: Bytes::new(), value: Bytes::new() };
        for field in Fields::new(bytes, WHAT) {
            match field? {
                (1, value) => record.key = key(value)?,
                (2, value) => record.value = Bytes::copy_from_slice(value.bytes(WHAT)?),
                // Who signed it, and when it came: no longer used, and a hint at the best.
                _ => {}
            }
        }
        Ok(record)
    }
}

fn malformed(why: &'static str) -> Error {
    Error::malformed(WHAT, why)
}

/// Whether a key is within [`MAX_KEY`].
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    match key.len() <= MAX_KEY {
        true => Ok(()),
        false => Err(Error::limit("bytes of a key of the DHT", MAX_KEY, key.len())),
    }
}

fn key(value: Value<'_>) -> Result<Bytes> {
    let bytes = value.bytes(WHAT)?;
    check_key(bytes)?;
    Ok(Bytes::copy_from_slice(bytes))
}

fn write_peer(number: u32, peer: &PeerInfo, out: &mut Vec<u8>) {
    let mut inner = Vec::with_capacity(96);
    write_bytes(1, &peer.id.to_bytes(), &mut inner);
    for address in peer.addresses.iter().take(MAX_PEER_ADDRESSES) {
        write_bytes(2, address.as_ref(), &mut inner);
    }
    // "Can connect", as all write it: readers pass it over.
    write_varint(3, 1, &mut inner);
    write_bytes(number, &inner, out);
}

/// A peer; `None` for one whose name is none.
fn read_peer(bytes: &[u8]) -> Result<Option<PeerInfo>> {
    let (mut id, mut addresses) = (None, Vec::new());
    for field in Fields::new(bytes, WHAT) {
        match field? {
            (1, value) => id = PeerId::from_bytes(value.bytes(WHAT)?).ok(),
            (2, value) if addresses.len() < MAX_PEER_ADDRESSES => {
                addresses.extend(read_address(value.bytes(WHAT)?));
            }
            _ => {}
        }
    }
    Ok(id.map(|id| PeerInfo::new(id, addresses)))
}

fn read_address(bytes: &[u8]) -> Option<Multiaddr> {
    match bytes.len() <= MAX_ADDRESS {
        true => Multiaddr::try_from(bytes.to_vec()).ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::memory::peer_id;

    use super::*;

    fn peer(number: u64, addresses: usize) -> PeerInfo {
        let address = |n| format!("/ip4/1.2.3.4/tcp/{n}").parse().unwrap();
        PeerInfo::new(peer_id(number), (1..=addresses).map(address).collect())
    }

    #[test]
    fn round_trip() {
        let mut message = Message::with_value(Kind::GetValue, "/ipns/x", Bytes::from("value"));
        message.closer = vec![peer(1, 2), peer(2, 0)];
        message.providers = vec![peer(3, 1)];
        assert_eq!(Message::decode(&message.encode()).unwrap(), message);
    }

    #[test]
    fn longer_lists_than_allowed_are_cut() {
        let mut message = Message::new(Kind::FindNode, "key");
        message.closer = (0..100).map(|n| peer(n, MAX_PEER_ADDRESSES + 4)).collect();
        message.providers = (0..MAX_PROVIDERS as u64 + 100).map(|n| peer(n, 0)).collect();
        let read = Message::decode(&message.encode()).unwrap();
        assert_eq!((read.closer.len(), read.providers.len()), (MAX_CLOSER, MAX_PROVIDERS));
        assert!(read.closer.iter().all(|peer| peer.addresses.len() == MAX_PEER_ADDRESSES));
    }

    #[test]
    fn nonsense_is_left_out_or_refused() {
        let mut inner = Vec::new();
        write_bytes(1, &peer_id(1).to_bytes(), &mut inner);
        write_bytes(2, b"no address", &mut inner);
        write_bytes(2, &[0x36, 0xff, 0x7f], &mut inner); // a name that is cut off
        let mut bytes = Message::new(Kind::FindNode, "key").encode();
        write_bytes(8, &inner, &mut bytes);
        write_bytes(8, &[0x0a, 1, 7], &mut bytes); // no peer id
        write_varint(77, 7, &mut bytes);
        let read = Message::decode(&bytes).unwrap();
        assert_eq!(read.closer, [peer_id(1).into()]);

        let unknown = [0x08, 6];
        assert!(matches!(Message::decode(&unknown), Err(Error::Malformed { .. })));
        let long = Message::new(Kind::FindNode, vec![0; MAX_KEY + 1]).encode();
        assert!(matches!(Message::decode(&long), Err(Error::Limit { .. })));
    }
}
