//! Sections that are dead: what a delete or a crash leaves, made into a block that nobody asks for.
//!
//! Such a section has a CIDv1 of raw bytes with a SHA-256 cut to 20 bytes, which is as short as any
//! reader believes and fits into every section, and its bytes begin with a mark, or with as much of
//! it as there is room for. So it is a valid block for every reader, and is told apart here.

use ipfs_traits::{Block, Cid, Error, HashTable, Multihash, Result, codes, varint};

/// What the bytes begin with.
pub(super) const MARK: &[u8; 16] = b"dead CAR section";

/// Bytes of the digest, and of the CID.
const DIGEST: u8 = 20;
pub(super) const CID: usize = 24;

/// The longest section that is made to fill a hole.
const MOST: u64 = 1 << 20;

/// Whether a section is dead, by its CID and how its bytes begin.
pub(super) fn is_dead(cid: &Cid, data: &[u8]) -> bool {
    let hash = cid.hash();
    let form = (cid.codec(), hash.code(), hash.size()) == (codes::RAW, codes::SHA2_256, DIGEST);
    let start = &data[..data.len().min(MARK.len())];
    form && MARK.starts_with(start)
}

/// Whether a block may be stored: one that looks dead may not.
pub(super) fn check(block: &Block) -> Result<()> {
    match is_dead(block.cid(), block.data()) {
        true => Err(Error::unsupported("a block that marks a dead section")),
        false => Ok(()),
    }
}

/// What is to be written at the beginning of a section's body, of which this is all, to make it dead.
///
/// No body but of an identity CID is too short: a CID of 20 bytes of digest is as long.
pub(super) fn make(body: &[u8], hashes: &HashTable) -> Result<Vec<u8>> {
    let data = body.get(CID..);
    let mut data = data.ok_or_else(|| Error::malformed("CAR", "a section is cut off"))?.to_vec();
    let mark = data.len().min(MARK.len());
    data[..mark].copy_from_slice(&MARK[..mark]);
    let hash = hashes.hash(codes::SHA2_256, &data)?;
    let short = Multihash::wrap(codes::SHA2_256, &hash.digest()[..usize::from(DIGEST)]);
    let short = short.map_err(|error| Error::component("CAR", error))?;
    let mut start = Cid::new_v1(codes::RAW, short).to_bytes();
    start.extend_from_slice(&data[..mark]);
    Ok(start)
}

/// The lengths of bodies that fill a hole of so many bytes with whole sections; `None` for one that
/// is too short.
pub(super) fn fill(mut hole: u64) -> Option<Vec<u64>> {
    const LEAST: u64 = 1 + CID as u64;
    let mut bodies = Vec::new();
    while hole > 0 {
        // What is left is nothing, or enough for another one.
        let most = if hole <= MOST { hole } else { MOST.min(hole - LEAST) };
        let body = (1..=varint::MAX_LEN as u64)
            .filter_map(|len| most.checked_sub(len).filter(|b| varint::len(*b) as u64 == len))
            .next();
        let body = match body {
            Some(body) => body,
            // No shortest varint of a length fits: two sections do.
            None => (most / 2).checked_sub(varint::len(most / 2) as u64)?,
        };
        if body < CID as u64 {
            return None;
        }
        hole -= varint::len(body) as u64 + body;
        bodies.push(body);
    }
    Some(bodies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hole_that_is_long_enough_is_filled() {
        let total = |bodies: &[u64]| bodies.iter().map(|b| varint::len(*b) as u64 + b).sum::<u64>();
        assert!((0..25).skip(1).all(|hole| fill(hole).is_none()));
        for hole in (25..70_000).chain([MOST - 1, MOST, MOST + 1, MOST + 24, 3 * MOST + 7]) {
            let bodies = fill(hole).unwrap_or_else(|| panic!("{hole}"));
            assert_eq!(total(&bodies), hole);
            assert!(bodies.iter().all(|body| *body >= CID as u64), "{hole}");
        }
    }

    #[test]
    fn what_is_made_dead_is_a_block_that_is_known_to_be() {
        let hashes = HashTable::standard();
        for hash in [codes::SHA2_256, codes::SHA1] {
            for len in [0, 1, 15, 16, 17, 1000] {
                let block = Block::of(codes::RAW, hash, vec![7; len], &hashes).unwrap();
                let mut body = [block.cid().to_bytes(), block.data().to_vec()].concat();
                let start = make(&body, &hashes).unwrap();
                body[..start.len()].copy_from_slice(&start);
                let (cid, used) = ipfs_traits::read_cid(&body).unwrap();
                assert!(used == CID && cid.hash() != block.hash());
                assert!(is_dead(&cid, &body[used..]));
                let dead = Block::verify(cid, body[used..].to_vec().into(), &hashes).unwrap();
                assert!(check(&dead).is_err() && check(&block).is_ok());
            }
        }
    }
}
