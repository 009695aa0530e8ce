//! Reading what references point to.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use futures_util::{StreamExt, future, stream};
use ipfs_traits::{Block, Bytes, Cid, Error, HashTable, Origin, Reference, Result, RuntimeExt};

use super::{
    Record, References,
    error::{Broken, FileError},
    paths, record, url,
};

/// URLs that are asked at the same time for one call.
const URLS: usize = 8;

/// A block, and where it lies.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) cid: Cid,
    pub(super) record: Record,
}

/// What came of it.
pub(super) type Answer = Result<Block, Broken>;

impl References {
    /// Reads and verifies blocks; the answers in their order.
    pub(super) async fn read(&self, wanted: Vec<Wanted>) -> Vec<Answer> {
        let (urls, files): (Vec<_>, Vec<_>) =
            wanted.into_iter().enumerate().partition(|(_, wanted)| wanted.record.is_url());
        let (from_files, from_urls) =
            future::join(self.read_files(files), self.read_urls(urls)).await;
        let mut answers: Vec<(usize, Answer)> = from_files;
        answers.extend(from_urls);
        answers.sort_unstable_by_key(|(i, _)| *i);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    async fn read_files(&self, wanted: Vec<(usize, Wanted)>) -> Vec<(usize, Answer)> {
        let (places, wanted): (Vec<usize>, Vec<Wanted>) = wanted.into_iter().unzip();
        if wanted.is_empty() {
            return Vec::new();
        }
        let failed = |broken: Broken| places.iter().map(|&i| (i, Err(broken.clone()))).collect();
        let Some(root) = self.options.root.clone() else {
            return failed(Broken::record(Error::unsupported("reading references to files")));
        };
        let hashes = self.options.hashes.clone();
        match self.runtime.blocking(move || read_files(&root, wanted, &hashes)).await {
            Ok(answers) => std::iter::zip(places, answers).collect(),
            Err(error) => failed(Broken::record(error)),
        }
    }

    async fn read_urls(&self, wanted: Vec<(usize, Wanted)>) -> Vec<(usize, Answer)> {
        let reads =
            wanted.into_iter().map(|(i, wanted)| async move { (i, self.read_url(wanted).await) });
        // In a box: the compiler does not see otherwise that it can be sent.
        stream::iter(reads).buffer_unordered(URLS).boxed().collect().await
    }

    async fn read_url(&self, Wanted { cid, record }: Wanted) -> Answer {
        let Some(client) = &self.options.client else {
            return Err(Broken::record(Error::unsupported("reading references to URLs")));
        };
        let fetched = async { Ok(url::fetch(client, cid, &record).await) };
        let data = self.runtime.timeout(self.options.url_timeout, "the server of a URL", fetched);
        let data = data.await.map_err(Broken::server)??;
        let hashes = self.options.hashes.clone();
        let hashed = self.runtime.blocking(move || Block::verify(cid, data, &hashes)).await;
        hashed.map_err(Broken::record)?.map_err(Broken::hashed)
    }

    /// The records of new references, whose files lie where they may.
    pub(super) async fn records(&self, references: &[Reference]) -> Result<Vec<Record>> {
        let root = self.options.root.clone();
        let client = self.options.client.is_some();
        let places: Vec<(Origin, u64, u64)> = references
            .iter()
            .map(|one| (one.origin.clone(), one.offset, one.block.len() as u64))
            .collect();
        self.runtime.blocking(move || make_records(root.as_deref(), client, places)).await?
    }
}

fn make_records(
    root: Option<&Path>,
    client: bool,
    places: Vec<(Origin, u64, u64)>,
) -> Result<Vec<Record>> {
    // Blocks of a file come one after the other.
    let mut last: Option<(Arc<Path>, String)> = None;
    let record = |(origin, offset, size): (Origin, u64, u64)| match origin {
        Origin::Url(url) => {
            if !client {
                return Err(Error::unsupported("keeping references to URLs"));
            }
            record::check_url(&url)?;
            Record::new(url.as_ref().to_owned(), offset, size)
        }
        Origin::File(path) => {
            let Some(root) = root else {
                return Err(Error::unsupported("keeping references to files"));
            };
            let relative = match &last {
                Some((same, relative)) if *same == path => relative.clone(),
                _ => paths::relative(root, &path)?,
            };
            last = Some((path, relative.clone()));
            Record::new(relative, offset, size)
        }
    };
    places.into_iter().map(record).collect()
}

/// Reads and verifies blocks of files below `root`. Each file is opened once.
fn read_files(root: &Path, wanted: Vec<Wanted>, hashes: &HashTable) -> Vec<Answer> {
    let root = match paths::real(root) {
        Ok(root) => root,
        Err(broken) => return wanted.iter().map(|_| Err(broken.clone())).collect(),
    };
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_unstable_by_key(|&i| (&wanted[i].record.origin, wanted[i].record.offset));
    let mut answers: Vec<Option<Answer>> = wanted.iter().map(|_| None).collect();
    let (mut read, mut places) = (Vec::new(), Vec::new());
    for of_one_file in order.chunk_by(|&a, &b| wanted[a].record.origin == wanted[b].record.origin) {
        let origin = &wanted[of_one_file[0]].record.origin;
        let mut file = paths::open(&root, origin);
        for &i in of_one_file {
            let data = match &mut file {
                Ok(file) => read_range(file, &root, &wanted[i]),
                Err(broken) => Err(broken.clone()),
            };
            match data {
                Ok(data) => {
                    places.push(i);
                    read.push((wanted[i].cid, data));
                }
                Err(broken) => answers[i] = Some(Err(broken)),
            }
        }
    }
    // Side by side, which is several times faster.
    for (i, verified) in std::iter::zip(places, Block::verify_many(read, hashes)) {
        answers[i] = Some(verified.map_err(Broken::hashed));
    }
    answers.into_iter().map(|answer| answer.expect("each was read or is broken")).collect()
}

fn read_range(file: &mut File, root: &Path, wanted: &Wanted) -> Result<Bytes, Broken> {
    let Record { origin, offset, size } = &wanted.record;
    let failed = |error| FileError::io("read", &root.join(origin), error);
    // Before room is made for it: a record can say anything.
    if file.metadata().map_err(failed)?.len() < offset + size {
        return Err(Broken::changed(wanted.cid));
    }
    let mut data = Vec::with_capacity(*size as usize);
    file.seek(SeekFrom::Start(*offset)).map_err(failed)?;
    file.take(*size).read_to_end(&mut data).map_err(failed)?;
    match data.len() as u64 == *size {
        true => Ok(data.into()),
        false => Err(Broken::changed(wanted.cid)),
    }
}
