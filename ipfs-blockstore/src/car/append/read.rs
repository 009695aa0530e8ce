//! Reading from an archive.

use ipfs_traits::{Block, Cid, Result};

use super::{Inner, Section};
use crate::car::file_error;

impl Inner {
    pub(super) fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        let found: Vec<Option<Section>> = {
            let index = self.found();
            cids.iter().map(|cid| index.get(cid.hash()).copied()).collect()
        };
        // In the order in which they lie.
        let mut order: Vec<usize> = (0..cids.len()).filter(|&i| found[i].is_some()).collect();
        order.sort_unstable_by_key(|&i| found[i].map(|section| section.at));
        let mut answers: Vec<_> = cids.iter().map(|cid| Ok(Block::inline(cid))).collect();
        let (mut places, mut read) = (Vec::new(), Vec::new());
        for i in order {
            let Some(section) = found[i] else { continue };
            match self.read(&section) {
                Ok(data) => {
                    places.push((i, section));
                    read.push((cids[i], data.into()));
                }
                Err(error) => answers[i] = Err(error),
            }
        }
        let verified = Block::verify_many(read, &self.options.hashes);
        for ((i, section), verified) in std::iter::zip(places, verified) {
            answers[i] = match verified {
                // It was deleted while it was read.
                Err(_) if self.found().get(cids[i].hash()) != Some(&section) => Ok(None),
                verified => verified.map(Some),
            };
        }
        answers
    }

    /// The bytes of a block; fewer if the file ends before.
    fn read(&self, section: &Section) -> Result<Vec<u8>> {
        let mut data = vec![0; section.len as usize];
        let at = section.at + u64::from(section.head);
        let read = self.file.read_at(&mut data, at).map_err(file_error("read", &self.path))?;
        data.truncate(read);
        Ok(data)
    }
}
