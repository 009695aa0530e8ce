//! Stores of blocks side by side: ours (a pack, or files in Kubo's layout), fjall with its values
//! apart, and a file for each block. `.ci/peers/flatfs` does the same with Kubo's own store.
//!
//! `store-compare NAME FOLDER BYTES COUNT BATCH` puts so many blocks of so many bytes, durably after
//! each batch, then reads, looks for what is absent, lists, deletes half and gives the space back.

use std::{
    error::Error,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use futures::TryStreamExt;
use ipfs_blockstore::{Blockstore, FlatStore, PackStore};
use ipfs_core::{Block, Cid, HashTable, TokioRuntime};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is asked of a store.
trait Candidate {
    /// Puts blocks, and returns when they are durable.
    fn put(&mut self, blocks: &[Block]) -> Result<()>;
    /// How many of these are there, read whole.
    fn get(&mut self, cids: &[Cid]) -> Result<usize>;
    /// How many of these are there.
    fn has(&mut self, cids: &[Cid]) -> Result<usize>;
    fn list(&mut self) -> Result<usize>;
    /// Deletes; durably after a flush.
    fn delete(&mut self, cids: &[Cid]) -> Result<()>;
    fn flush(&mut self) -> Result<()>;
    fn compact(&mut self) -> Result<()>;
}

struct Ours(Arc<dyn Blockstore>, tokio::runtime::Runtime);

impl Ours {
    fn open(name: &str, folder: &Path) -> Result<Self> {
        let tokio = tokio::runtime::Runtime::new()?;
        let store = tokio.block_on(async {
            let runtime = Arc::new(TokioRuntime::current()?);
            ipfs_traits::Result::<Arc<dyn Blockstore>>::Ok(match name {
                "flat" => Arc::new(FlatStore::open(folder, runtime).await?),
                _ => Arc::new(PackStore::open(folder, runtime).await?),
            })
        })?;
        Ok(Self(store, tokio))
    }
}

impl Candidate for Ours {
    fn put(&mut self, blocks: &[Block]) -> Result<()> {
        self.1.block_on(async {
            self.0.put_many(blocks).await?;
            Ok(self.0.flush().await?)
        })
    }
    fn get(&mut self, cids: &[Cid]) -> Result<usize> {
        let found = self.1.block_on(self.0.get_many(cids));
        found.into_iter().try_fold(0, |sum, found| Ok(sum + usize::from(found?.is_some())))
    }
    fn has(&mut self, cids: &[Cid]) -> Result<usize> {
        Ok(self.1.block_on(self.0.sizes(cids))?.into_iter().flatten().count())
    }
    fn list(&mut self) -> Result<usize> {
        let count = self.0.list().try_fold(0, async |sum, page| Ok(sum + page.len()));
        Ok(self.1.block_on(count)?)
    }
    fn delete(&mut self, cids: &[Cid]) -> Result<()> {
        Ok(self.1.block_on(self.0.delete_many(cids))?)
    }
    fn flush(&mut self) -> Result<()> {
        Ok(self.1.block_on(self.0.flush())?)
    }
    fn compact(&mut self) -> Result<()> {
        Ok(self.1.block_on(self.0.compact())?)
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Fjall {
    fn open(folder: &Path) -> Result<Self> {
        let database = fjall::Database::builder(folder).open()?;
        let options = || {
            let apart = fjall::KvSeparationOptions::default();
            fjall::KeyspaceCreateOptions::default().with_kv_separation(Some(apart))
        };
        let keyspace = database.keyspace("blocks", options)?;
        Ok(Self(database, keyspace))
    }

    fn commit(&self, batch: fjall::OwnedWriteBatch) -> Result<()> {
        batch.commit()?;
        Ok(self.0.persist(fjall::PersistMode::SyncData)?)
    }
}

impl Candidate for Fjall {
    fn put(&mut self, blocks: &[Block]) -> Result<()> {
        let mut batch = self.0.batch();
        for block in blocks {
            batch.insert(&self.1, block.hash().to_bytes(), &block.data()[..]);
        }
        self.commit(batch)
    }
    fn get(&mut self, cids: &[Cid]) -> Result<usize> {
        let get = |sum, cid: &Cid| Ok(sum + usize::from(self.1.get(cid.hash().to_bytes())?.is_some()));
        cids.iter().try_fold(0, get)
    }
    fn has(&mut self, cids: &[Cid]) -> Result<usize> {
        let has = |sum, cid: &Cid| Ok(sum + usize::from(self.1.contains_key(cid.hash().to_bytes())?));
        cids.iter().try_fold(0, has)
    }
    fn list(&mut self) -> Result<usize> {
        let mut count = 0;
        for entry in self.1.iter() {
            entry.key()?;
            count += 1;
        }
        Ok(count)
    }
    fn delete(&mut self, cids: &[Cid]) -> Result<()> {
        let mut batch = self.0.batch();
        cids.iter().for_each(|cid| batch.remove(&self.1, cid.hash().to_bytes()));
        Ok(batch.commit()?)
    }
    fn flush(&mut self) -> Result<()> {
        Ok(self.0.persist(fjall::PersistMode::SyncData)?)
    }
    fn compact(&mut self) -> Result<()> {
        Ok(self.1.major_compact()?)
    }
}

/// A file for each block, synced by itself, as simple stores have it.
struct Files(PathBuf);

impl Files {
    fn path(&self, cid: &Cid) -> PathBuf {
        let name = cid.to_string();
        self.0.join(&name[name.len() - 3..name.len() - 1]).join(name)
    }
}

impl Candidate for Files {
    fn put(&mut self, blocks: &[Block]) -> Result<()> {
        for block in blocks {
            let path = self.path(block.cid());
            let folder = path.parent().ok_or("no folder")?;
            std::fs::create_dir_all(folder)?;
            let temp = self.0.join("temp");
            let mut file = std::fs::File::create(&temp)?;
            file.write_all(block.data())?;
            file.sync_data()?;
            std::fs::rename(&temp, &path)?;
        }
        for block in blocks {
            let path = self.path(block.cid());
            std::fs::File::open(path.parent().ok_or("no folder")?)?.sync_all()?;
        }
        Ok(())
    }
    fn get(&mut self, cids: &[Cid]) -> Result<usize> {
        Ok(cids.iter().filter(|cid| std::fs::read(self.path(cid)).is_ok()).count())
    }
    fn has(&mut self, cids: &[Cid]) -> Result<usize> {
        Ok(cids.iter().filter(|cid| self.path(cid).metadata().is_ok()).count())
    }
    fn list(&mut self) -> Result<usize> {
        let mut count = 0;
        for folder in std::fs::read_dir(&self.0)? {
            let folder = folder?;
            if folder.file_type()?.is_dir() {
                count += std::fs::read_dir(folder.path())?.count();
            }
        }
        Ok(count)
    }
    fn delete(&mut self, cids: &[Cid]) -> Result<()> {
        Ok(cids.iter().try_for_each(|cid| std::fs::remove_file(self.path(cid)))?)
    }
    fn flush(&mut self) -> Result<()> {
        for folder in std::fs::read_dir(&self.0)? {
            let folder = folder?;
            if folder.file_type()?.is_dir() {
                std::fs::File::open(folder.path())?.sync_all()?;
            }
        }
        Ok(())
    }
    fn compact(&mut self) -> Result<()> {
        Ok(())
    }
}

fn blocks(from: usize, count: usize, bytes: usize, hashes: &HashTable) -> Vec<Block> {
    let data = |i: usize| {
        let mut data = vec![0; bytes.max(8)];
        let mut state = i as u64;
        for part in data.chunks_mut(8) {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(i as u64 | 1);
            part.copy_from_slice(&state.to_le_bytes()[..part.len()]);
        }
        data[..8].copy_from_slice(&(i as u64).to_be_bytes());
        data.into()
    };
    let prefix = ipfs_core::Prefix::v1(ipfs_core::codes::RAW, ipfs_core::codes::SHA2_256);
    let data = (from..from + count).map(data).collect();
    Block::many_with_prefix(&prefix, data, hashes).expect("the hash function is known")
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

fn rate(what: &str, count: usize, bytes: usize, seconds: f64) {
    let rate = count as f64 / seconds;
    println!("{what} | {rate:.0} /s | {:.0} MB/s", rate * bytes as f64 / 1e6);
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, name, folder, bytes, count, batch] = &args[..] else {
        return Err("store-compare NAME FOLDER BYTES COUNT BATCH".into());
    };
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)?;
    let (bytes, count, batch): (usize, usize, usize) =
        (bytes.parse()?, count.parse()?, batch.parse()?);
    let mut store: Box<dyn Candidate> = match name.as_str() {
        "ours" | "flat" => Box::new(Ours::open(name, &folder)?),
        "fjall" => Box::new(Fjall::open(&folder)?),
        "files" => Box::new(Files(folder.clone())),
        other => return Err(format!("there is no {other}").into()),
    };
    let hashes = HashTable::standard();
    let (mut seconds, mut cids) = (0.0, Vec::with_capacity(count));
    for from in (0..count).step_by(batch) {
        let some = blocks(from, batch.min(count - from), bytes, &hashes);
        let start = Instant::now();
        store.put(&some)?;
        seconds += start.elapsed().as_secs_f64();
        cids.extend(some.iter().map(|block| *block.cid()));
    }
    rate("put and flush", count, bytes, seconds);
    println!("on disk | {:.2} of the data | -", on_disk(&folder) as f64 / (count * bytes) as f64);

    let asked = count.min(200_000).min((4 << 30) / bytes);
    let shuffled: Vec<Cid> =
        (0..asked).map(|i| cids[i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count]).collect();
    let start = Instant::now();
    for some in shuffled.chunks(256) {
        assert_eq!(store.get(some)?, some.len());
    }
    rate("get, by 256", asked, bytes, start.elapsed().as_secs_f64());
    let absent: Vec<Cid> =
        blocks(usize::MAX / 2, 100_000, 8, &hashes).iter().map(|block| *block.cid()).collect();
    let start = Instant::now();
    for some in absent.chunks(256) {
        assert_eq!(store.has(some)?, 0);
    }
    rate("absent, by 256", absent.len(), 0, start.elapsed().as_secs_f64());
    let start = Instant::now();
    assert_eq!(store.list()?, count);
    rate("list", count, 0, start.elapsed().as_secs_f64());
    let half: Vec<Cid> = cids.iter().step_by(2).copied().collect();
    let start = Instant::now();
    for some in half.chunks(1000) {
        store.delete(some)?;
    }
    store.flush()?;
    rate("delete half, by 1000, and flush", half.len(), 0, start.elapsed().as_secs_f64());
    if matches!(name.as_str(), "flat" | "files") {
        // There is nothing to do: a file that is removed takes no more room.
        println!("compact | - | -");
    } else {
        let start = Instant::now();
        store.compact()?;
        rate("compact", count - half.len(), bytes, start.elapsed().as_secs_f64());
    }
    let left = (count - half.len()) * bytes;
    println!("on disk then | {:.2} of the data | -", on_disk(&folder) as f64 / left as f64);
    Ok(())
}
