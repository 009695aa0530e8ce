//! What a provider keeps in the datastore.
//!
//! | key | value |
//! |---|---|
//! | `provide/state` | [`State`]: a version, then numbers of 8 bytes |
//! | `provide/done/` page | when each of 256 units was last announced, 8 bytes each |
//! | `provide/key/` unit, multihash | a key of the source, and the listing that last had it, 8 bytes |
//! | `provide/new/` unit, multihash | a key that waits to be announced; nothing |
//!
//! A page is one byte, a unit two: the first 12 bits of the key's position. Within a unit the order
//! means nothing. Numbers are big-endian. Each commit leaves a valid state: a batch that is announced
//! and not yet marked as done is announced again, a listing that was cut off is begun again.

use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{Batch, Datastore, Error, Multihash, Result, codes};

use super::schedule::{Schedule, UNIT_BITS, UNITS};
use crate::Position;

const STATE: &[u8] = b"provide/state";
const DONE: &[u8] = b"provide/done/";
pub(super) const KEYS: &[u8] = b"provide/key/";
pub(super) const NEW: &[u8] = b"provide/new/";

/// Units whose times stand in one value: 2 KiB, which are written when a batch is done.
const PAGE: usize = 256;

/// Entries that are written at once: enough that the sync of a commit costs little, and a megabyte
/// of memory at the most.
pub(super) const ENTRIES: usize = 4096;

/// Where the provider stands, apart from what each unit needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Phase 0 of the schedule, in milliseconds of the wall clock.
    pub(super) anchor: u64,
    /// The number of the last listing of the source that was whole.
    pub(super) generation: u64,
    /// When that listing was begun, in milliseconds of the wall clock; 0 if there was none.
    pub(super) began: u64,
    /// Keys that it had.
    pub(super) known: u64,
    /// Keys that the sweep has announced since.
    pub(super) announced: u64,
}

impl State {
    const VERSION: u8 = 1;

    fn encode(&self) -> Bytes {
        let Self { anchor, generation, began, known, announced } = *self;
        let numbers = [anchor, generation, began, known, announced];
        let numbers = numbers.into_iter().flat_map(u64::to_be_bytes);
        [Self::VERSION].into_iter().chain(numbers).collect()
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong = || Error::malformed("state of the provider", "it has another length");
        let (version, rest) = bytes.split_first().ok_or_else(wrong)?;
        if *version != Self::VERSION {
            let (found, known) = (u64::from(*version), u64::from(Self::VERSION));
            return Err(Error::Newer { what: "state of the provider", found, known });
        }
        let rest: &[u8; 40] = rest.try_into().map_err(|_| wrong())?;
        let mut numbers = numbers(rest);
        let [anchor, generation, began, known, announced] =
            std::array::from_fn(|_| numbers.next().expect("five numbers are 40 bytes"));
        Ok(Self { anchor, generation, began, known, announced })
    }
}

/// The numbers of 8 bytes each; what is left over at the end is not looked at.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|bytes| u64::from_be_bytes(bytes.try_into().expect("8 bytes")))
}

/// The tables in the datastore.
#[derive(Clone, Debug)]
pub(super) struct Table(pub(super) Arc<dyn Datastore>);

impl Table {
    /// The state, and the schedule that belongs to it; those of a new provider if there are none.
    pub(super) async fn load(&self, now: u64, interval: u64) -> Result<(State, Schedule)> {
        let Some(found) = self.0.get(STATE).await? else {
            let state = State { anchor: now, ..State::default() };
            return Ok((state, Schedule::new(now, interval)));
        };
        let state = State::decode(&found)?;
        let mut schedule = Schedule::new(state.anchor, interval);
        for (page, stamps) in schedule.stamps_mut().chunks_mut(PAGE).enumerate() {
            let Some(found) = self.0.get(&done_key(page)).await? else { continue };
            stamps.iter_mut().zip(numbers(&found)).for_each(|(stamp, number)| *stamp = number);
        }
        Ok((state, schedule))
    }

    /// Writes a batch; it has no expectations.
    pub(super) async fn save(&self, batch: Batch) -> Result<()> {
        self.0.commit(batch).await.map(drop)
    }

    /// Keys of these units, in pages.
    pub(super) fn keys(
        &self,
        table: &'static [u8],
        units: impl IntoIterator<Item = usize, IntoIter: Send>,
    ) -> impl Stream<Item = Result<Vec<Placed>>> + Send {
        let datastore = self.0.clone();
        let pages = move |unit| {
            let pages = datastore.scan(&[table, &unit_bytes(unit)].concat());
            let parse =
                move |(key, _): (Bytes, Bytes)| Ok(Placed { unit, key: parse(table, &key)? });
            pages.map(move |page| page?.into_iter().map(parse).collect())
        };
        stream::iter(units).flat_map(pages)
    }

    /// Notes the keys of a listing.
    pub(super) async fn note(&self, keys: &[Placed], generation: u64) -> Result<()> {
        let generation = Bytes::copy_from_slice(&generation.to_be_bytes());
        let put = |batch: Batch, key: &Placed| batch.put(key.entry(KEYS), generation.clone());
        self.save(keys.iter().fold(Batch::new(), put)).await
    }

    /// Whether the source had a key, or it was handed over.
    pub(super) async fn has(&self, key: &Placed) -> Result<bool> {
        Ok(self.0.get(&key.entry(KEYS)).await?.is_some())
    }

    /// Queues keys, and enters them in the schedule.
    pub(super) async fn queue(&self, keys: &[Placed], generation: u64) -> Result<()> {
        let generation = Bytes::copy_from_slice(&generation.to_be_bytes());
        let put = |batch: Batch, key: &Placed| {
            batch.put(key.entry(KEYS), generation.clone()).put(key.entry(NEW), Bytes::new())
        };
        self.save(keys.iter().fold(Batch::new(), put)).await
    }

    /// Takes keys out of the queue.
    pub(super) async fn dequeue(&self, keys: &[Placed]) -> Result<()> {
        let delete = |batch: Batch, key: &Placed| batch.delete(key.entry(NEW));
        self.save(keys.iter().fold(Batch::new(), delete)).await
    }

    /// Forgets the keys of a unit that were not in this listing; says how many are left.
    pub(super) async fn tidy(&self, unit: usize, generation: u64) -> Result<u64> {
        let generation = generation.to_be_bytes();
        let mut pages = self.0.scan(&[KEYS, &unit_bytes(unit)].concat());
        let mut left = 0;
        while let Some(page) = pages.try_next().await? {
            let all = page.len() as u64;
            let gone = page.into_iter().filter(|(_, value)| **value != generation);
            let gone = gone.fold(Batch::new(), |batch, (key, _)| batch.delete(key));
            left += all - gone.len() as u64;
            if !gone.is_empty() {
                self.save(gone).await?;
            }
        }
        Ok(left)
    }

    /// How many keys of each unit wait.
    pub(super) async fn waiting(&self) -> Result<Vec<usize>> {
        let mut counts = vec![0; UNITS];
        let mut pages = self.0.scan(NEW);
        while let Some(page) = pages.try_next().await? {
            for (key, _) in page {
                counts[Placed::new(parse(NEW, &key)?).unit] += 1;
            }
        }
        Ok(counts)
    }
}

/// The write that keeps the state, and the times of these units.
pub(super) fn record(
    state: &State,
    schedule: &Schedule,
    units: impl IntoIterator<Item = usize>,
) -> Batch {
    let mut batch = Batch::new().put(STATE, state.encode());
    let mut last = None;
    for page in units.into_iter().map(|unit| unit / PAGE) {
        if last.replace(page) != Some(page) {
            let stamps = &schedule.stamps()[page * PAGE..][..PAGE];
            let value: Bytes = stamps.iter().flat_map(|stamp| stamp.to_be_bytes()).collect();
            batch = batch.put(done_key(page), value);
        }
    }
    batch
}

fn done_key(page: usize) -> Vec<u8> {
    [DONE, &[page as u8]].concat()
}

fn unit_bytes(unit: usize) -> [u8; 2] {
    (unit as u16).to_be_bytes()
}

fn parse(table: &[u8], entry: &[u8]) -> Result<Multihash> {
    let wrong = || Error::malformed("key to be announced", "it is no multihash");
    let hash = entry.get(table.len() + 2..).ok_or_else(wrong)?;
    Multihash::from_bytes(hash).map_err(|_| wrong())
}

/// A key, and the unit that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    pub(super) unit: usize,
    pub(super) key: Multihash,
}

impl Placed {
    pub(super) fn new(key: Multihash) -> Self {
        let position = Position::of_block(&key);
        let [first, second, ..] = *position.as_bytes();
        let unit = usize::from(u16::from_be_bytes([first, second]) >> (u16::BITS - UNIT_BITS));
        Self { unit, key }
    }

    fn entry(&self, table: &[u8]) -> Vec<u8> {
        [table, &unit_bytes(self.unit), &self.key.to_bytes()].concat()
    }
}

/// Where keys belong, in order, each once. Nobody asks for the block of an identity hash.
pub(super) fn place(keys: impl IntoIterator<Item = Multihash>) -> Vec<Placed> {
    let wanted = keys.into_iter().filter(|key| key.code() != codes::IDENTITY);
    let mut placed: Vec<Placed> = wanted.map(Placed::new).collect();
    placed.sort_unstable();
    placed.dedup();
    placed
}
