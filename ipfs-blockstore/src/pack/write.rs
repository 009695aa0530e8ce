//! Putting, deleting, and making both durable.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, atomic::Ordering},
};

use ipfs_traits::{Block, Cid, Error, Multihash, Result, work::give_way};

use super::{
    Inner, PackStore,
    error::PackError,
    frame::Position,
    log::{Log, Prepared},
    place::Place,
};

/// How much waits for a commit.
pub(super) enum Backlog {
    Small,
    /// Enough for a commit of its own, which nobody has started yet.
    Growing,
    /// So much that whoever put it waits for the commit.
    Full,
}

/// From so much on, a commit runs in the background while more is put.
const GROWING: u64 = 64 << 20;

/// Blocks that are looked up at once to be deleted.
const LOOK_UPS: usize = 128;

/// Blocks that are deleted or moved while others wait.
pub(super) const AT_ONCE: usize = 64;

/// From so much on, putting waits: what a crash can lose stays bounded.
const FULL: u64 = 512 << 20;

impl Inner {
    /// Appends the blocks that are not here yet.
    pub(super) fn put_many(&self, blocks: &[Block]) -> Result<Backlog, PackError> {
        let seen = self.log().changes;
        let new = self.absent(blocks)?;
        let mut prepared: Vec<Prepared> = new.into_iter().map(Prepared::block).collect();
        let mut log = self.log();
        log.check()?;
        if log.changes != seen {
            // Others have put or deleted meanwhile.
            let mut ready: HashMap<_, _> =
                prepared.into_iter().map(|record| (record.key, record)).collect();
            let new = self.absent(blocks)?.into_iter();
            prepared = new
                .map(|block| ready.remove(block.hash()).unwrap_or_else(|| Prepared::block(block)))
                .collect();
        }
        self.check_room(&log, &prepared)?;
        let (places, written) = log.append(&self.segments, self.options.segment_size(), &prepared);
        log.changes += places.len() as u64;
        places.iter().for_each(|(_, place)| log.count(place));
        self.index.apply(places.into_iter().map(|(key, place)| (key, Some(place))));
        written?;
        let bytes = log.unsynced_bytes;
        if bytes >= FULL {
            return Ok(Backlog::Full);
        }
        if bytes >= GROWING && !log.commit_due {
            log.commit_due = true;
            return Ok(Backlog::Growing);
        }
        Ok(Backlog::Small)
    }

    /// The blocks that are not here, each once.
    fn absent<'a>(&self, blocks: &'a [Block]) -> Result<Vec<&'a Block>, PackError> {
        let keys: Vec<Multihash> = blocks.iter().map(|block| *block.hash()).collect();
        let places = self.index.get_many(&keys)?;
        let mut seen = HashSet::new();
        let absent = |(block, place): &(&Block, Option<Place>)| {
            place.is_none() && seen.insert(*block.hash())
        };
        Ok(std::iter::zip(blocks, places).filter(absent).map(|(block, _)| block).collect())
    }

    fn check_room(&self, log: &Log, records: &[Prepared]) -> Result<(), PackError> {
        let Some(limit) = self.options.max_bytes else { return Ok(()) };
        let bytes: u64 = records.iter().map(|record| record.len() as u64).sum();
        if bytes > 0 && log.on_disk + bytes > limit {
            return Err(Error::Full { used: log.on_disk, limit }.into());
        }
        Ok(())
    }

    /// Where blocks lie.
    pub(super) fn places(&self, cids: &[Cid]) -> Result<Vec<Option<Place>>, PackError> {
        self.index.get_many(&cids.iter().map(|cid| *cid.hash()).collect::<Vec<_>>())
    }

    /// Deletes blocks, some at a time, so that nobody waits for long.
    pub(super) fn delete_many(&self, cids: &[Cid]) -> Result<(), PackError> {
        let mut keys: Vec<Multihash> = cids.iter().map(|cid| *cid.hash()).collect();
        // In the order of the index, where neighbours cost less.
        keys.sort_unstable();
        keys.dedup();
        keys.chunks(LOOK_UPS).try_for_each(|some| self.delete_some(some))
    }

    fn delete_some(&self, keys: &[Multihash]) -> Result<(), PackError> {
        give_way();
        let mut seen = self.log().displaced;
        let places = self.index.get_many(keys)?;
        for (keys, places) in std::iter::zip(keys.chunks(AT_ONCE), places.chunks(AT_ONCE)) {
            give_way();
            let mut log = self.log();
            log.check()?;
            let found = match log.displaced == seen {
                true => places.to_vec(),
                // Others have deleted meanwhile, or moved them.
                false => self.index.get_many(keys)?,
            };
            // What others have displaced since the look-up stays unseen for the rest too.
            let before = log.displaced;
            self.kill(&mut log, std::iter::zip(keys, found))?;
            seen += log.displaced - before;
        }
        Ok(())
    }

    /// Notes that blocks are dead, where they were found.
    fn kill<'a>(
        &self,
        log: &mut Log,
        found: impl Iterator<Item = (&'a Multihash, Option<Place>)>,
    ) -> Result<(), PackError> {
        let found = found.filter_map(|(key, place)| Some((*key, place?)));
        let mut dead: Vec<(Multihash, Place)> = found.collect();
        dead.sort_unstable_by_key(|(_, place)| (place.segment, place.offset));
        let mut killed = Vec::with_capacity(dead.len());
        let kill = || {
            for (key, place) in dead {
                log.kill(Position { segment: place.segment, offset: place.offset })?;
                log.count_dead(&place);
                killed.push((key, None));
            }
            Ok(())
        };
        let done = kill();
        // What was killed is gone even if the next one failed.
        log.changes += killed.len() as u64;
        self.index.apply(killed);
        done
    }

    /// Syncs all that was put and deleted.
    fn commit(&self) -> Result<(), PackError> {
        // Whoever waited for the commit before may have gone, and left it running.
        let _running = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(unsynced) = self.log().begin_commit()? else { return Ok(()) };
        for file in &unsynced.files {
            file.sync().map_err(|error| self.fail(PackError::io("sync", &self.root)(error)))?;
        }
        if unsynced.names {
            let synced = self.files.sync_dir(&self.root);
            synced.map_err(|error| self.fail(PackError::io("sync", &self.root)(error)))?;
        }
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.syncs.fetch_add(unsynced.files.len() as u64, Ordering::Relaxed);
        self.log().end_commit(&unsynced);
        Ok(())
    }

    pub(super) fn fail(&self, error: PackError) -> PackError {
        self.log().fail(error)
    }

    /// Writes what the index has in memory to its files, and merges these. With `all` nothing is
    /// left in memory, else only a table that has grown large enough is written.
    pub(super) fn maintain(&self, all: bool) -> Result<(), PackError> {
        let _running = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut log = self.log();
            log.maintenance_due = false;
            let len = self.index.table_len();
            if len >= self.options.index_table || (all && len > 0) {
                let checkpoint = log.checkpoint()?;
                self.index.freeze(checkpoint);
            }
        }
        if self.index.frozen() > 0 {
            // The index must never know what the segments can still lose.
            self.commit()?;
        }
        while self.index.write_frozen()? {}
        while self.index.merge()? {}
        Ok(())
    }
}

impl PackStore {
    /// Returns when all that was put or deleted before is durable.
    ///
    /// Whoever comes first commits; those who wait meanwhile are served by the next commit,
    /// together.
    pub(super) async fn commit(&self) -> Result<()> {
        let inner = &self.0;
        let wanted = inner.log().changes;
        let turn = inner.turn.lock().await;
        if inner.log().durable < wanted {
            self.blocking(Inner::commit).await?;
        }
        drop(turn);
        Ok(inner.log().check()?)
    }

    /// Does what a put has made due.
    pub(super) async fn settle(&self, backlog: Backlog) -> Result<()> {
        if matches!(backlog, Backlog::Growing) {
            self.background(|store| async move { store.commit().await });
        }
        self.settle_index().await?;
        if matches!(backlog, Backlog::Full) { self.commit().await } else { Ok(()) }
    }

    /// Has the index written if so much is new in it.
    pub(super) async fn settle_index(&self) -> Result<()> {
        let (inner, table) = (&self.0, self.0.options.index_table);
        let len = inner.index.table_len();
        if len >= 2 * table {
            // The index is behind: whoever changes more waits for it.
            return self.keep_index_up().await;
        }
        if len >= table && !std::mem::replace(&mut inner.log().maintenance_due, true) {
            self.background(
                |store| async move { store.blocking(|inner| inner.maintain(false)).await },
            );
        }
        Ok(())
    }

    /// Writes the index if so much is new in it, and waits for that: who deletes or moves much does,
    /// so that who puts seldom has to, and has a processor to itself.
    pub(super) async fn keep_index_up(&self) -> Result<()> {
        match self.0.index.table_len() >= self.0.options.index_table {
            true => self.blocking(|inner| inner.maintain(false)).await,
            false => Ok(()),
        }
    }

    /// Starts what nobody waits for, unless the store is dropped before it begins. What fails there
    /// fails again for whoever comes next.
    fn background<W>(&self, work: impl FnOnce(Self) -> W + Send + 'static)
    where
        W: Future<Output = Result<()>> + Send,
    {
        let inner = Arc::downgrade(&self.0);
        let work = async move {
            let Some(inner) = inner.upgrade() else { return };
            if let Err(error) = work(Self(inner)).await {
                tracing::warn!(%error, "work in the background failed");
            }
        };
        self.0.runtime.spawn(Box::pin(work)).detach();
    }
}
