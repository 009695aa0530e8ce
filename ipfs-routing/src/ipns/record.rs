//! An IPNS record: read, signed, and held against its name.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use ipfs_traits::{Error, Result, protobuf, rfc3339};
use libp2p_identity::{Keypair, PublicKey};

use super::{
    data::{Data, END_OF_LIFE, malformed},
    name::Name,
};
use crate::MAX_VALUE;

/// A record: what a name leads to, until when, and the signature of the key.
///
/// One that was parsed is what somebody says, until [`verify`](Self::verify) has held it against the
/// name that it was asked for. All fields are those that are signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Bytes,
    value: Bytes,
    validity: SystemTime,
    sequence: u64,
    ttl: Duration,
}

/// What stands before the data where they are signed.
const SIGNED: &[u8] = b"ipns-signature:";

/// What the old signature says of the kind of validity.
const EOL: &[u8] = b"EOL";

impl Record {
    /// Reads a record, without looking at its signature.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for more than 10 KiB ([`MAX_VALUE`]); [`Error::Malformed`] for bytes that are
    /// no record, and for one with the old signature alone, which anybody could have stretched.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.len() > MAX_VALUE {
            return Err(Error::limit("bytes of an IPNS record", MAX_VALUE, bytes.len()));
        }
        let wire = Wire::read(&bytes)?;
        if wire.signature.is_empty() || wire.data.is_empty() {
            return Err(malformed("it has no signature of the second version"));
        }
        let data = Data::read(wire.data)?;
        let value = bytes.slice_ref(data.value);
        let validity = rfc3339::parse(data.validity)
            .map_err(|_| malformed("its validity is not a time of RFC 3339"))?;
        let (sequence, ttl) = (data.sequence, Duration::from_nanos(data.ttl));
        Ok(Self { bytes, value, validity, sequence, ttl })
    }

    /// Makes and signs a record.
    ///
    /// `value` is a path, such as `/ipfs/bafkqaaa`; `validity` is when it ends. With `v1` the fields
    /// and the signature of the first version stand beside those of the second, for software from
    /// before 2022. The public key goes along where the name does not hold it. Kubo reads neither a
    /// sequence nor a TTL beyond 63 bits; a longer TTL is cut to that.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a validity before 1970 or after 9999; [`Error::Limit`] for a value with
    /// which it would have more than 10 KiB; [`Error::Component`] when the key does not sign.
    pub fn sign(
        key: &Keypair,
        value: impl AsRef<[u8]>,
        sequence: u64,
        validity: SystemTime,
        ttl: Duration,
        v1: bool,
    ) -> Result<Self> {
        let value = value.as_ref();
        let validity = rfc3339::format(validity)?.into_bytes();
        let ttl =
            u64::try_from(ttl.as_nanos()).map_or(i64::MAX as u64, |ttl| ttl.min(i64::MAX as u64));
        let data = Data { value, validity: &validity, sequence, ttl }.write();
        let sign = |parts: &[&[u8]]| {
            let signature = key.sign(&parts.concat());
            signature.map_err(|error| Error::component("signing an IPNS record", error))
        };
        let (public, signature) = (key.public(), sign(&[SIGNED, &data])?);
        let embedded = match Name::from(&public).public_key() {
            Some(_) => Vec::new(),
            None => public.encode_protobuf(),
        };
        let mut wire =
            Wire { public_key: &embedded, signature: &signature, data: &data, ..Wire::default() };
        let signature_v1;
        if v1 {
            signature_v1 = sign(&[value, &validity, EOL])?;
            wire = Wire {
                value,
                signature_v1: &signature_v1,
                validity: &validity,
                sequence,
                ttl,
                ..wire
            };
        }
        Self::parse(wire.write())
    }

    /// Whether this is a record of `name` that counts at the time `now`: it is signed by the key that
    /// the name stands for, the fields of the first version are as those that are signed, if they are
    /// there, and it has not expired.
    ///
    /// RSA keys of 2,048 to 8,192 bits are believed, and no others: longer ones are there to make
    /// others calculate.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], saying why it does not count; [`Error::Malformed`] for a key that cannot
    /// be read.
    pub fn verify(&self, name: &Name, now: SystemTime) -> Result<()> {
        let wire = self.wire();
        let key = signer(name, &wire)?;
        if !key.verify(&[SIGNED, wire.data].concat(), wire.signature) {
            return Err(invalid("its signature does not fit"));
        }
        if self.is_v1() && !wire.agrees() {
            return Err(invalid("its fields are not those that are signed"));
        }
        if now > self.validity {
            return Err(invalid("it has expired"));
        }
        Ok(())
    }

    /// Whether this one counts rather than the other, both of the same name and verified: by the
    /// sequence, then by the end of validity, then by the bytes.
    pub fn is_better_than(&self, other: &Self) -> bool {
        let ours = (self.sequence, self.validity, &self.bytes);
        ours > (other.sequence, other.validity, &other.bytes)
    }

    /// The bytes, as they came or were signed.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the name leads to: a path, as a rule, but nothing keeps a key from signing anything.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// When it expires.
    pub const fn validity(&self) -> SystemTime {
        self.validity
    }

    /// Which record of its name this is: the greatest counts.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How long it may be answered from memory before somebody is asked for a newer one.
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The public key that it carries, if any: that of an RSA or ECDSA key.
    pub fn public_key(&self) -> Option<PublicKey> {
        PublicKey::try_decode_protobuf(self.wire().public_key).ok()
    }

    /// Whether it carries anything of the first version.
    pub(crate) fn is_v1(&self) -> bool {
        let wire = self.wire();
        !wire.signature_v1.is_empty() || !wire.value.is_empty()
    }

    fn wire(&self) -> Wire<'_> {
        Wire::read(&self.bytes).expect("it was read when the record was made")
    }
}

/// The key that signed, if it is the one that the name stands for.
fn signer(name: &Name, wire: &Wire<'_>) -> Result<PublicKey> {
    let key = match wire.public_key {
        [] => name.public_key().ok_or_else(|| invalid("it lacks the public key"))?,
        key => PublicKey::try_decode_protobuf(key)
            .map_err(|_| malformed("its public key cannot be read"))?,
    };
    match Name::from(&key) == *name {
        true => Ok(key),
        false => Err(invalid("its key is that of another name")),
    }
}

fn invalid(reason: &'static str) -> Error {
    Error::invalid("IPNS record", reason)
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("value", &self.value)
            .field("sequence", &self.sequence)
            .field("validity", &self.validity)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// The protobuf around what is signed. Of a field that comes twice the last one counts.
#[derive(Default)]
struct Wire<'a> {
    value: &'a [u8],
    signature_v1: &'a [u8],
    validity_type: u64,
    validity: &'a [u8],
    sequence: u64,
    ttl: u64,
    public_key: &'a [u8],
    signature: &'a [u8],
    data: &'a [u8],
}

impl<'a> Wire<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        const WHAT: &str = "IPNS record";
        let mut wire = Self::default();
        for field in protobuf::Fields::new(bytes, WHAT) {
            let (number, value) = field?;
            match number {
                1 => wire.value = value.bytes(WHAT)?,
                2 => wire.signature_v1 = value.bytes(WHAT)?,
                3 => wire.validity_type = value.varint(WHAT)?,
                4 => wire.validity = value.bytes(WHAT)?,
                5 => wire.sequence = value.varint(WHAT)?,
                6 => wire.ttl = value.varint(WHAT)?,
                7 => wire.public_key = value.bytes(WHAT)?,
                8 => wire.signature = value.bytes(WHAT)?,
                9 => wire.data = value.bytes(WHAT)?,
                _ => {}
            }
        }
        Ok(wire)
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let bytes = |number, bytes: &[u8], out: &mut Vec<u8>| {
            if !bytes.is_empty() {
                protobuf::write_bytes(number, bytes, out);
            }
        };
        bytes(1, self.value, &mut out);
        bytes(2, self.signature_v1, &mut out);
        if !self.signature_v1.is_empty() {
            protobuf::write_varint(3, self.validity_type, &mut out);
            bytes(4, self.validity, &mut out);
            protobuf::write_varint(5, self.sequence, &mut out);
            protobuf::write_varint(6, self.ttl, &mut out);
        }
        bytes(7, self.public_key, &mut out);
        bytes(8, self.signature, &mut out);
        bytes(9, self.data, &mut out);
        out
    }

    /// Whether the fields of the first version say what the data say.
    fn agrees(&self) -> bool {
        let Self { value, validity, sequence, ttl, .. } = *self;
        self.validity_type == END_OF_LIFE
            && Data::read(self.data)
                .is_ok_and(|data| data == Data { value, validity, sequence, ttl })
    }
}
