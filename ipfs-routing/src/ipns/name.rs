//! The name of an IPNS record: the peer id of the key that signs it.

use std::{fmt, str::FromStr};

use ipfs_traits::{Cid, Error, PeerId, Result, limits, parse_cid};
use libp2p_identity::PublicKey;
use multibase::Base;

/// An IPNS name.
///
/// As text it is a CIDv1 in base 36, `k51…`. [`FromStr`] takes that, the same CID in any other
/// multibase, and a peer id as such (`12D3KooW…`, `Qm…`); each with `/ipns/` before it or not. A CID
/// of another codec than libp2p-key is refused, as in Kubo: it names content.
///
/// ```
/// use ipfs_routing::ipns::Name;
///
/// let name: Name = "12D3KooWSzRuSFHgLsKr6jJboAPdP7xMga2YBgBspYuErxswcgvt".parse()?;
/// let text = "k51qzi5uqu5dmjjgoe7s21dncepi970722cn30qlhm9qridas1c9ktkjb6ejux";
/// assert_eq!(name.to_string(), text);
/// assert_eq!(format!("/ipns/{text}").parse::<Name>()?, name);
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(PeerId);

/// What stands before a name in a path, and before its bytes in the key of a router.
pub(crate) const PREFIX: &str = "/ipns/";

/// The multicodec of keys of libp2p.
const LIBP2P_KEY: u64 = 0x72;

/// Bytes of text that are looked at: a CID in base 2, the longest there is.
const MAX_TEXT: usize = 1 + 8 * limits::MAX_CID;

impl Name {
    /// The peer that it names.
    pub const fn peer(&self) -> &PeerId {
        &self.0
    }

    /// The public key, if the name holds it: that of an Ed25519 or secp256k1 key does.
    pub fn public_key(&self) -> Option<PublicKey> {
        const IDENTITY: u64 = 0;
        let hash = self.0.as_ref();
        let key = (hash.code() == IDENTITY).then(|| PublicKey::try_decode_protobuf(hash.digest()));
        key?.ok()
    }

    /// As a CID.
    pub fn cid(&self) -> Cid {
        Cid::new_v1(LIBP2P_KEY, *self.0.as_ref())
    }

    /// The key under which routers keep its record: `/ipns/` and the bytes of the peer id.
    pub fn routing_key(&self) -> Vec<u8> {
        [PREFIX.as_bytes(), &self.0.to_bytes()].concat()
    }

    /// The name of a [`routing_key`](Self::routing_key).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for bytes that are none.
    pub fn from_routing_key(key: &[u8]) -> Result<Self> {
        let peer = key.strip_prefix(PREFIX.as_bytes()).and_then(|id| PeerId::from_bytes(id).ok());
        peer.map(Self).ok_or_else(|| invalid("the key of a router does not name a peer"))
    }

    /// The pubsub topic on which its records are sent: `/record/` and the routing key in base64url.
    pub fn pubsub_topic(&self) -> String {
        format!("/record/{}", Base::Base64Url.encode(self.routing_key()))
    }
}

impl From<PeerId> for Name {
    fn from(peer: PeerId) -> Self {
        Self(peer)
    }
}

impl From<&PublicKey> for Name {
    fn from(key: &PublicKey) -> Self {
        Self(key.to_peer_id())
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > MAX_TEXT {
            return Err(Error::limit("bytes of an IPNS name", MAX_TEXT, text.len()));
        }
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        if text.starts_with("Qm") || text.starts_with('1') {
            return text.parse().map(Self).map_err(|_| invalid("it is not a peer id"));
        }
        let (base, bytes) = multibase::decode(text).map_err(|_| invalid("it is not a CID"))?;
        if base == Base::Identity {
            return Err(invalid("it is bytes, and no text"));
        }
        let cid = parse_cid(&bytes).map_err(|_| invalid("it is not a CID"))?;
        if cid.codec() != LIBP2P_KEY {
            return Err(invalid("its CID is not of the codec libp2p-key"));
        }
        let peer = PeerId::from_multihash(*cid.hash());
        peer.map(Self).map_err(|_| invalid("the hash in it is none of a key"))
    }
}

fn invalid(reason: &'static str) -> Error {
    Error::invalid("IPNS name", reason)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&multibase::encode(Base::Base36Lower, self.cid().to_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}
