//! Reading and listing.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Block, Bytes, Cid, Error, Multihash, Result, work::giving_way};

use super::{
    Inner, PackStore,
    error::PackError,
    index::{Keys, Snapshot},
    place::Place,
    segment::data_of,
};

/// Blocks in one page of a listing.
const PAGE: usize = 1024;

impl Inner {
    pub(super) fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let places = match self.places(cids) {
            Ok(places) => places,
            Err(error) => {
                let error = Error::from(error);
                return cids.iter().map(|_| Err(error.clone())).collect();
            }
        };
        // In the order in which they lie.
        let mut order: Vec<usize> = (0..cids.len()).collect();
        order.sort_unstable_by_key(|&i| places[i].map(|place| (place.segment, place.offset)));
        let mut answers: Vec<Result<Option<Block>>> = cids.iter().map(|_| Ok(None)).collect();
        for i in order {
            if let Some(place) = places[i] {
                answers[i] = self.read(&cids[i], place);
            }
        }
        answers
    }

    fn read(&self, cid: &Cid, mut place: Place) -> Result<Option<Block>> {
        loop {
            if let Some(section) = self.segments.section(&place)? {
                let data = data_of(section, &place, cid.hash()).ok_or(Error::Corrupt(*cid))?;
                return self.check(cid, data).map(Some);
            }
            // The segment is gone: the block has moved meanwhile, or was deleted.
            match self.index.get_many(&[*cid.hash()])?.pop().flatten() {
                None => return Ok(None),
                Some(now) if now == place => return Err(Error::Corrupt(*cid)),
                Some(now) => place = now,
            }
        }
    }

    fn check(&self, cid: &Cid, data: Bytes) -> Result<Block> {
        match self.options.verify_reads {
            true => Block::verify(*cid, data, &self.options.hashes),
            false => Ok(Block::trusted(*cid, data)),
        }
    }

    pub(super) fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>, PackError> {
        Ok(self
            .places(cids)?
            .into_iter()
            .map(|place| place.map(|place| place.len.into()))
            .collect())
    }
}

/// A listing: what the index held when it began.
enum Listing {
    Begin(Snapshot),
    Going(Keys),
}

impl PackStore {
    pub(super) fn pages(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        let store = Self(Arc::clone(&self.0));
        let begin = Some((store, None));
        stream::unfold(begin, |state| async move {
            let (store, listing) = state?;
            let page = move |inner: &Inner| inner.index.note_damage(page(inner, listing));
            let page = store.blocking(page).await;
            match page {
                Ok((page, _)) if page.is_empty() => None,
                Ok((page, keys)) => Some((Ok(page), Some((store, Some(Listing::Going(keys)))))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

/// The next page of a listing, and what is left of it.
fn page(
    inner: &Inner,
    listing: Option<Listing>,
) -> Result<(Vec<(Multihash, u64)>, Keys), PackError> {
    let mut keys = match listing.unwrap_or_else(|| Listing::Begin(inner.index.snapshot())) {
        Listing::Begin(snapshot) => snapshot.keys()?,
        Listing::Going(keys) => keys,
    };
    let next = std::iter::from_fn(|| keys.next().transpose());
    let item = |next: Result<(Multihash, Place), PackError>| {
        next.map(|(key, place)| (key, place.len.into()))
    };
    let page = giving_way(next).take(PAGE).map(item).collect::<Result<_, _>>()?;
    Ok((page, keys))
}
