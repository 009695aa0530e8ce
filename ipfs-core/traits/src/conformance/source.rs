//! What a [`BlockSource`] promises.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, stream};

use super::{Numbers, Promise, Verdict, check, same};
use crate::{Block, BlockSource, Cid, HashTable, Result, codes};

/// Checks a [`BlockSource`]; `make` gives one from which the blocks it is handed can be had.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn source<S, F>(make: impl Fn(Vec<Block>) -> F) -> Verdict
where
    S: BlockSource,
    F: Future<Output = Result<S>>,
{
    let blocks = Numbers(11).blocks(200);
    let source = make(blocks.clone()).await.promised("a source can be made")?;
    gives(&source, &blocks).await
}

/// That a source gives these blocks, in all the ways there are to ask.
pub(super) async fn gives(source: &dyn BlockSource, blocks: &[Block]) -> Verdict {
    one_by_one(source, blocks).await?;
    many(source, blocks).await?;
    takes_what_it_has_room_for(source, blocks).await?;
    dropped_halfway(source, blocks).await
}

async fn one_by_one(source: &dyn BlockSource, blocks: &[Block]) -> Verdict {
    let rule = "a block is given under the CID asked for";
    for block in blocks.iter().take(10) {
        same(source.get(block.cid()).await.promised(rule)?, block.clone(), rule)?;
    }
    let rule = "identity CIDs are answered from themselves";
    let inline = inline().promised(rule)?;
    same(source.get(inline.cid()).await.promised(rule)?, inline, rule)
}

fn inline() -> Result<Block> {
    Block::of(codes::RAW, codes::IDENTITY, "within", &HashTable::empty())
}

async fn many(source: &dyn BlockSource, blocks: &[Block]) -> Verdict {
    let rule = "each CID is answered exactly once";
    let inline = inline().promised(rule)?;
    let twice = &blocks[..5];
    let asked: Vec<Block> = blocks.iter().chain(twice).chain([&inline]).cloned().collect();
    let mut expected: BTreeMap<Cid, usize> = BTreeMap::new();
    asked.iter().for_each(|block| *expected.entry(*block.cid()).or_default() += 1);
    let by_cid: BTreeMap<Cid, &Block> = asked.iter().map(|b| (*b.cid(), b)).collect();

    let cids: Vec<Cid> = asked.iter().map(|block| *block.cid()).collect();
    let answers: Vec<_> = source.get_many(stream::iter(cids).boxed()).collect().await;
    let mut found: BTreeMap<Cid, usize> = BTreeMap::new();
    for (cid, answer) in answers {
        *found.entry(cid).or_default() += 1;
        let block = answer.promised(rule)?;
        same(Some(&&block), by_cid.get(&cid), "an answer is the block of its CID")?;
    }
    same(found, expected, rule)?;
    let rule = "an input without CIDs gives a stream without answers";
    let none: Vec<_> = source.get_many(stream::empty().boxed()).collect().await;
    same(none.len(), 0, rule)
}

/// The most CIDs that may be taken ahead of the answers that were read.
const AHEAD: usize = 16_384;

async fn takes_what_it_has_room_for(source: &dyn BlockSource, blocks: &[Block]) -> Verdict {
    let rule = "the next CID is taken only while there is room for its block";
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let endless = stream::iter(cids.into_iter().cycle().take(AHEAD * 4)).inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut answers = source.get_many(endless.boxed());
    for _ in 0..3 {
        answers.next().await.promised(rule)?.1.promised(rule)?;
    }
    let taken = taken.load(Ordering::Relaxed);
    check(taken <= AHEAD, rule, || format!("{taken} were taken for 3 answers read"))
}

async fn dropped_halfway(source: &dyn BlockSource, blocks: &[Block]) -> Verdict {
    let rule = "a stream dropped halfway harms no other";
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let mut dropped = source.get_many(stream::iter(cids.clone()).boxed());
    let mut kept = source.get_many(stream::iter(cids).boxed());
    dropped.next().await.promised(rule)?.1.promised(rule)?;
    drop(dropped);
    let mut count = 0;
    while let Some((_, answer)) = kept.next().await {
        answer.promised(rule)?;
        count += 1;
    }
    same(count, blocks.len(), rule)
}
