//! The entries of a tree while they come, in any order.

use std::collections::{BTreeMap, btree_map};

use ipfs_traits::{Error, Result};

use super::super::assemble::Place;
use crate::{Name, attributes::Attributes, child::Child};

/// All directories with their entries; the root is the first.
#[derive(Debug)]
pub(super) struct Forest {
    folders: Vec<Folder>,
    /// What the root is, if it is no directory.
    root: Option<Child>,
}

#[derive(Debug, Default)]
struct Folder {
    entries: BTreeMap<Name, Slot>,
    /// What is known of it, once it was told.
    told: Option<Attributes>,
}

#[derive(Debug)]
enum Slot {
    Made(Child),
    Folder(usize),
}

impl Forest {
    pub(super) fn new() -> Self {
        Self { folders: vec![Folder::default()], root: None }
    }

    /// Takes a directory that was told. On the way to others it may have come before.
    pub(super) fn directory(&mut self, path: Vec<Name>, found: Attributes) -> Result<()> {
        let at = self.folder(&path)?;
        match self.folders[at].told.replace(found) {
            None => Ok(()),
            Some(_) => Err(twice(&path)),
        }
    }

    /// Takes a file or a link.
    pub(super) fn entry(&mut self, mut path: Vec<Name>, child: Child) -> Result<()> {
        let Some(name) = path.pop() else {
            let is_first = self.folders.len() == 1 && self.folders[0].is_untouched();
            return match (self.root.replace(child), is_first) {
                (None, true) => Ok(()),
                _ => Err(twice(&path)),
            };
        };
        let at = self.folder(&path)?;
        match self.folders[at].entries.entry(name) {
            btree_map::Entry::Vacant(place) => {
                place.insert(Slot::Made(child));
                Ok(())
            }
            btree_map::Entry::Occupied(there) => {
                path.push(there.key().clone());
                Err(twice(&path))
            }
        }
    }

    /// The directory at a path, made with all on the way to it.
    fn folder(&mut self, path: &[Name]) -> Result<usize> {
        if self.root.is_some() {
            return Err(twice(&[]));
        }
        let mut at = 0;
        for (depth, name) in path.iter().enumerate() {
            let next = self.folders.len();
            let slot = self.folders[at].entries.entry(name.clone());
            match slot.or_insert(Slot::Folder(next)) {
                Slot::Folder(there) => at = *there,
                Slot::Made(_) => return Err(twice(&path[..=depth])),
            }
            if at == next {
                self.folders.push(Folder::default());
            }
        }
        Ok(at)
    }

    /// All of it depth first, in the order of names.
    pub(super) fn into_places(self) -> impl Iterator<Item = (Place, Option<Child>)> {
        Places { folders: self.folders, open: Vec::new(), root: self.root, started: false }
    }
}

impl Folder {
    fn is_untouched(&self) -> bool {
        self.entries.is_empty() && self.told.is_none()
    }
}

fn twice(path: &[Name]) -> Error {
    let path: Vec<String> = path.iter().map(|name| format!("{name:?}")).collect();
    Error::invalid("entry", format!("there are two things at [{}]", path.join(", ")))
}

struct Places {
    folders: Vec<Folder>,
    open: Vec<btree_map::IntoIter<Name, Slot>>,
    root: Option<Child>,
    started: bool,
}

impl Places {
    fn enter(&mut self, name: Name, folder: usize) -> (Place, Option<Child>) {
        let Folder { entries, told } = std::mem::take(&mut self.folders[folder]);
        self.open.push(entries.into_iter());
        (Place::Enter(name, told.unwrap_or_default()), None)
    }
}

impl Iterator for Places {
    type Item = (Place, Option<Child>);

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::replace(&mut self.started, true) {
            return Some(match self.root.take() {
                Some(root) => (Place::Entry(Name::default()), Some(root)),
                None => self.enter(Name::default(), 0),
            });
        }
        Some(match self.open.last_mut()?.next() {
            Some((name, Slot::Made(child))) => (Place::Entry(name), Some(child)),
            Some((name, Slot::Folder(folder))) => self.enter(name, folder),
            None => {
                self.open.pop();
                (Place::Leave, None)
            }
        })
    }
}
