//! What a loss of power leaves.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Entry, Model, apply};
use crate::numbers::Numbers;

impl Model {
    /// Of what was not synced, anything is left.
    pub(super) fn lose(&mut self, numbers: &mut Numbers) {
        // Of the changes of each name, the first few have happened.
        let mut of_name: BTreeMap<PathBuf, Vec<Option<Entry>>> = BTreeMap::new();
        for (path, entry) in self.changes.drain(..) {
            of_name.entry(path).or_default().push(entry);
        }
        let mut names = std::mem::take(&mut self.durable_names);
        for (path, entries) in of_name {
            let kept = numbers.below(entries.len() as u64 + 1) as usize;
            for entry in &entries[..kept] {
                apply(&mut names, &path, *entry);
            }
        }
        // What lies in a directory that is lost is lost with it. Parents sort before children.
        let all = std::mem::take(&mut names);
        for (path, entry) in all {
            let parent = path.parent().is_some_and(|parent| names.contains_key(parent));
            if parent || self.names.keys().next() == Some(&path) {
                names.insert(path, entry);
            }
        }
        self.names = names.clone();
        self.durable_names = names;
        for content in &mut self.contents {
            if content.durable.as_ref() != Some(&content.bytes) {
                content.bytes = torn(&content.bytes, content.durable.as_deref(), numbers);
            }
            content.durable = Some(content.bytes.clone());
        }
    }
}

/// What is left of bytes that were not synced. What has not changed since it was synced stays.
fn torn(bytes: &[u8], durable: Option<&[u8]>, numbers: &mut Numbers) -> Vec<u8> {
    const PAGE: usize = 64;
    let durable = durable.unwrap_or_default();
    let same = std::iter::zip(bytes, durable).take_while(|(a, b)| a == b).count();
    let cut = same + numbers.below((bytes.len() - same) as u64 + 1) as usize;
    // The old bytes, or none, where nothing new has come.
    let old = |len: usize| {
        let mut old = durable[..durable.len().min(len)].to_vec();
        old.resize(len, 0);
        old
    };
    let up_to_cut = |mut left: Vec<u8>| {
        left[same..cut].copy_from_slice(&bytes[same..cut]);
        left
    };
    match numbers.below(6) {
        0 => durable.to_vec(),
        1 => up_to_cut(old(durable.len().max(cut))),
        2 => old(bytes.len()),
        3 => up_to_cut(old(bytes.len())),
        // Pages reach the disk in any order.
        4 => {
            let mut left = old(bytes.len());
            for (page, new) in std::iter::zip(left.chunks_mut(PAGE), bytes.chunks(PAGE)) {
                if numbers.below(2) == 0 {
                    page.copy_from_slice(new);
                }
            }
            left
        }
        _ => bytes.to_vec(),
    }
}
