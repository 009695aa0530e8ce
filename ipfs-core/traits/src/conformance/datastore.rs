//! What a [`Datastore`] promises.

use std::{collections::BTreeMap, future::Future};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};

use super::{Numbers, Promise, Verdict, all, check, same};
use crate::{Batch, Datastore, Error, Result};

/// Checks a [`Datastore`]; `make` gives a new, empty one each time.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn datastore<S, F>(make: impl Fn() -> F) -> Verdict
where
    S: Datastore,
    F: Future<Output = Result<S>>,
{
    let fresh = || async { make().await.promised("a datastore can be made") };
    get_and_commit(&fresh().await?).await?;
    expectations(&fresh().await?).await?;
    scans(&fresh().await?).await?;
    bounds(&fresh().await?).await?;
    one_winner(&fresh().await?).await?;
    random_work(&fresh().await?).await
}

/// Checks that what was committed is there after the datastore is dropped, or closed, and opened
/// again; each call of `open` opens the same place, which is empty at first.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn datastore_reopen<S, F>(open: impl Fn() -> F) -> Verdict
where
    S: Datastore,
    F: Future<Output = Result<S>>,
{
    let rule = "what was committed is there when the datastore is opened again";
    let mut closed = Vec::new();
    for round in 0..4_u8 {
        let store = open().await.promised(rule)?;
        let before = round.checked_sub(1).map(|last| Bytes::from(vec![last]));
        same(store.get(b"round").await.promised(rule)?, before.clone(), rule)?;
        let batch = Batch::new().expect("round", before).put("round", vec![round]);
        same(store.commit(batch).await.promised(rule)?, true, rule)?;
        if round % 2 == 1 {
            store.close().await.promised("closing")?;
            closed.push(store);
        }
    }
    for store in closed {
        store.close().await.promised("closing twice is no error")?;
    }
    Ok(())
}

async fn get_and_commit(store: &impl Datastore) -> Verdict {
    let rule = "a commit is seen by every later call";
    same(store.get(b"a").await.promised(rule)?, None, rule)?;
    let batch = Batch::new().put("a", "1").put("b", "").put("a", "2").delete("c");
    same(store.commit(batch).await.promised(rule)?, true, rule)?;
    same(store.get(b"a").await.promised(rule)?, Some("2".into()), "the last write of a key holds")?;
    same(store.get(b"b").await.promised(rule)?, Some(Bytes::new()), "an empty value is a value")?;
    let batch = Batch::new().put("b", "3").delete("b").delete("a");
    same(store.commit(batch).await.promised(rule)?, true, rule)?;
    same(store.get(b"b").await.promised(rule)?, None, "the last write of a key holds")?;
    same(store.get(b"a").await.promised(rule)?, None, rule)?;
    let rule = "an empty batch is no error";
    same(store.commit(Batch::new()).await.promised(rule)?, true, rule)
}

async fn expectations(store: &impl Datastore) -> Verdict {
    let none = None::<Bytes>;
    let rule = "a commit happens only if all that is expected holds";
    let create = || Batch::new().expect("k", none.clone()).put("k", "1").put("other", "x");
    same(store.commit(create()).await.promised(rule)?, true, rule)?;
    same(store.commit(create().put("k", "9")).await.promised(rule)?, false, rule)?;
    same(store.get(b"k").await.promised(rule)?, Some("1".into()), rule)?;
    let wrong = Batch::new().expect("k", Some("1")).expect("other", Some("y")).delete("k");
    same(store.commit(wrong).await.promised(rule)?, false, rule)?;
    same(store.get(b"k").await.promised(rule)?, Some("1".into()), rule)?;
    let empty = Batch::new().expect("k", Some("")).delete("k");
    same(store.commit(empty).await.promised(rule)?, false, rule)?;
    let right = Batch::new().expect("k", Some("1")).put("k", "2");
    same(store.commit(right).await.promised(rule)?, true, rule)?;
    same(store.get(b"k").await.promised(rule)?, Some("2".into()), rule)
}

async fn scans(store: &impl Datastore) -> Verdict {
    let rule = "a scan gives what begins with the prefix, ascending";
    let mut batch = Batch::new().put("a", "").put("c", "").put([0xff_u8, 0xff].to_vec(), "");
    for i in 0..2000_u32 {
        batch = batch.put([b"b/", &i.to_be_bytes()[..]].concat(), i.to_be_bytes().to_vec());
    }
    store.commit(batch).await.promised(rule)?;
    let pages = all(store.scan(b"b/")).await.promised(rule)?;
    let longest = pages.iter().map(Vec::len).max().unwrap_or(0);
    check(longest <= 1024, "pages are bounded", || format!("{longest} entries in one"))?;
    let found: Vec<Bytes> = pages.concat().into_iter().map(|(_, value)| value).collect();
    let expected: Vec<Bytes> =
        (0..2000_u32).map(|i| Bytes::copy_from_slice(&i.to_be_bytes())).collect();
    same(found, expected, rule)?;
    same(all(store.scan(b"")).await.promised(rule)?.concat().len(), 2003, rule)?;
    same(all(store.scan(&[0xff])).await.promised(rule)?.concat().len(), 1, rule)?;
    same(all(store.scan(b"zz")).await.promised(rule)?.concat().len(), 0, rule)?;

    let rule = "a scan shows one moment";
    let mut scan = store.scan(b"b/");
    let first = scan.next().await.promised(rule)?.promised(rule)?.len();
    let mut change = Batch::new().put("b/zzz", "new");
    for i in 0..2000_u32 {
        change = change.delete([b"b/", &i.to_be_bytes()[..]].concat());
    }
    store.commit(change).await.promised(rule)?;
    let rest = all(scan).await.promised(rule)?.concat().len();
    same(first + rest, 2000, rule)?;
    same(all(store.scan(b"b/")).await.promised(rule)?.concat().len(), 1, rule)
}

async fn bounds(store: &impl Datastore) -> Verdict {
    let rule = "keys and values up to the bounds are taken";
    let most = Batch::new().put(vec![1; Batch::MAX_KEY], vec![2; Batch::MAX_VALUE]);
    same(store.commit(most).await.promised(rule)?, true, rule)?;
    let found = store.get(&[1; Batch::MAX_KEY]).await.promised(rule)?;
    same(found.map(|value| value.len()), Some(Batch::MAX_VALUE), rule)?;
    let rule = "beyond the bounds nothing is written";
    for over in [
        Batch::new().put("x", "y").put(vec![1; Batch::MAX_KEY + 1], ""),
        Batch::new().put("x", "y").put("v", vec![2; Batch::MAX_VALUE + 1]),
    ] {
        let refused = store.commit(over).await;
        check(matches!(refused, Err(Error::Limit { .. })), rule, || format!("{refused:?}"))?;
        same(store.get(b"x").await.promised(rule)?, None, rule)?;
    }
    Ok(())
}

async fn one_winner(store: &impl Datastore) -> Verdict {
    let rule = "of those who expect the same and write, one wins";
    for round in 0..20_u8 {
        let before = round.checked_sub(1).map(|_| Bytes::from_static(b"taken"));
        let key = vec![round / 2];
        if round % 2 == 1 {
            let reset = Batch::new().expect(key.clone(), before).delete(key);
            same(store.commit(reset).await.promised(rule)?, true, rule)?;
            continue;
        }
        let claim = || Batch::new().expect(key.clone(), None::<Bytes>).put(key.clone(), "taken");
        let won = join_all((0..16).map(|_| store.commit(claim()))).await;
        let won: Vec<bool> = won.into_iter().collect::<Result<_>>().promised(rule)?;
        same(won.into_iter().filter(|won| *won).count(), 1, rule)?;
    }
    Ok(())
}

async fn random_work(store: &impl Datastore) -> Verdict {
    let rule = "after any work, the datastore holds what a map would";
    let mut numbers = Numbers(7);
    let mut model: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    for _ in 0..200 {
        let mut batch = Batch::new();
        for _ in 0..numbers.below(8) {
            let key = vec![numbers.below(30) as u8];
            batch = match numbers.below(3) {
                0 => batch.delete(key),
                _ => {
                    let len = numbers.below(40);
                    batch.put(key, numbers.bytes(len))
                }
            };
        }
        same(store.commit(batch.clone()).await.promised(rule)?, true, rule)?;
        for (key, value) in batch.into_writes() {
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
        }
    }
    let found = all(store.scan(b"")).await.promised(rule)?.concat();
    same(found, model.into_iter().collect(), rule)
}
