//! The hash functions that the network allows, each over the library that keeps it.

use std::sync::Arc;

use super::{HashFunction, sha256::Sha2_256};
use crate::codes;

pub(super) fn standard() -> Vec<Arc<dyn HashFunction>> {
    #[cfg_attr(not(feature = "hashes"), allow(unused_mut, reason = "the feature adds to it"))]
    let mut functions: Vec<Arc<dyn HashFunction>> = vec![
        Arc::new(Plain::<sha1::Sha1>::new(codes::SHA1)),
        Arc::new(Sha2_256),
        Arc::new(Plain::<sha2::Sha512>::new(codes::SHA2_512)),
        Arc::new(DoubleSha2_256),
    ];
    #[cfg(feature = "hashes")]
    functions.extend(more::all());
    functions
}

/// A function of the `digest` family with output of one size.
struct Plain<D> {
    code: u64,
    hasher: std::marker::PhantomData<fn() -> D>,
}

impl<D> Plain<D> {
    const fn new(code: u64) -> Self {
        Self { code, hasher: std::marker::PhantomData }
    }
}

impl<D: sha2::Digest + 'static> HashFunction for Plain<D> {
    fn code(&self) -> u64 {
        self.code
    }
    fn size(&self) -> usize {
        <D as sha2::Digest>::output_size()
    }
    fn digest(&self, data: &[u8], out: &mut [u8]) {
        out.copy_from_slice(&D::digest(data)[..out.len()]);
    }
}

impl<D> std::fmt::Debug for Plain<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<D>())
    }
}

#[derive(Debug)]
struct DoubleSha2_256;

impl HashFunction for DoubleSha2_256 {
    fn code(&self) -> u64 {
        codes::DBL_SHA2_256
    }
    fn size(&self) -> usize {
        32
    }
    fn digest(&self, data: &[u8], out: &mut [u8]) {
        let mut once = [0; 32];
        Sha2_256.digest(data, &mut once);
        Sha2_256.digest(&once, out);
    }
}

#[cfg(feature = "hashes")]
mod more {
    use std::sync::Arc;

    use shake::digest::{ExtendableOutput, Update, XofReader};

    use super::Plain;
    use crate::{HashFunction, codes, limits};

    pub(super) fn all() -> Vec<Arc<dyn HashFunction>> {
        let mut functions: Vec<Arc<dyn HashFunction>> = vec![
            Arc::new(Plain::<sha3::Sha3_512>::new(codes::SHA3_512)),
            Arc::new(Plain::<sha3::Sha3_384>::new(codes::SHA3_384)),
            Arc::new(Plain::<sha3::Sha3_256>::new(codes::SHA3_256)),
            Arc::new(Plain::<sha3::Sha3_224>::new(codes::SHA3_224)),
            Arc::new(Plain::<sha3::Keccak224>::new(codes::KECCAK_224)),
            Arc::new(Plain::<sha3::Keccak256>::new(codes::KECCAK_256)),
            Arc::new(Plain::<sha3::Keccak384>::new(codes::KECCAK_384)),
            Arc::new(Plain::<sha3::Keccak512>::new(codes::KECCAK_512)),
            Arc::new(Shake256),
            Arc::new(Blake3),
        ];
        let sizes = limits::MIN_DIGEST..=limits::MAX_DIGEST;
        functions.extend(sizes.clone().map(|n| Arc::new(Blake2b(n)) as Arc<dyn HashFunction>));
        functions.extend(
            sizes.take_while(|n| *n <= 32).map(|n| Arc::new(Blake2s(n)) as Arc<dyn HashFunction>),
        );
        functions
    }

    #[derive(Debug)]
    struct Shake256;

    impl HashFunction for Shake256 {
        fn code(&self) -> u64 {
            codes::SHAKE_256
        }
        fn size(&self) -> usize {
            64
        }
        fn digest(&self, data: &[u8], out: &mut [u8]) {
            let mut hasher = shake::Shake256::default();
            hasher.update(data);
            hasher.finalize_xof().read(out);
        }
    }

    #[derive(Debug)]
    struct Blake3;

    impl HashFunction for Blake3 {
        fn code(&self) -> u64 {
            codes::BLAKE3
        }
        fn size(&self) -> usize {
            32
        }
        fn max_size(&self) -> usize {
            limits::MAX_DIGEST
        }
        fn digest(&self, data: &[u8], out: &mut [u8]) {
            let mut hasher = blake3::Hasher::new();
            hasher.update(data);
            hasher.finalize_xof().fill(out);
        }
    }

    /// BLAKE2b with this many bytes of digest, which are part of what is hashed.
    #[derive(Debug)]
    struct Blake2b(usize);

    impl HashFunction for Blake2b {
        fn code(&self) -> u64 {
            codes::BLAKE2B + self.0 as u64
        }
        fn size(&self) -> usize {
            self.0
        }
        fn digest(&self, data: &[u8], out: &mut [u8]) {
            let hash = blake2b_simd::Params::new().hash_length(self.0).hash(data);
            out.copy_from_slice(&hash.as_bytes()[..out.len()]);
        }
    }

    /// BLAKE2s with this many bytes of digest, which are part of what is hashed.
    #[derive(Debug)]
    struct Blake2s(usize);

    impl HashFunction for Blake2s {
        fn code(&self) -> u64 {
            codes::BLAKE2S + self.0 as u64
        }
        fn size(&self) -> usize {
            self.0
        }
        fn digest(&self, data: &[u8], out: &mut [u8]) {
            let hash = blake2s_simd::Params::new().hash_length(self.0).hash(data);
            out.copy_from_slice(&hash.as_bytes()[..out.len()]);
        }
    }
}
