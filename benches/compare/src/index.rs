//! Which index a store of blocks should have: the same work on redb, on fjall, and on our own.
//!
//! `index-compare NAME FOLDER build KEYS` fills an index in batches of a thousand, as a store does
//! that writes its blocks elsewhere and can make the index again; it reads, deletes half and lists,
//! and ends without closing anything. `index-compare NAME FOLDER open KEYS` opens it after that.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use redb::ReadableDatabase;

use ipfs_blockstore::files;

// What is private to the store is measured from its sources.
#[path = "../../../ipfs-blockstore/src/pack/error.rs"]
mod error;
#[allow(dead_code, unused_imports, reason = "not all that the store needs is measured")]
#[path = "../../../ipfs-blockstore/src/pack/index/mod.rs"]
mod ours;
#[allow(dead_code, reason = "not all that the store needs is measured")]
#[path = "../../../ipfs-blockstore/src/pack/place.rs"]
mod place;

use ours::{Checkpoint, Index};
use place::Place;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Key = [u8; 36];
type Value = [u8; 17];

/// What a store wants of an index.
trait Candidate {
    fn change(&mut self, batch: &[(Key, Option<Value>)]) -> Result<()>;
    /// Makes what was changed outlast the process, so that little has to be done again.
    fn checkpoint(&mut self) -> Result<()>;
    fn get(&self, keys: &[Key]) -> Result<usize>;
    fn list(&self) -> Result<usize>;
}

const BATCH: usize = 1000;
/// Keys between two checkpoints.
const CHECKPOINT: usize = 64 * BATCH;
/// Bytes of cache and tables that each may have in memory.
const CACHE: usize = 32 << 20;

struct Ours(Index);

impl Ours {
    fn open(folder: &Path) -> Result<Self> {
        let files = Arc::new(files::Disk::open(folder)?);
        let index = match Index::open(files.clone(), folder.into())? {
            Some(index) => index,
            None => Index::create(files, folder.into())?,
        };
        Ok(Self(index))
    }
}

fn hash(key: &Key) -> ipfs_core::Multihash {
    ipfs_core::Multihash::wrap(0x12, &key[4..]).expect("32 bytes fit")
}

impl Candidate for Ours {
    fn change(&mut self, batch: &[(Key, Option<Value>)]) -> Result<()> {
        self.0.apply(batch.iter().map(|(key, value)| (hash(key), value.map(Place::decode))));
        Ok(())
    }
    fn checkpoint(&mut self) -> Result<()> {
        self.0.freeze(Checkpoint::default());
        while self.0.write_frozen()? {}
        while self.0.merge()? {}
        Ok(())
    }
    fn get(&self, keys: &[Key]) -> Result<usize> {
        let keys: Vec<_> = keys.iter().map(hash).collect();
        Ok(self.0.get_many(&keys)?.iter().flatten().count())
    }
    fn list(&self) -> Result<usize> {
        let mut keys = self.0.snapshot().keys()?;
        let mut count = 0;
        while keys.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

const TABLE: redb::TableDefinition<&[u8; 36], &[u8; 17]> = redb::TableDefinition::new("index");

struct Redb(redb::Database);

impl Redb {
    fn open(folder: &Path) -> Result<Self> {
        let database = redb::Builder::new().set_cache_size(CACHE).create(folder.join("redb"))?;
        let transaction = database.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
        Ok(Self(database))
    }
}

impl Candidate for Redb {
    fn change(&mut self, batch: &[(Key, Option<Value>)]) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(redb::Durability::None)?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in batch {
                match value {
                    Some(value) => table.insert(key, value)?,
                    None => table.remove(key)?,
                };
            }
        }
        Ok(transaction.commit()?)
    }
    fn checkpoint(&mut self) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_quick_repair(true);
        Ok(transaction.commit()?)
    }
    fn get(&self, keys: &[Key]) -> Result<usize> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let mut found = 0;
        for key in keys {
            found += usize::from(table.get(key)?.is_some());
        }
        Ok(found)
    }
    fn list(&self) -> Result<usize> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let mut count = 0;
        for entry in table.range::<&[u8; 36]>(..)? {
            entry?;
            count += 1;
        }
        Ok(count)
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Fjall {
    fn open(folder: &Path) -> Result<Self> {
        let database = fjall::Database::builder(folder.join("fjall")).cache_size(CACHE as u64).open()?;
        let options = || fjall::KeyspaceCreateOptions::default().max_memtable_size(8 << 20);
        let keyspace = database.keyspace("index", options)?;
        Ok(Self(database, keyspace))
    }
}

impl Candidate for Fjall {
    fn change(&mut self, batch: &[(Key, Option<Value>)]) -> Result<()> {
        let mut changes = self.0.batch();
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(&self.1, key, value),
                None => changes.remove(&self.1, key),
            }
        }
        Ok(changes.commit()?)
    }
    fn checkpoint(&mut self) -> Result<()> {
        Ok(self.0.persist(fjall::PersistMode::SyncData)?)
    }
    fn get(&self, keys: &[Key]) -> Result<usize> {
        let mut found = 0;
        for key in keys {
            found += usize::from(self.1.get(key)?.is_some());
        }
        Ok(found)
    }
    fn list(&self) -> Result<usize> {
        let mut count = 0;
        for entry in self.1.iter() {
            entry.into_inner()?;
            count += 1;
        }
        Ok(count)
    }
}

/// The key of a number, which looks like a digest (SplitMix64).
fn key(number: u64) -> Key {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&[0x12, 0, 0, 32]);
    for (i, part) in key[4..].chunks_mut(8).enumerate() {
        let mut z = number.wrapping_mul(4).wrapping_add(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(z ^ (z >> 31)).to_be_bytes());
    }
    key
}

fn value(number: u64) -> Value {
    let mut value = [7; 17];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

fn memory(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    format!("{} MB", kib.unwrap_or(0) / 1024)
}

fn on_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => on_disk(&entry.path()),
            _ => entry.metadata().map_or(0, |data| data.len()),
        })
        .sum()
}

fn rate(what: &str, count: u64, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    println!("{what} | {:.0} k/s | {seconds:.2} s", count as f64 / seconds / 1e3);
}

fn build(candidate: &mut dyn Candidate, folder: &Path, keys: u64) -> Result<()> {
    let change = |candidate: &mut dyn Candidate, from: u64, deleted: bool| -> Result<()> {
        let value = |number| (!deleted).then(|| value(number));
        let step = if deleted { 2 } else { 1 };
        let batch: Vec<_> = (from..(from + BATCH as u64 * step).min(keys))
            .step_by(step as usize)
            .map(|number| (key(number), value(number)))
            .collect();
        candidate.change(&batch)?;
        if from.is_multiple_of(CHECKPOINT as u64 * step) { candidate.checkpoint() } else { Ok(()) }
    };
    let start = Instant::now();
    for from in (0..keys).step_by(BATCH) {
        change(candidate, from, false)?;
    }
    candidate.checkpoint()?;
    rate("insert", keys, start);
    println!("bytes on disk a key | {:.1}", on_disk(folder) as f64 / keys as f64);
    println!("resident | {}", memory("VmRSS:"));

    let asked = 1_000_000.min(keys);
    let shuffled = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
    for (what, offset, expected) in [("get", 0, asked as usize), ("absent", keys, 0)] {
        let start = Instant::now();
        let mut found = 0;
        for from in (0..asked).step_by(BATCH) {
            let batch: Vec<Key> =
                (from..from + BATCH as u64).map(|i| key(offset + shuffled(i))).collect();
            found += candidate.get(&batch)?;
        }
        rate(what, asked, start);
        assert_eq!(found, expected);
    }
    println!("resident reading | {}", memory("VmRSS:"));
    let start = Instant::now();
    assert_eq!(candidate.list()? as u64, keys);
    rate("list", keys, start);
    let start = Instant::now();
    for from in (0..keys).step_by(2 * BATCH) {
        change(candidate, from, true)?;
    }
    candidate.checkpoint()?;
    rate("delete half", keys / 2, start);
    println!("most resident | {}", memory("VmHWM:"));
    println!("bytes on disk a key then | {:.1}", on_disk(folder) as f64 / (keys / 2) as f64);
    Ok(())
}

fn open(name: &str, folder: &Path) -> Result<Box<dyn Candidate>> {
    Ok(match name {
        "ours" => Box::new(Ours::open(folder)?),
        "redb" => Box::new(Redb::open(folder)?),
        "fjall" => Box::new(Fjall::open(folder)?),
        other => return Err(format!("there is no {other}").into()),
    })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, name, folder, what, keys] = &args[..] else {
        return Err("index-compare NAME FOLDER build|open KEYS".into());
    };
    let (folder, keys): (PathBuf, u64) = (folder.into(), keys.parse()?);
    std::fs::create_dir_all(&folder)?;
    let start = Instant::now();
    let mut candidate = open(name, &folder)?;
    match what.as_str() {
        "build" => {
            build(&mut *candidate, &folder, keys)?;
            // Nothing is closed: what follows is an opening after a crash.
            std::process::abort();
        }
        _ => {
            let found = candidate.get(&[key(0), key(1)])?;
            println!("open after a crash | {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
            assert_eq!(found, 1);
            println!("resident then | {}", memory("VmRSS:"));
        }
    }
    Ok(())
}
