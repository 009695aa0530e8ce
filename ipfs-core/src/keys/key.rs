//! A private key that can be written down again.

use std::{fmt, sync::Arc};

use cid::multibase::Base;
use ipfs_traits::{
    Cid, Error, PeerId, Result,
    protobuf::{self, Fields},
};
use libp2p_identity::{KeyType, Keypair, PublicKey, ecdsa, rsa, secp256k1};
use zeroize::Zeroizing;

use super::pkcs8::{self, Secret};

/// The multicodec of a CID that is a key's name.
const LIBP2P_KEY: u64 = 0x72;

/// The longest text of a name that is looked at, in bytes: more than a CID takes in any base. The
/// time to read one in base 36 or 58 grows with the square of its length.
const MAX_NAME: usize = 512;

/// The fields of the protobuf `PrivateKey`.
const TYPE: u32 = 1;
const DATA: u32 = 2;

/// A private key: what names under `/ipns` are signed with, and what a node is known by.
///
/// A [`Keypair`] signs with RSA, but does not give an RSA key back. This does, byte for byte as it
/// came.
///
/// Formats: libp2p's [protobuf `PrivateKey`](https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#keys),
/// which Kubo keeps and exports by default, and clear PKCS#8 in PEM, which `openssl` makes and Kubo
/// exports as `pem-pkcs8-cleartext`. Keys are ed25519, RSA of 2,048 to 4,096 bits, secp256k1, and
/// ECDSA on P-256.
///
/// ```
/// use ipfs_core::{Key, identity::KeyType};
///
/// let key = Key::generate(KeyType::Ed25519)?;
/// let again = Key::from_pem(&key.to_pem()?)?;
/// assert_eq!(again.peer_id(), key.peer_id());
/// assert!(again.verify(b"data", &key.sign(b"data")?));
/// # Ok::<(), ipfs_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Key {
    pair: Keypair,
    /// The PKCS#1 of an RSA key, which the pair does not give back.
    pkcs1: Option<Arc<Zeroizing<Vec<u8>>>>,
}

impl Key {
    /// The longest text or protobuf of a key that is read, in bytes: twice what an RSA key of 8,192
    /// bits takes as PEM.
    pub const MAX_LEN: usize = 16 << 10;

    /// The shortest and the longest RSA key, in bits. A shorter one can be broken, and a longer one
    /// takes those who verify its signatures too long: CVE-2023-39533.
    const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

    /// The longest RSA key that can sign here, in bits: what `ring` allows.
    const RSA_SIGNS: usize = 4096;

    /// A new key of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for RSA: the libraries here sign with it, but none makes a key. Make it
    /// elsewhere (`openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`) and take it with
    /// [`from_pem`](Self::from_pem).
    pub fn generate(kind: KeyType) -> Result<Self> {
        match kind {
            KeyType::Ed25519 => Ok(Keypair::generate_ed25519().into()),
            KeyType::Secp256k1 => Ok(Keypair::generate_secp256k1().into()),
            KeyType::Ecdsa => Ok(Keypair::generate_ecdsa().into()),
            KeyType::RSA => Err(Error::unsupported(
                "generating an RSA key (no library here does; import one that openssl made)",
            )),
        }
    }

    /// Reads libp2p's protobuf `PrivateKey`.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] beyond [`MAX_LEN`](Self::MAX_LEN), and for an RSA key of less than 2,048 or
    /// more than 8,192 bits; [`Error::Unsupported`] for one of more than 4,096 bits, and for a kind
    /// of key that is unknown; [`Error::Malformed`].
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self> {
        check_len(bytes.len())?;
        let (mut kind, mut data) = (None, None);
        for field in Fields::new(bytes, "private key") {
            match field? {
                (TYPE, value) => kind = Some(value.varint("private key")?),
                (DATA, value) => data = Some(value.bytes("private key")?),
                _ => {}
            }
        }
        let (Some(kind), Some(data)) = (kind, data) else {
            return Err(Error::malformed("private key", "a field is missing"));
        };
        match kind {
            0 => Self::from_secret(Secret::new(KeyType::RSA, data)),
            1 => ed25519(data),
            2 => Self::from_secret(Secret::new(KeyType::Secp256k1, data)),
            3 => Self::from_secret(Secret::new(KeyType::Ecdsa, pkcs8::scalar(data)?)),
            _ => Err(Error::unsupported(format!("a private key of type {kind}"))),
        }
    }

    /// Reads clear PKCS#8 in PEM (`BEGIN PRIVATE KEY`), whatever stands around it.
    ///
    /// # Errors
    ///
    /// Those of [`from_protobuf`](Self::from_protobuf), and [`Error::Unsupported`] for a private key
    /// in another form: an encrypted one, or one in a format of its kind alone.
    pub fn from_pem(text: &str) -> Result<Self> {
        check_len(text.len())?;
        Self::from_secret(pkcs8::from_pem(text)?)
    }

    fn from_secret(mut secret: Secret) -> Result<Self> {
        let bytes = &mut secret.bytes;
        let malformed = |_| Error::malformed("private key", "its numbers make no key");
        match secret.kind {
            KeyType::Ed25519 => {
                Keypair::ed25519_from_bytes(&mut bytes[..]).map(Self::from).map_err(malformed)
            }
            KeyType::Secp256k1 => {
                let key =
                    secp256k1::SecretKey::try_from_bytes(&mut bytes[..]).map_err(malformed)?;
                Ok(Keypair::from(secp256k1::Keypair::from(key)).into())
            }
            KeyType::Ecdsa => {
                let key = ecdsa::SecretKey::try_from_bytes(&bytes[..]).map_err(malformed)?;
                Ok(Keypair::from(ecdsa::Keypair::from(key)).into())
            }
            KeyType::RSA => {
                check_rsa(bytes)?;
                let pkcs1 = Some(Arc::new(bytes.clone()));
                let pair = rsa::Keypair::try_decode_pkcs1(bytes).map_err(malformed)?;
                Ok(Self { pair: pair.into(), pkcs1 })
            }
        }
    }

    /// libp2p's protobuf `PrivateKey`: as Kubo writes it.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an RSA key that came as a [`Keypair`], which does not give it back.
    pub fn to_protobuf(&self) -> Result<Vec<u8>> {
        let secret = self.secret()?;
        let (kind, data) = match secret.kind {
            KeyType::RSA => (0, secret.bytes),
            KeyType::Ed25519 => {
                // As Go has it: the seed, and the public key behind it.
                (1, Zeroizing::new([&secret.bytes[..], &self.point()].concat()))
            }
            KeyType::Secp256k1 => (2, secret.bytes),
            KeyType::Ecdsa => (3, pkcs8::p256_key(&secret.bytes, &self.point())),
        };
        let mut out = Vec::with_capacity(data.len() + 8);
        protobuf::write_varint(TYPE, kind, &mut out);
        protobuf::write_bytes(DATA, &data, &mut out);
        Ok(out)
    }

    /// Clear PKCS#8 in PEM: as Kubo and `openssl` write it.
    ///
    /// # Errors
    ///
    /// Those of [`to_protobuf`](Self::to_protobuf).
    pub fn to_pem(&self) -> Result<String> {
        Ok(pkcs8::to_pem(&self.secret()?, &self.point()))
    }

    fn secret(&self) -> Result<Secret> {
        let kind = self.pair.key_type();
        let pair = self.pair.clone();
        let bytes = match kind {
            KeyType::Ed25519 => pair
                .try_into_ed25519()
                .ok()
                .map(|pair| Zeroizing::new(pair.secret().as_ref().to_vec())),
            KeyType::Secp256k1 => pair
                .try_into_secp256k1()
                .ok()
                .map(|pair| Zeroizing::new(pair.secret().to_bytes().to_vec())),
            KeyType::Ecdsa => {
                pair.try_into_ecdsa().ok().map(|pair| Zeroizing::new(pair.secret().to_bytes()))
            }
            KeyType::RSA => self.pkcs1.as_ref().map(|pkcs1| Zeroizing::clone(pkcs1)),
        };
        let bytes = bytes.ok_or_else(|| {
            Error::unsupported("exporting an RSA key that came as a pair for signing")
        })?;
        Ok(Secret { kind, bytes })
    }

    /// The public key as a point of its curve, without compression; nothing for RSA.
    fn point(&self) -> Vec<u8> {
        let public = self.pair.public();
        match self.pair.key_type() {
            KeyType::Ed25519 => public.try_into_ed25519().map(|key| key.to_bytes().to_vec()),
            KeyType::Secp256k1 => {
                public.try_into_secp256k1().map(|key| key.to_bytes_uncompressed().to_vec())
            }
            KeyType::Ecdsa => public.try_into_ecdsa().map(|key| key.to_bytes()),
            KeyType::RSA => Ok(Vec::new()),
        }
        .unwrap_or_default()
    }

    /// What kind it is.
    pub fn kind(&self) -> KeyType {
        self.pair.key_type()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.pair.public()
    }

    /// The pair, for what signs with one.
    pub const fn pair(&self) -> &Keypair {
        &self.pair
    }

    /// What the key is known by.
    pub fn peer_id(&self) -> PeerId {
        self.public().to_peer_id()
    }

    /// What stands behind `/ipns/` for this key: a CID in base36 (`k51…`).
    pub fn ipns_name(&self) -> String {
        ipns_name(&self.peer_id())
    }

    /// Signs data as it is. [`Keys::sign`](super::Keys::sign) is for what users sign.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] when the library of ciphers fails, for RSA alone.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>> {
        self.pair.sign(data).map_err(|error| Error::component("signing", error))
    }

    /// Whether this key signed the data.
    pub fn verify(&self, data: &[u8], signature: &[u8]) -> bool {
        self.public().verify(data, signature)
    }
}

/// The name of a key as text.
pub(super) fn ipns_name(peer: &PeerId) -> String {
    let name = Cid::new_v1(LIBP2P_KEY, *peer.as_ref());
    name.to_string_of_base(Base::Base36Lower).expect("a CIDv1 has a text in every base")
}

/// The peer that a text names: a name as in `/ipns/…`, or a peer id.
pub(super) fn parse_name(text: &str) -> Option<PeerId> {
    let text = text.strip_prefix("/ipns/").unwrap_or(text);
    if text.len() > MAX_NAME {
        return None;
    }
    if let Ok(peer) = text.parse() {
        return Some(peer);
    }
    let name: Cid = text.parse().ok().filter(|name: &Cid| name.codec() == LIBP2P_KEY)?;
    PeerId::from_multihash(*name.hash()).ok()
}

fn check_len(len: usize) -> Result<()> {
    match len {
        ..=Key::MAX_LEN => Ok(()),
        _ => Err(Error::limit("bytes of a private key", Key::MAX_LEN, len)),
    }
}

/// Refuses what no signature should be made with, before a cipher looks at it.
fn check_rsa(pkcs1: &[u8]) -> Result<()> {
    let bits = pkcs8::rsa_bits(pkcs1)?;
    let limit = bits.clamp(*Key::RSA_BITS.start(), *Key::RSA_BITS.end());
    if bits != limit {
        return Err(Error::limit("bits of an RSA key", limit, bits));
    }
    match bits {
        ..=Key::RSA_SIGNS => Ok(()),
        _ => Err(Error::unsupported("a private RSA key of more than 4,096 bits")),
    }
}

/// Seed and public key, and in old files the public key once more.
fn ed25519(data: &[u8]) -> Result<Key> {
    let malformed = || Error::malformed("private key", "it is none of ed25519");
    let (seed, public) = data.split_at_checked(32).ok_or_else(malformed)?;
    let key = Key::from_secret(Secret::new(KeyType::Ed25519, seed))?;
    let point = key.point();
    if public == point || public == [&point[..], &point].concat() {
        Ok(key)
    } else {
        Err(malformed())
    }
}

/// The key of a pair. An RSA key that comes in this way signs, but cannot be exported.
impl From<Keypair> for Key {
    fn from(pair: Keypair) -> Self {
        Self { pair, pkcs1: None }
    }
}

/// Says whose key it is, and nothing of the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kind", &self.kind()).field("peer", &self.peer_id()).finish()
    }
}
