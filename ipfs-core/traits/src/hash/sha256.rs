//! SHA2-256, alone or many at once: the function that nearly every block of the network uses.

use std::sync::OnceLock;

use sha2::Digest as _;

use super::{Digest, HashFunction};
use crate::codes;

/// Below this many bytes, laying inputs out side by side costs more than it saves (measured with
/// and without SHA instructions).
const WORTH_LANES: usize = 1024;

#[derive(Debug)]
pub(super) struct Sha2_256;

impl HashFunction for Sha2_256 {
    fn code(&self) -> u64 {
        codes::SHA2_256
    }

    fn size(&self) -> usize {
        32
    }

    fn digest(&self, data: &[u8], out: &mut [u8]) {
        out.copy_from_slice(&sha2::Sha256::digest(data)[..out.len()]);
    }

    fn digest_many(&self, data: &[&[u8]], out: &mut [Digest]) {
        let lanes = tape_sha256::lane_width();
        // Inputs of one group should be of like length: a lane that is done waits for the others.
        let mut order: Vec<usize> = (0..data.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(data[i].len()));
        let mut group: Vec<&[u8]> = Vec::with_capacity(lanes);
        let mut digests = vec![[0; 32]; lanes];
        for places in order.chunks(lanes) {
            if side_by_side(data, places, lanes) {
                group.clear();
                group.extend(places.iter().map(|&i| data[i]));
                let digests = &mut digests[..places.len()];
                tape_sha256::hash_many(&group, digests);
                for (&i, digest) in places.iter().zip(digests) {
                    out[i][..32].copy_from_slice(digest);
                }
            } else {
                for &i in places {
                    self.digest(data[i], &mut out[i][..32]);
                }
            }
        }
    }
}

/// Whether this group, sorted from long to short, is faster in lanes than one after the other.
fn side_by_side(data: &[&[u8]], places: &[usize], lanes: usize) -> bool {
    let (Some(&longest), Some(&shortest)) = (places.first(), places.last()) else {
        return false;
    };
    let (longest, shortest) = (data[longest].len(), data[shortest].len());
    let enough = if has_sha_unit() { places.len() == lanes } else { places.len() > 1 };
    enough && shortest >= WORTH_LANES && longest / 2 <= shortest
}

/// Whether the CPU has instructions for SHA2-256. With them one stream is so fast that only full
/// lanes beat it; without them two lanes already do.
fn has_sha_unit() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        return std::is_x86_feature_detected!("sha");
        #[cfg(target_arch = "aarch64")]
        return std::arch::is_aarch64_feature_detected!("sha2");
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
        return false;
    })
}
