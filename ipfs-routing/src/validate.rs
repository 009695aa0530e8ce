//! Which values a key of the DHT may have, and which of several is the best.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::SystemTime};

use ipfs_traits::{Error, PeerId, Result};
use libp2p_identity::PublicKey;

/// The rules of one namespace of keys: `/pk/…`, `/ipns/…`, or one's own.
///
/// A router holds what comes from strangers against them: a value that is not valid is neither
/// stored nor given to anybody, and peers that have a worse one than the best are sent that.
pub trait Validator: Debug + Send + Sync + 'static {
    /// Whether the key may have this value now.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] and [`Error::Malformed`], saying why not.
    fn validate(&self, key: &[u8], value: &[u8], now: SystemTime) -> Result<()>;

    /// Whether `new` is better than `old`, both valid under the key. Of two that are not the same
    /// bytes at most one is better, and the same one everywhere.
    fn is_better(&self, key: &[u8], new: &[u8], old: &[u8]) -> bool;
}

/// The longest value that is put, stored or believed: what IPNS allows for a record.
pub const MAX_VALUE: usize = 10 << 10;

/// The rules of each namespace. A key outside of them has no value.
#[derive(Clone, Debug, Default)]
pub struct Validators(BTreeMap<String, Arc<dyn Validator>>);

impl Validators {
    /// No namespaces.
    pub fn new() -> Self {
        Self::default()
    }

    /// What all nodes of IPFS believe: public keys under `/pk`, records of names under `/ipns`.
    pub fn standard() -> Self {
        Self::new().with("pk", PublicKeys).with("ipns", crate::ipns::Ipns)
    }

    /// Adds a namespace, without slashes; it takes the place of one with the same name.
    #[must_use]
    pub fn with(mut self, namespace: impl Into<String>, validator: impl Validator) -> Self {
        self.0.insert(namespace.into(), Arc::new(validator));
        self
    }

    /// Whether the key may have this value now.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a key of an unknown namespace, or of none; [`Error::Limit`] for
    /// more than 10 KiB ([`MAX_VALUE`]); what the namespace says.
    pub fn validate(&self, key: &[u8], value: &[u8], now: SystemTime) -> Result<()> {
        if value.len() > MAX_VALUE {
            return Err(Error::limit("bytes of a value", MAX_VALUE, value.len()));
        }
        self.of(key)?.validate(key, value, now)
    }

    /// Whether `new` is better than `old`, both valid under the key.
    pub fn is_better(&self, key: &[u8], new: &[u8], old: &[u8]) -> bool {
        self.of(key).is_ok_and(|validator| validator.is_better(key, new, old))
    }

    /// Whether there are rules for a key.
    pub fn knows(&self, key: &[u8]) -> bool {
        self.of(key).is_ok()
    }

    fn of(&self, key: &[u8]) -> Result<&Arc<dyn Validator>> {
        namespace(key)
            .and_then(|name| self.0.get(name))
            .ok_or_else(|| Error::unsupported("values under keys of this namespace"))
    }
}

/// `ipns` of `/ipns/…`.
fn namespace(key: &[u8]) -> Option<&str> {
    let rest = key.strip_prefix(b"/")?;
    let end = rest.iter().position(|byte| *byte == b'/')?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The rules of `/pk/<peer id>`: the value is the public key of that peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublicKeys;

impl Validator for PublicKeys {
    fn validate(&self, key: &[u8], value: &[u8], _: SystemTime) -> Result<()> {
        let wrong = |why: &'static str| Error::invalid("public key", why);
        let name = key.strip_prefix(b"/pk/").ok_or_else(|| wrong("its key is none of /pk"))?;
        let peer = PeerId::from_bytes(name).map_err(|_| wrong("its key names no peer"))?;
        let public = PublicKey::try_decode_protobuf(value)
            .map_err(|_| Error::malformed("public key", "it cannot be read"))?;
        match public.to_peer_id() == peer {
            true => Ok(()),
            false => Err(wrong("it is that of another peer")),
        }
    }

    fn is_better(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        false // there is only one
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;

    #[test]
    fn a_public_key_stands_under_its_own_name_only() {
        let rules = Validators::new().with("pk", PublicKeys);
        let (mine, other) = (Keypair::generate_ed25519().public(), Keypair::generate_ed25519());
        let key = [&b"/pk/"[..], &mine.to_peer_id().to_bytes()].concat();
        let validate =
            |key: &[u8], value: &[u8]| rules.validate(key, value, SystemTime::UNIX_EPOCH);
        validate(&key, &mine.encode_protobuf()).unwrap();
        let wrong = validate(&key, &other.public().encode_protobuf());
        assert!(matches!(wrong, Err(Error::Invalid { .. })), "{wrong:?}");
        assert!(matches!(validate(&key, b"nonsense"), Err(Error::Malformed { .. })));
        for nowhere in [&b"/other/x"[..], b"pk/x", b"/pk", b"", b"/\xff/x"] {
            assert!(matches!(validate(nowhere, b""), Err(Error::Unsupported(_))), "{nowhere:?}");
        }
        assert!(matches!(validate(&key, &[0; MAX_VALUE + 1]), Err(Error::Limit { .. })));
    }
}
