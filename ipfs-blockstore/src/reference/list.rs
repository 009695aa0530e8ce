//! Listing what is stored and what is referred to.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{Blockstore, Bytes, Cid, Multihash, Result, codes};

use super::{
    Record, ReferenceStore, References,
    record::{PREFIX, parse_key},
};

/// A reference, as it is recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Referenced {
    /// The block: a record tells only its multihash, so it is raw.
    pub cid: Cid,
    /// Where its bytes lie; an error where the record makes no sense.
    pub record: Result<Record>,
}

/// Entries of the datastore.
type Entries = Vec<(Bytes, Bytes)>;

impl<S: Blockstore> ReferenceStore<S> {
    /// All references, in pages of bounded length; no file is read. An error is an item, and ends
    /// the stream.
    pub fn references(&self) -> BoxStream<'static, Result<Vec<Referenced>>> {
        let page = |page: Entries| page.iter().filter_map(parse).collect();
        self.references.entries().map_ok(page).boxed()
    }

    /// The blocks that are stored and also have a reference, in pages: those that take space for
    /// nothing as long as the files stay as they are. An error is an item, and ends the stream.
    pub fn duplicates(&self) -> BoxStream<'static, Result<Vec<Cid>>> {
        let inner = self.inner.clone();
        self.references()
            .and_then(move |page| {
                let inner = inner.clone();
                async move {
                    let cids: Vec<Cid> = page.iter().map(|one| one.cid).collect();
                    let stored = inner.sizes(&cids).await?;
                    let stored = std::iter::zip(cids, stored).filter(|(_, size)| size.is_some());
                    Ok(stored.map(|(cid, _)| cid).collect())
                }
            })
            .boxed()
    }
}

impl References {
    /// All that is in the datastore under our prefix.
    pub(super) fn entries(&self) -> BoxStream<'static, Result<Entries>> {
        self.datastore.scan(PREFIX.as_bytes())
    }
}

/// What an entry of the datastore says; `None` for a key that is no block's.
fn parse((key, value): &(Bytes, Bytes)) -> Option<Referenced> {
    let cid = Cid::new_v1(codes::RAW, parse_key(key)?);
    Some(Referenced { cid, record: Record::parse(value) })
}

/// First the blocks with references, as they are when the listing begins, then those of the inner
/// store without the ones that were listed.
pub(super) fn list(
    references: Arc<References>,
    inner: BoxStream<'static, Result<Vec<(Multihash, u64)>>>,
) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
    let entries = references.entries();
    let listing = Listing { references, entries: Some(entries), inner, listed: Listed::default() };
    stream::unfold(Some(listing), |listing| async move {
        let mut listing = listing?;
        match listing.page().await {
            Ok(Some(page)) => Some((Ok(page), Some(listing))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Listing {
    references: Arc<References>,
    /// Until all of them are listed.
    entries: Option<BoxStream<'static, Result<Entries>>>,
    inner: BoxStream<'static, Result<Vec<(Multihash, u64)>>>,
    listed: Listed,
}

impl Listing {
    /// The next page; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<(Multihash, u64)>>> {
        while let Some(entries) = &mut self.entries {
            let Some(page) = entries.try_next().await? else {
                self.entries = None;
                break;
            };
            let size = |one: Referenced| Some((*one.cid.hash(), one.record.ok()?.size));
            let page: Vec<_> = page.iter().filter_map(parse).filter_map(size).collect();
            page.iter().for_each(|(hash, _)| self.listed.add(hash));
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        while let Some(page) = self.inner.try_next().await? {
            let page = self.unlisted(page).await?;
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// A page of the inner store without the blocks that were listed by their references.
    async fn unlisted(&mut self, page: Vec<(Multihash, u64)>) -> Result<Vec<(Multihash, u64)>> {
        let (perhaps, mut rest): (Vec<_>, Vec<_>) =
            page.into_iter().partition(|(hash, _)| self.listed.may_have(hash));
        let values = self.references.values(perhaps.iter().map(|(hash, _)| *hash).collect()).await;
        for (entry, value) in std::iter::zip(perhaps, values) {
            if value?.is_none_or(|value| Record::parse(&value).is_err()) {
                rest.push(entry);
            }
        }
        Ok(rest)
    }
}

/// Which blocks were listed, about: so that the datastore is asked only for few of the others.
#[derive(Default)]
struct Listed {
    /// Empty as long as there are none.
    bits: Vec<u64>,
}

/// 4 MiB: with a million references one block in 300 is asked for in vain.
const BITS: usize = 32 << 20;

impl Listed {
    fn add(&mut self, hash: &Multihash) {
        if self.bits.is_empty() {
            self.bits = vec![0; BITS / 64];
        }
        for bit in bits(hash) {
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn may_have(&self, hash: &Multihash) -> bool {
        !self.bits.is_empty()
            && bits(hash).iter().all(|bit| self.bits[bit / 64] >> (bit % 64) & 1 == 1)
    }
}

/// The two bits of a block: of its digest, which is as good as chance.
fn bits(hash: &Multihash) -> [usize; 2] {
    let part = |at: usize| {
        let mut bytes = [0; 4];
        let digest = hash.digest().iter().skip(at).take(4);
        std::iter::zip(&mut bytes, digest).for_each(|(byte, digest)| *byte = *digest);
        u32::from_le_bytes(bytes) as usize % BITS
    };
    [part(0), part(4)]
}
