//! Private keys as other programs keep them: PKCS#8 (RFC 5208), in PEM (RFC 7468).

use std::fmt::Write;

use data_encoding::BASE64;
use ipfs_traits::{Error, Result};
use libp2p_identity::KeyType;
use zeroize::Zeroizing;

use super::der::{self, BITS, Elements, INTEGER, NULL, OCTETS, OID, SEQUENCE};

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ELLIPTIC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP256K1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x0a];

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Characters in a line between them.
const LINE: usize = 64;

/// What a private key is made of: a seed, a scalar, or the PKCS#1 of RSA.
pub(super) struct Secret {
    pub(super) kind: KeyType,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Secret {
    pub(super) fn new(kind: KeyType, bytes: &[u8]) -> Self {
        Self { kind, bytes: Zeroizing::new(bytes.to_vec()) }
    }
}

/// The key in the first block of a text.
pub(super) fn from_pem(text: &str) -> Result<Secret> {
    let block = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let Some((block, _)) = block else {
        return Err(match text.contains("PRIVATE KEY-----") {
            true => Error::unsupported("a private key in another form than clear PKCS#8"),
            false => Error::malformed("private key", "there is no PEM of one"),
        });
    };
    let block: Vec<u8> = block.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = BASE64.decode(&Zeroizing::new(block));
    let der = der.map_err(|_| Error::malformed("private key", "its PEM is not base64"))?;
    from_der(&Zeroizing::new(der))
}

fn from_der(bytes: &[u8]) -> Result<Secret> {
    let mut key = Elements(der::only(SEQUENCE, bytes)?);
    key.take(INTEGER)?;
    let mut algorithm = Elements(key.take(SEQUENCE)?);
    // Behind it may be attributes, and a public key that follows from the private one.
    let content = key.take(OCTETS)?;
    match algorithm.take(OID)? {
        ED25519 => Ok(Secret::new(KeyType::Ed25519, der::only(OCTETS, content)?)),
        RSA => Ok(Secret::new(KeyType::RSA, content)),
        ELLIPTIC => {
            let kind = match algorithm.take(OID)? {
                P256 => KeyType::Ecdsa,
                SECP256K1 => KeyType::Secp256k1,
                _ => {
                    return Err(Error::unsupported(
                        "a key on another curve than P-256 and secp256k1",
                    ));
                }
            };
            Ok(Secret::new(kind, scalar(content)?))
        }
        _ => Err(Error::unsupported("a key of another kind than ed25519, RSA and ECDSA")),
    }
}

/// The scalar in an `ECPrivateKey` (RFC 5915).
pub(super) fn scalar(der: &[u8]) -> Result<&[u8]> {
    let mut key = Elements(der::only(SEQUENCE, der)?);
    key.take(INTEGER)?;
    key.take(OCTETS)
}

/// A key as PEM. That of an elliptic curve needs its public point, without compression.
pub(super) fn to_pem(secret: &Secret, point: &[u8]) -> String {
    let secret_bytes = &secret.bytes;
    let (algorithm, key) = match secret.kind {
        KeyType::Ed25519 => (der::element(OID, &[ED25519]), der::element(OCTETS, &[secret_bytes])),
        KeyType::RSA => {
            let algorithm = [&der::element(OID, &[RSA])[..], &der::element(NULL, &[])].concat();
            (Zeroizing::new(algorithm), secret_bytes.clone())
        }
        KeyType::Ecdsa => (elliptic(P256), elliptic_key(secret_bytes, None, point)),
        KeyType::Secp256k1 => (elliptic(SECP256K1), elliptic_key(secret_bytes, None, point)),
    };
    let der = der::element(
        SEQUENCE,
        &[
            &der::element(INTEGER, &[&[0]]),
            &der::element(SEQUENCE, &[&algorithm]),
            &der::element(OCTETS, &[&key]),
        ],
    );
    let text = Zeroizing::new(BASE64.encode(&der));
    let mut pem = String::with_capacity(text.len() + text.len() / LINE + 64);
    let _ = writeln!(pem, "{BEGIN}");
    let mut rest = &text[..];
    while let Some((line, behind)) = rest.split_at_checked(LINE) {
        let _ = writeln!(pem, "{line}");
        rest = behind;
    }
    if !rest.is_empty() {
        let _ = writeln!(pem, "{rest}");
    }
    let _ = writeln!(pem, "{END}");
    pem
}

fn elliptic(curve: &[u8]) -> Zeroizing<Vec<u8>> {
    let parts = [&der::element(OID, &[ELLIPTIC])[..], &der::element(OID, &[curve])].concat();
    Zeroizing::new(parts)
}

/// The `ECPrivateKey` of a key on P-256, as it stands in libp2p's protobuf: there it names its curve.
pub(super) fn p256_key(scalar: &[u8], point: &[u8]) -> Zeroizing<Vec<u8>> {
    elliptic_key(scalar, Some(P256), point)
}

fn elliptic_key(scalar: &[u8], curve: Option<&[u8]>, point: &[u8]) -> Zeroizing<Vec<u8>> {
    let curve = curve.map(|curve| der::element(der::context(0), &[&der::element(OID, &[curve])]));
    der::element(
        SEQUENCE,
        &[
            &der::element(INTEGER, &[&[1]]),
            &der::element(OCTETS, &[scalar]),
            curve.as_ref().map_or(&[][..], |curve| &curve[..]),
            // No bit of the last byte is unused.
            &der::element(der::context(1), &[&der::element(BITS, &[&[0], point])]),
        ],
    )
}

/// The bits of the modulus in a PKCS#1 `RSAPrivateKey` (RFC 8017).
pub(super) fn rsa_bits(pkcs1: &[u8]) -> Result<usize> {
    let mut key = Elements(der::only(SEQUENCE, pkcs1)?);
    key.take(INTEGER)?;
    let modulus = key.take(INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    Ok((modulus.len() - zeros) * 8 - first)
}
