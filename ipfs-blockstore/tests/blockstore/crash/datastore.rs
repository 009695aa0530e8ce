//! Loss of power at any point of commits: each batch is there wholly or not at all.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use futures::TryStreamExt;
use ipfs_blockstore::RedbDatastore;
use ipfs_traits::{Batch, Bytes, Datastore, Result, VirtualRuntime, conformance};

use super::{
    crash_often,
    schedule::{Labelled, interleaved, labelled},
};
use crate::{
    faulty::{Faulty, TakenOut},
    numbers::Numbers,
};

const FOLDER: &str = "/state";
const FILE: &str = "/state/state.redb";

const WRITERS: usize = 4;

/// Commits of each writer, if no crash comes.
const COMMITS: u64 = 50;

/// Counted by all writers, each time with what they expect it to be.
const COUNT: &str = "count";

const STEPS: [&str; 2] = ["open", "commit"];

/// What a writer has under its keys, and how often it has counted.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    entries: BTreeMap<Bytes, Bytes>,
    counted: u64,
}

/// What was acknowledged to a writer, and what it was about to commit.
#[derive(Debug, Default)]
struct Writer {
    now: State,
    in_flight: Option<State>,
}

struct Work {
    seed: u64,
    runtime: VirtualRuntime,
    writers: RefCell<Vec<Writer>>,
}

/// A batch of a writer's, and what is there if it is committed.
struct Next {
    batch: Batch,
    state: State,
    /// Whether it can be refused: not what is expected is there.
    wrong: bool,
    counts: bool,
}

fn files(taken_out: TakenOut) -> Faulty {
    let files = Faulty::new(Path::new(FOLDER), false, taken_out);
    files.count_steps(|_, _, asked| asked);
    files
}

fn key(writer: usize, name: &str) -> Bytes {
    format!("writer/{writer}/{name}").into()
}

fn number(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| String::from_utf8_lossy(value).parse().unwrap())
}

impl Work {
    fn new(seed: u64) -> Self {
        let writers = RefCell::new((0..WRITERS).map(|_| Writer::default()).collect());
        Self { seed, runtime: VirtualRuntime::new(), writers }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future).unwrap()
    }

    fn open(&self, files: &Faulty) -> Result<RedbDatastore> {
        let runtime = Labelled { runtime: self.runtime.clone(), files: files.clone() };
        let opened = RedbDatastore::open_on(Arc::new(files.clone()), FILE, Arc::new(runtime));
        self.run(labelled(files.clone(), "open", opened))
    }

    fn go(&self, files: &Faulty, store: &RedbDatastore) {
        let writers = (0..WRITERS).map(|writer| {
            let work = self.write(files, store, writer);
            Box::pin(work) as futures::future::LocalBoxFuture<'_, ()>
        });
        self.run(interleaved(writers.collect(), Numbers(self.seed ^ 0x7e57)));
    }

    async fn write(&self, files: &Faulty, store: &RedbDatastore, writer: usize) {
        let mut numbers = Numbers(self.seed ^ (writer as u64 + 1).wrapping_mul(0x5bd1_e995));
        for commit in 0..COMMITS {
            let Ok(count) = labelled(files.clone(), "read", store.get(COUNT.as_bytes())).await
            else {
                assert!(files.has_crashed());
                return;
            };
            let now = self.writers.borrow()[writer].now.clone();
            let next = next(now, writer, commit, count, &mut numbers);
            let (wrong, counts) = (next.wrong, next.counts);
            self.writers.borrow_mut()[writer].in_flight = Some(next.state);
            let committed = labelled(files.clone(), "commit", store.commit(next.batch)).await;
            let writer = &mut self.writers.borrow_mut()[writer];
            match committed {
                Ok(true) => {
                    assert!(!wrong, "it was committed against what it expects");
                    writer.now = writer.in_flight.take().unwrap();
                }
                Ok(false) => {
                    assert!(wrong || counts, "it was refused, and all was as it expects");
                    writer.in_flight = None;
                }
                Err(error) => {
                    assert!(files.has_crashed(), "{error:?}");
                    return;
                }
            }
        }
    }

    /// What is wrong with what survived, if anything.
    fn check(&self, files: &Faulty) -> Result<(), String> {
        let store = self.agrees(files)?;
        let taken = self.run(store.commit(Batch::new().put("after", "1")));
        taken.map_err(|error| format!("it takes nothing more: {error:?}"))?;
        drop(store);
        self.agrees(&files.after_kill())?;
        self.agrees(&files.after_power_loss(&mut Numbers(self.seed))).map(drop)
    }

    fn agrees(&self, files: &Faulty) -> Result<RedbDatastore, String> {
        let store = self.open(files).map_err(|error| format!("it does not open: {error:?}"))?;
        let mut counted = 0;
        for (number, writer) in self.writers.borrow().iter().enumerate() {
            let found = self.run(store.scan(&key(number, "")).try_concat());
            let found = found.map_err(|error| format!("{error:?}"))?.into_iter().collect();
            let mut states = [Some(&writer.now), writer.in_flight.as_ref()].into_iter().flatten();
            let state = states.find(|state| state.entries == found);
            let state =
                state.ok_or(format!("writer {number} has neither what was acknowledged"))?;
            counted += state.counted;
        }
        let count = self.run(store.get(COUNT.as_bytes())).map_err(|error| format!("{error:?}"))?;
        match number(count.as_ref()) == counted {
            true => Ok(store),
            false => Err(format!("{count:?} was counted, and not {counted}")),
        }
    }
}

/// Some puts and deletes, and perhaps expectations.
fn next(
    mut state: State,
    writer: usize,
    commit: u64,
    count: Option<Bytes>,
    numbers: &mut Numbers,
) -> Next {
    // Each batch differs from the one before.
    let mut batch = Batch::new().put(key(writer, "last"), commit.to_string());
    let before = state.clone();
    state.entries.insert(key(writer, "last"), commit.to_string().into());
    for _ in 0..numbers.below(12) {
        let key = key(writer, &numbers.below(20).to_string());
        if numbers.below(3) == 0 {
            batch = batch.delete(key.clone());
            state.entries.remove(&key);
        } else {
            // Some are larger than a page.
            let most = if numbers.below(8) == 0 { 9000 } else { 100 };
            let len = numbers.below(most) as usize;
            let value: Bytes = (0..len).map(|_| numbers.next() as u8).collect::<Vec<_>>().into();
            batch = batch.put(key.clone(), value.clone());
            state.entries.insert(key, value);
        }
    }
    let (mut wrong, counts) = (false, numbers.below(3) == 0);
    if counts {
        let next = (number(count.as_ref()) + 1).to_string();
        batch = batch.expect(COUNT, count).put(COUNT, next);
        state.counted += 1;
    }
    if numbers.below(3) == 0 {
        wrong = numbers.below(4) == 0;
        let key = key(writer, &numbers.below(20).to_string());
        let expected = before.entries.get(&key).cloned();
        let expected = if wrong { Some("of nobody".into()) } else { expected };
        batch = batch.expect(key, expected);
    }
    Next { batch, state, wrong, counts }
}

/// Commits, loses the power at a point that the seed chooses, and says what is wrong with the rest.
fn crash(seed: u64, taken_out: TakenOut) -> Result<Option<&'static str>, String> {
    static CALLS: OnceLock<BTreeMap<&str, u64>> = OnceLock::new();
    let calls = CALLS.get_or_init(|| {
        let (work, files) = (Work::new(0), files(TakenOut::Nothing));
        work.go(&files, &work.open(&files).unwrap());
        println!("calls of each step: {:?}", files.steps());
        files.steps()
    });
    let step = STEPS[(seed % STEPS.len() as u64) as usize];
    let call = Numbers(seed ^ 0xc0ffee).below(calls[step]);
    let (work, files) = (Work::new(seed), files(taken_out));
    files.crash_in(step, call);
    if let Ok(store) = work.open(&files) {
        work.go(&files, &store);
    }
    let mut lost = Numbers(seed ^ 0xdead);
    let survivor = match lost.below(4) {
        0 => files.after_kill(),
        _ => files.after_power_loss(&mut lost),
    };
    let checked = work.check(&survivor);
    checked.map_err(|wrong| format!("seed {seed}, call {call} of {step}: {wrong}"))?;
    Ok(files.has_crashed().then_some(step))
}

#[test]
fn commits_are_whole_and_survive() {
    crash_often("redb", &STEPS, |seed| crash(seed, TakenOut::Nothing));
}

/// With the sync of contents or of names taken out, the test above fails.
#[test]
fn a_missing_sync_would_be_seen() {
    for taken_out in [TakenOut::SyncOfContents, TakenOut::SyncOfNames] {
        let seen = (0..200).find_map(|seed| crash(seed, taken_out).err());
        println!("{taken_out:?}: {}", seen.as_deref().unwrap_or("unseen"));
        assert!(seen.is_some(), "{taken_out:?} went unseen");
    }
}

/// After a sync that failed, no commit is acknowledged of which the power takes anything.
#[test]
fn a_failed_sync_is_never_followed_by_a_loss() {
    for at in 0..40 {
        let work = Work::new(at);
        let files = files(TakenOut::Nothing);
        let store = work.open(&files).unwrap();
        let commit = |name: &'static str| work.run(store.commit(Batch::new().put(name, name)));
        commit("before").unwrap();
        files.crash_at(files.calls() + at);
        let failed = commit("failed");
        files.crash_at(u64::MAX);
        let later = commit("later");
        let read = work.run(store.get(b"before"));
        assert!(later.is_err() || matches!(read, Ok(Some(_))), "it takes, and does not give");
        let survivor = files.after_power_loss(&mut Numbers(at));
        let store = work.open(&survivor).unwrap();
        for (name, done) in [("before", true), ("failed", failed.is_ok()), ("later", later.is_ok())]
        {
            let found = work.run(store.get(name.as_bytes())).unwrap();
            assert!(found.is_some() || !done, "call {at}: {name} is lost");
        }
    }
}

#[test]
fn keeps_the_promises_of_a_datastore_on_any_files() {
    let work = Work::new(0);
    let open = |files: Faulty| {
        let runtime = Arc::new(work.runtime.clone());
        RedbDatastore::open_on(Arc::new(files), FILE, runtime)
    };
    work.run(conformance::datastore(|| open(files(TakenOut::Nothing)))).unwrap();
    let same = files(TakenOut::Nothing);
    work.run(conformance::datastore_reopen(|| open(same.clone()))).unwrap();
}
