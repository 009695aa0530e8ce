//! Random work on a tree and on a model of it, with crashes between.

use std::collections::BTreeMap;

use futures::{TryStreamExt, future::BoxFuture};
use ipfs_traits::{Block, Bytes, HashTable, Result, codes, memory::MemoryStore};
use ipfs_unixfs::{
    Chunker, DirectoryEditor, Params, Sharding, Target,
    data::Mtime,
    mfs::{FileOptions, Mfs},
};
use proptest::prelude::*;

use super::Desk;

/// What the tree should be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Model {
    Dir { mode: Option<u32>, mtime: Option<Mtime>, entries: BTreeMap<String, Self> },
    File(Target),
}

impl Model {
    const fn dir() -> Self {
        Self::Dir { mode: None, mtime: None, entries: BTreeMap::new() }
    }

    fn at(&mut self, path: &str) -> Option<&mut Self> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(self, |at, name| match at {
            Self::Dir { entries, .. } => entries.get_mut(name),
            Self::File(_) => None,
        })
    }

    /// The entries of the directory that a path stands in, and its name there.
    fn above<'a>(&mut self, path: &'a str) -> Option<(&mut BTreeMap<String, Self>, &'a str)> {
        let (above, name) = path.rsplit_once('/')?;
        match self.at(above)? {
            Self::Dir { entries, .. } if !name.is_empty() => Some((entries, name)),
            _ => None,
        }
    }

    /// Where it leads if it is made anew, entry by entry.
    fn root<'a>(&'a self, desk: &'a Desk) -> BoxFuture<'a, Target> {
        Box::pin(async move {
            let Self::Dir { mode, mtime, entries } = self else {
                let Self::File(target) = self else { unreachable!() };
                return *target;
            };
            let (source, hashes) = (desk.source(), HashTable::standard());
            let mut editor = DirectoryEditor::new(source, &desk.params, &hashes);
            editor.set_stat(*mode, *mtime);
            for (name, below) in entries {
                let target = below.root(desk).await;
                editor.insert(name.as_str(), target).await.unwrap();
            }
            editor.write(&MemoryStore::new()).await.unwrap()
        })
    }
}

#[derive(Clone, Debug)]
enum Op {
    Mkdir(String, bool),
    Put(String, u8),
    Cp(String, String),
    Mv(String, String),
    Rm(String, bool),
    Chmod(String, Option<u32>),
    Touch(String, i64),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Stat(String),
    Flush,
    Crash,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "long name of an entry"]), 0..4)
        .prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (path(), any::<bool>()).prop_map(|(path, parents)| Op::Mkdir(path, parents)),
        4 => (path(), any::<u8>()).prop_map(|(path, content)| Op::Put(path, content)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Cp(from, to)),
        3 => (path(), path()).prop_map(|(from, to)| Op::Mv(from, to)),
        2 => (path(), any::<bool>()).prop_map(|(path, recursive)| Op::Rm(path, recursive)),
        1 => (path(), prop::option::of(1..0o777_u32)).prop_map(|(path, mode)| Op::Chmod(path, mode)),
        1 => (path(), 1..1000_i64).prop_map(|(path, seconds)| Op::Touch(path, seconds)),
        4 => (path(), 0..60_u64, prop::collection::vec(any::<u8>(), 1..60))
            .prop_map(|(path, at, data)| Op::Write(path, at, data)),
        1 => (path(), 0..80_u64).prop_map(|(path, size)| Op::Truncate(path, size)),
        1 => path().prop_map(Op::Stat),
        1 => Just(Op::Flush),
        1 => Just(Op::Crash),
    ]
}

/// Does to the model what an operation does to a tree, and says whether it may be done.
fn apply(model: &mut Model, desk: &Desk, op: &Op) -> bool {
    match op {
        Op::Mkdir(path, parents) => {
            if *parents {
                let mut at = &mut *model;
                let names = path.split('/').filter(|name| !name.is_empty());
                let backup = at.clone();
                for name in names {
                    let Model::Dir { entries, .. } = at else {
                        *model = backup;
                        return false;
                    };
                    at = entries.entry(name.into()).or_insert_with(Model::dir);
                }
                if matches!(at, Model::File(_)) {
                    *model = backup;
                    return false;
                }
                return true;
            }
            match model.above(path) {
                Some((entries, name)) if !entries.contains_key(name) => {
                    entries.insert(name.into(), Model::dir()).is_none()
                }
                _ => false,
            }
        }
        Op::Put(path, content) => {
            let target = Target { cid: desk.file(*content), dag_size: 20 };
            new_entry(model, path, Model::File(target))
        }
        Op::Cp(from, to) => match model.at(from).cloned() {
            Some(copied) => new_entry(model, to, copied),
            None => false,
        },
        Op::Mv(from, to) => mv(model, from, to),
        Op::Rm(path, recursive) => match model.above(path) {
            Some((entries, name)) => match entries.get(name) {
                Some(Model::Dir { .. }) if !recursive => false,
                _ => entries.remove(name).is_some(),
            },
            None => false,
        },
        Op::Chmod(path, new) => match model.at(path) {
            Some(Model::Dir { mode, .. }) => {
                *mode = *new;
                true
            }
            file => file.is_some(),
        },
        Op::Touch(path, seconds) => match model.at(path) {
            Some(Model::Dir { mtime, .. }) => {
                *mtime = Some(Mtime { seconds: *seconds, nanos: None });
                true
            }
            file => file.is_some(),
        },
        Op::Write(path, ..) => {
            let can_make = model.above(path).is_some();
            match model.at(path) {
                Some(Model::File(_)) => true,
                Some(Model::Dir { .. }) => false,
                None => can_make && new_entry(model, path, Model::File(nothing())),
            }
        }
        Op::Truncate(path, _) => matches!(model.at(path), Some(Model::File(_))),
        Op::Stat(path) => model.at(path).is_some(),
        Op::Flush | Op::Crash => true,
    }
}

/// A file whose content is told later.
fn nothing() -> Target {
    let block = Block::of(codes::RAW, codes::SHA2_256, "", &HashTable::standard()).unwrap();
    Target { cid: *block.cid(), dag_size: 0 }
}

fn new_entry(model: &mut Model, path: &str, new: Model) -> bool {
    match model.above(path) {
        Some((entries, name)) if !entries.contains_key(name) => {
            entries.insert(name.into(), new).is_none()
        }
        _ => false,
    }
}

fn mv(model: &mut Model, from: &str, to: &str) -> bool {
    let Some(moved) = model.at(from).cloned().filter(|_| !from.is_empty()) else {
        return false;
    };
    let name = from.rsplit('/').next().unwrap();
    let within = matches!(model.at(to), Some(Model::Dir { .. }));
    let to = if within { format!("{to}/{name}") } else { to.to_owned() };
    let is_dir = matches!(moved, Model::Dir { .. });
    if is_dir && to.starts_with(&format!("{from}/")) {
        return false;
    }
    match model.at(&to) {
        _ if to == from => return true,
        Some(Model::Dir { .. }) => return false,
        Some(_) if within => return false,
        _ => {}
    }
    let Some((entries, name)) = model.above(&to) else {
        return false;
    };
    entries.insert(name.into(), moved);
    if let Some((entries, name)) = model.above(from) {
        entries.remove(name);
    }
    true
}

async fn perform(mfs: &Mfs, op: &Op) -> Result<()> {
    match op {
        Op::Mkdir(path, parents) => mfs.mkdir(path, *parents).await,
        Op::Put(path, content) => {
            let block =
                Block::of(codes::RAW, codes::SHA2_256, vec![*content; 20], &HashTable::standard());
            mfs.put(path, block.unwrap().cid()).await
        }
        Op::Cp(from, to) => mfs.cp(from, to).await,
        Op::Mv(from, to) => mfs.mv(from, to).await,
        Op::Rm(path, recursive) => mfs.rm(path, *recursive).await,
        Op::Chmod(path, mode) => mfs.chmod(path, *mode).await,
        Op::Touch(path, seconds) => {
            mfs.touch(path, Some(Mtime { seconds: *seconds, nanos: None })).await
        }
        Op::Write(path, at, data) => mfs.write(path, *at, data, FileOptions::write()).await,
        Op::Truncate(path, size) => mfs.truncate(path, *size).await,
        Op::Stat(path) => mfs.stat(path).await.map(drop),
        Op::Flush | Op::Crash => Ok(()),
    }
}

/// What the file holds that an operation writes to, if it is there.
fn contents(desk: &Desk, mfs: &Mfs, op: &Op) -> Option<Vec<u8>> {
    let (Op::Write(path, ..) | Op::Truncate(path, _)) = op else {
        return None;
    };
    desk.run(async {
        let file = mfs.read(path).await.ok()?;
        let runs: Vec<Bytes> = file.range(..).try_collect().await.unwrap();
        Some(runs.concat())
    })
}

/// What a file holds after a write.
fn written(mut content: Vec<u8>, op: &Op) -> Vec<u8> {
    match op {
        Op::Write(_, at, data) => {
            let (at, end) = (*at as usize, *at as usize + data.len());
            content.resize(content.len().max(end), 0);
            content[at..end].copy_from_slice(data);
        }
        Op::Truncate(_, size) => content.resize(*size as usize, 0),
        _ => {}
    }
    content
}

/// A file that was changed has another CID.
fn follow(desk: &Desk, mfs: &Mfs, model: &mut Model, path: &str) {
    if let Some(Model::File(target)) = model.at(path) {
        let stat = desk.run(mfs.stat(path)).unwrap();
        *target = Target { cid: stat.cid, dag_size: stat.dag_size };
    }
}

proptest! {
    #[test]
    fn a_tree_is_its_model_and_a_crash_gives_the_last_flush_back(
        ops in prop::collection::vec(op(), 1..60),
        threshold in prop::option::of(0..400_usize),
    ) {
        let sharding = threshold.map_or(Sharding::Never, Sharding::ByLinks);
        let mut desk = Desk::new(Params {
            sharding,
            fanout: 8,
            chunker: Chunker::fixed(16).unwrap(),
            ..Params::default()
        });
        let mut mfs = desk.open();
        let (mut model, mut flushed) = (Model::dir(), Model::dir());
        for op in ops {
            let before = contents(&desk, &mfs, &op);
            let may = apply(&mut model, &desk, &op);
            let done = desk.run(perform(&mfs, &op));
            prop_assert_eq!(done.is_ok(), may, "{:?}: {:?}", op, done);
            match &op {
                Op::Chmod(path, _) | Op::Touch(path, _) if may => {
                    follow(&desk, &mfs, &mut model, path);
                }
                Op::Write(path, ..) | Op::Truncate(path, _) if may => {
                    follow(&desk, &mfs, &mut model, path);
                    let expected = written(before.unwrap_or_default(), &op);
                    prop_assert_eq!(contents(&desk, &mfs, &op), Some(expected));
                }
                Op::Flush => {
                    let root = desk.run(mfs.flush()).unwrap();
                    prop_assert_eq!(root, desk.run(model.root(&desk)).cid);
                    flushed = model.clone();
                }
                Op::Crash => {
                    mfs = desk.crash();
                    model = flushed.clone();
                    let root = desk.run(mfs.stat("/")).unwrap();
                    prop_assert_eq!(root.cid, desk.run(model.root(&desk)).cid);
                }
                _ => {}
            }
        }
        let root = desk.run(mfs.flush()).unwrap();
        prop_assert_eq!(root, desk.run(model.root(&desk)).cid);
    }
}
