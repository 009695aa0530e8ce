//! Looking at all references, and removing those that lead nowhere.

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{Batch, Blockstore, Bytes, Cid, Error, Result, RuntimeExt, codes};

use super::{
    Record, ReferenceStore, References,
    error::Broken,
    paths,
    read::Wanted,
    record::{key, parse_key},
};

/// Bytes of blocks that are in memory in one go.
const GROUP_BYTES: u64 = 16 << 20;

/// References that are looked at in one go.
const GROUP: usize = 256;

/// What became of a reference, in Kubo's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The bytes are those of the block.
    Ok,
    /// The file or URL cannot be read, perhaps only now: no permission, a path that leads out of the
    /// root, a server that does not answer as it should.
    FileError,
    /// There is no such file.
    NotFound,
    /// There are other bytes, or fewer.
    Changed,
    /// The record makes no sense, or cannot be followed here: there is no root or no client, or the
    /// hash function is unknown.
    Other,
    /// There is no reference.
    KeyNotFound,
}

impl State {
    /// The number that Kubo gives it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::FileError => 10,
            Self::NotFound => 11,
            Self::Changed => 12,
            Self::Other => 20,
            Self::KeyNotFound => 30,
        }
    }
}

/// What [`ReferenceStore::verify_references`] removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Remove {
    /// Nothing.
    #[default]
    Nothing,
    /// References that lead nowhere and will not by themselves: those that are
    /// [`NotFound`](State::NotFound) or [`Changed`](State::Changed), records that make no sense, and
    /// entries whose keys name no block. What may be readable again later stays. A block that is
    /// stored stays too; only its reference goes.
    Broken,
}

/// What was found of one reference.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The block: a record tells only its multihash, so it is raw where it was not asked by a CID.
    pub cid: Cid,
    /// Where its bytes should lie, if that is recorded in a way that makes sense.
    pub record: Option<Record>,
    /// What became of it.
    pub state: State,
    /// Why, unless it is in order.
    pub error: Option<Error>,
}

/// How far [`ReferenceStore::verify_references`] has come.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// References that were looked at so far.
    pub references: u64,
    /// Bytes of those that are in order.
    pub bytes: u64,
    /// Those that are not in order.
    pub broken: u64,
    /// Entries in the place of references whose keys name no block.
    pub unknown: u64,
    /// Entries that were removed.
    pub removed: u64,
    /// What was found since the item before.
    pub checked: Vec<Checked>,
}

/// An entry of the datastore; without a CID if its key names no block.
#[derive(Clone, Debug)]
struct Entry {
    key: Bytes,
    value: Bytes,
    cid: Option<Cid>,
    record: Option<Result<Record>>,
}

impl<S: Blockstore> ReferenceStore<S> {
    /// Reads and hashes what all references lead to, on as many threads as there are cores, and says
    /// every few hundred how far it has come. Dropping the stream ends the work.
    ///
    /// A reference that was changed since it was looked at is not removed.
    ///
    /// # Errors
    ///
    /// What the datastore says; [`Error::Component`] when the root itself cannot be found, which
    /// would make every file look lost. An error ends the stream. That a reference is broken is
    /// none.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     store: ipfs_blockstore::ReferenceStore<ipfs_blockstore::PackStore>,
    /// # ) -> ipfs_traits::Result<()> {
    /// use futures::TryStreamExt;
    /// use ipfs_blockstore::reference::{Remove, State};
    ///
    /// let mut verifying = store.verify_references(Remove::Nothing);
    /// while let Some(so_far) = verifying.try_next().await? {
    ///     let changed = so_far.checked.iter().filter(|one| one.state == State::Changed);
    ///     println!("{} looked at, {} changed", so_far.references, changed.count());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify_references(&self, remove: Remove) -> BoxStream<'static, Result<Verified>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let references = self.references.clone();
        let rooted = {
            let references = references.clone();
            stream::once(async move { references.check_root().await.map(|()| Vec::new()) })
        };
        let groups = rooted
            .chain(references.entries())
            .map_ok(|page| stream::iter(groups(page).into_iter().map(Ok)))
            .try_flatten();
        let removing = references.clone();
        let looked = groups
            .map(move |group: Result<Vec<Entry>>| {
                let references = references.clone();
                async move { references.look_at(group?).await }
            })
            .buffered(cores)
            .and_then(move |(group, checked)| {
                let references = removing.clone();
                async move {
                    let removed = references.remove(&group, &checked, remove).await?;
                    Ok((group, checked, removed))
                }
            });
        looked
            .scan(Some(Verified::default()), |so_far, looked| {
                // An error ends the stream.
                let now = so_far.take().map(|before| {
                    let (group, checked, removed) = looked?;
                    let now = before.and(&group, checked, removed);
                    *so_far = Some(Verified { checked: Vec::new(), ..now.clone() });
                    Ok(now)
                });
                async move { now }
            })
            .boxed()
    }

    /// Looks at the references of these blocks, and gives what became of each, in their order.
    ///
    /// # Errors
    ///
    /// What the datastore says.
    pub async fn check_references(&self, cids: &[Cid]) -> Result<Vec<Checked>> {
        let values = self.references.values(cids.iter().map(|cid| *cid.hash()).collect()).await;
        let mut all = Vec::with_capacity(cids.len());
        let mut entries = Vec::new();
        for (cid, value) in std::iter::zip(cids, values) {
            all.push(Checked {
                cid: *cid,
                record: None,
                state: State::KeyNotFound,
                error: Some(Error::NotFound(*cid)),
            });
            if let Some(value) = value? {
                let record = Some(Record::parse(&value));
                let key = key(cid.hash()).into();
                entries.push((all.len() - 1, Entry { key, value, cid: Some(*cid), record }));
            }
        }
        let (places, entries): (Vec<usize>, Vec<Entry>) = entries.into_iter().unzip();
        let mut places = places.into_iter();
        for group in grouped(entries) {
            let (_, checked) = self.references.look_at(group).await?;
            for (i, checked) in std::iter::zip(&mut places, checked) {
                all[i] = checked;
            }
        }
        Ok(all)
    }
}

/// The entries of a page, in groups.
fn groups(page: Vec<(Bytes, Bytes)>) -> Vec<Vec<Entry>> {
    let entry = |(key, value): (Bytes, Bytes)| {
        let cid = parse_key(&key).map(|hash| Cid::new_v1(codes::RAW, hash));
        let record = cid.map(|_| Record::parse(&value));
        Entry { key, value, cid, record }
    };
    grouped(page.into_iter().map(entry).collect())
}

/// Entries in groups whose blocks are not too large together, unless one is alone.
fn grouped(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let (mut groups, mut bytes) = (Vec::<Vec<Entry>>::new(), 0);
    for entry in entries {
        let size = entry.record.as_ref().and_then(|record| Some(record.as_ref().ok()?.size));
        bytes += size.unwrap_or(0);
        match groups.last_mut() {
            Some(group) if bytes <= GROUP_BYTES && group.len() < GROUP => group.push(entry),
            _ => {
                bytes = size.unwrap_or(0);
                groups.push(vec![entry]);
            }
        }
    }
    groups
}

impl References {
    /// Whether the root is there, if there is to be one.
    async fn check_root(&self) -> Result<()> {
        let Some(root) = self.options.root.clone() else { return Ok(()) };
        let found = self.runtime.blocking(move || paths::real(&root)).await?;
        found.map(drop).map_err(Broken::into_error)
    }

    /// What became of the entries of a group whose keys name blocks, in their order.
    async fn look_at(&self, group: Vec<Entry>) -> Result<(Vec<Entry>, Vec<Checked>)> {
        let mut checked = Vec::with_capacity(group.len());
        let (mut places, mut wanted) = (Vec::new(), Vec::new());
        for entry in &group {
            let (Some(cid), Some(parsed)) = (entry.cid, &entry.record) else { continue };
            let (record, error) = match parsed {
                Ok(record) => {
                    places.push(checked.len());
                    wanted.push(Wanted { cid, record: record.clone() });
                    (Some(record.clone()), None)
                }
                Err(error) => (None, Some(error.clone())),
            };
            let state = if error.is_some() { State::Other } else { State::Ok };
            checked.push(Checked { cid, record, state, error });
        }
        for (i, read) in std::iter::zip(places, self.read(wanted).await) {
            if let Err(broken) = read {
                checked[i].state = broken.state;
                checked[i].error = Some(broken.into_error());
            }
        }
        Ok((group, checked))
    }

    /// Removes what leads nowhere, unless it was changed meanwhile; gives how many.
    async fn remove(&self, group: &[Entry], checked: &[Checked], remove: Remove) -> Result<u64> {
        if remove == Remove::Nothing {
            return Ok(0);
        }
        let mut checked = checked.iter();
        let lost = group.iter().filter(|entry| match entry.cid.and_then(|_| checked.next()) {
            Some(checked) => match checked.state {
                State::NotFound | State::Changed => true,
                State::Other => checked.record.is_none(),
                _ => false,
            },
            None => true,
        });
        let lost: Vec<&Entry> = lost.collect();
        let of = |entries: &[&Entry]| {
            entries.iter().fold(Batch::new(), |batch, entry| {
                batch.expect(entry.key.clone(), Some(entry.value.clone())).delete(entry.key.clone())
            })
        };
        if lost.is_empty() || self.datastore.commit(of(&lost)).await? {
            return Ok(lost.len() as u64);
        }
        // One of them was changed: each for itself.
        let mut removed = 0;
        for entry in lost {
            removed += u64::from(self.datastore.commit(of(&[entry])).await?);
        }
        Ok(removed)
    }
}

impl Verified {
    fn and(self, group: &[Entry], checked: Vec<Checked>, removed: u64) -> Self {
        let in_order = checked.iter().filter(|one| one.state == State::Ok);
        let bytes: u64 = in_order.clone().flat_map(|one| &one.record).map(|one| one.size).sum();
        Self {
            references: self.references + checked.len() as u64,
            bytes: self.bytes + bytes,
            broken: self.broken + (checked.len() - in_order.count()) as u64,
            unknown: self.unknown + (group.len() - checked.len()) as u64,
            removed: self.removed + removed,
            checked,
        }
    }
}
