//! The entries of the [multicodec table] that this family names.
//!
//! [multicodec table]: https://github.com/multiformats/multicodec/blob/master/table.csv

/// Content: raw bytes.
pub const RAW: u64 = 0x55;
/// Content: plain CBOR, without links.
pub const CBOR: u64 = 0x51;
/// Content: DAG-PB, the nodes of UnixFS.
pub const DAG_PB: u64 = 0x70;
/// Content: DAG-CBOR.
pub const DAG_CBOR: u64 = 0x71;
/// Content: a libp2p public key.
pub const LIBP2P_KEY: u64 = 0x72;
/// Content: a git object.
pub const GIT_RAW: u64 = 0x78;
/// Content: DAG-JSON.
pub const DAG_JSON: u64 = 0x0129;
/// Content: plain JSON, without links.
pub const JSON: u64 = 0x0200;

/// Hash: none, the digest is the content.
pub const IDENTITY: u64 = 0x00;
/// Hash: SHA-1.
pub const SHA1: u64 = 0x11;
/// Hash: SHA2-256.
pub const SHA2_256: u64 = 0x12;
/// Hash: SHA2-512.
pub const SHA2_512: u64 = 0x13;
/// Hash: SHA3-512.
pub const SHA3_512: u64 = 0x14;
/// Hash: SHA3-384.
pub const SHA3_384: u64 = 0x15;
/// Hash: SHA3-256.
pub const SHA3_256: u64 = 0x16;
/// Hash: SHA3-224.
pub const SHA3_224: u64 = 0x17;
/// Hash: SHAKE-256.
pub const SHAKE_256: u64 = 0x19;
/// Hash: Keccak-224.
pub const KECCAK_224: u64 = 0x1a;
/// Hash: Keccak-256.
pub const KECCAK_256: u64 = 0x1b;
/// Hash: Keccak-384.
pub const KECCAK_384: u64 = 0x1c;
/// Hash: Keccak-512.
pub const KECCAK_512: u64 = 0x1d;
/// Hash: BLAKE3.
pub const BLAKE3: u64 = 0x1e;
/// Hash: SHA2-256 of the SHA2-256.
pub const DBL_SHA2_256: u64 = 0x56;
/// Hash: BLAKE2b with `n` bytes of digest is `BLAKE2B + n`, for `n` of 1 to 64.
pub const BLAKE2B: u64 = 0xb200;
/// Hash: BLAKE2s with `n` bytes of digest is `BLAKE2S + n`, for `n` of 1 to 32.
pub const BLAKE2S: u64 = 0xb240;
