//! Loss of power and of the process at any point of random work.

mod car;
mod datastore;
mod kill;
mod kind;
mod model;
mod schedule;
mod work;

use std::{collections::BTreeMap, sync::OnceLock};

use self::{
    kind::{KINDS, Kind},
    work::Work,
};
use crate::{
    faulty::{Faulty, TakenOut},
    numbers::Numbers,
};

/// Crashes of each kind of store in all, and in each step, at the least.
fn crashes() -> (u64, u64) {
    if is_long() { (10_000, 500) } else { (0, 25) }
}

fn is_long() -> bool {
    std::env::var_os("IPFS_SOAK").is_some()
}

/// Where the seeds of this run begin; `IPFS_SEED` repeats one.
fn first_seed() -> u64 {
    let given = std::env::var("IPFS_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = given.unwrap_or_else(|| now.subsec_nanos().into());
    println!("seeds from {seed} on");
    seed
}

/// A step, and the call of it at which everything fails.
type Point = (&'static str, u64);

/// Works, loses the power at a point that the seed chooses, and says what is wrong with the rest.
/// Gives the step in which the crash came, if one came.
fn crash(kind: Kind, seed: u64, taken_out: TakenOut) -> Result<Option<&'static str>, String> {
    let work = Work::new(kind, seed);
    let files = kind.files(taken_out);
    let (step, call) = point(kind, seed);
    files.crash_in(step, call);
    if let Ok(store) = work.open(&files) {
        // It ends where the crash comes, if one comes.
        work.go(&files, &*store);
    }
    let mut lost = Numbers(seed ^ 0xdead);
    let mut survivor = files.after_power_loss(&mut lost);
    if lost.below(2) == 0 {
        // Killed at that point, opened again, flushed, and only then without power.
        let killed = files.after_kill();
        if let Ok(store) = work.open(&killed) {
            work.put_all(&*store).map_err(|error| format!("{error:?}"))?;
        }
        survivor = killed.after_power_loss(&mut lost);
    }
    let checked = work.check(&survivor);
    checked.map_err(|wrong| format!("{kind:?}, seed {seed}, call {call} of {step}: {wrong}"))?;
    Ok(files.has_crashed().then_some(step))
}

/// One step after the other, and any call of it.
fn point(kind: Kind, seed: u64) -> Point {
    static CALLS: OnceLock<BTreeMap<Kind, BTreeMap<&str, u64>>> = OnceLock::new();
    let calls = CALLS.get_or_init(|| KINDS.into_iter().map(|kind| (kind, calls(kind))).collect());
    let step = kind.steps()[(seed % kind.steps().len() as u64) as usize];
    let most = calls[&kind].get(step).copied().unwrap_or(1);
    (step, Numbers(seed ^ 0xc0ffee).below(most))
}

/// About how many calls of each step a run has in which nothing fails.
fn calls(kind: Kind) -> BTreeMap<&'static str, u64> {
    let (work, files) = (Work::new(kind, 0), kind.files(TakenOut::Nothing));
    let store = work.open(&files).unwrap();
    work.go(&files, &*store);
    let steps = files.steps();
    println!("{kind:?}: calls of each step: {steps:?}");
    steps
}

/// Runs a crash for each seed until there were enough inside each step; says how many there were.
fn crash_often(
    what: &str,
    steps: &[&'static str],
    crash: impl Fn(u64) -> Result<Option<&'static str>, String>,
) {
    let (in_all, in_each) = crashes();
    let mut inside: BTreeMap<&str, u64> = steps.iter().map(|step| (*step, 0)).collect();
    let first = first_seed();
    let enough = |inside: &BTreeMap<&str, u64>| {
        inside.values().sum::<u64>() >= in_all && inside.values().all(|count| *count >= in_each)
    };
    let mut seed = first;
    while !enough(&inside) {
        if let Some(step) = crash(seed).unwrap() {
            *inside.get_mut(step).unwrap() += 1;
        }
        seed += 1;
        let most = 2 * in_all.max(in_each * inside.len() as u64);
        assert!(seed - first < most, "{what}: too few inside a step: {inside:?}");
    }
    println!("{what}: crashes inside: {inside:?}, {} in all", inside.values().sum::<u64>());
}

fn crash_store_often(kind: Kind) {
    let what = format!("{kind:?}");
    crash_often(&what, kind.steps(), |seed| crash(kind, seed, TakenOut::Nothing));
}

#[test]
fn what_was_flushed_survives_in_a_pack_store() {
    crash_store_often(Kind::Pack);
}

#[test]
fn what_was_flushed_survives_in_a_flat_store() {
    crash_store_often(Kind::Flat { whole: false });
    crash_store_often(Kind::Flat { whole: true });
}

#[test]
fn what_was_flushed_survives_in_an_archive() {
    crash_store_often(Kind::Car);
}

/// With the sync of contents or of names taken out, the tests above fail: shown for each.
#[test]
fn a_missing_sync_would_be_seen() {
    for taken_out in [TakenOut::SyncOfContents, TakenOut::SyncOfNames] {
        for kind in KINDS {
            let seen = (0..200).find_map(|seed| crash(kind, seed, taken_out).err());
            println!("{taken_out:?}: {}", seen.as_deref().unwrap_or("unseen"));
            assert!(seen.is_some(), "{taken_out:?} of {kind:?} went unseen");
        }
    }
}

/// A seed says all: the same calls in the same order.
#[test]
fn a_seed_repeats_its_run() {
    for kind in KINDS {
        let run = |seed| {
            let (work, files) = (Work::new(kind, seed), kind.files(TakenOut::Nothing));
            work.go(&files, &*work.open(&files).unwrap());
            files.trace()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}

/// After a sync that failed, nothing is said to be safe until the store is opened again.
#[test]
fn a_failed_sync_is_never_followed_by_a_success() {
    for (at, kind) in (0..200).flat_map(|at| KINDS.map(|kind| (at, kind))) {
        let work = Work::new(kind, at);
        let files = kind.files(TakenOut::Nothing);
        let Ok(store) = work.open(&files) else { continue };
        let blocks = &work.blocks[..1 + at as usize % 40];
        work.run(store.put_many(blocks)).unwrap();
        let before = files.calls();
        files.crash_at(before + at % 3);
        let first = work.run(store.flush());
        files.crash_at(u64::MAX);
        let second = work.run(store.flush());
        // A call that failed before any sync may be repeated; a sync that failed may not.
        if first.is_err() && second.is_ok() {
            let survivor = files.after_power_loss(&mut Numbers(at));
            drop(store);
            are_there(&work, &survivor, blocks);
        } else if first.is_err() {
            let put = work.run(store.put_many(&blocks[..1]));
            assert!(put.is_err() || work.run(store.flush()).is_err());
            let read = work.run(store.get_many(&[*blocks[0].cid()]));
            assert!(matches!(&read[..], [Ok(Some(_))]), "it still reads");
        }
    }
}

fn are_there(work: &Work, files: &Faulty, blocks: &[ipfs_traits::Block]) {
    let store = work.open(files).unwrap();
    let cids: Vec<_> = blocks.iter().map(|block| *block.cid()).collect();
    let sizes = work.run(store.sizes(&cids)).unwrap();
    assert!(sizes.iter().all(Option::is_some), "{sizes:?}");
}
