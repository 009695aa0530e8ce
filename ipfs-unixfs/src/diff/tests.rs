use futures_util::{FutureExt, StreamExt, stream};
use ipfs_traits::{Block, BlockstoreExt, Bytes, HashTable, Local, codes, memory::MemoryStore};

use super::*;
use crate::{
    DirectoryEditor, Params, Sharding,
    dagpb::encode,
    data::{Kind, NewData},
    hamt::colliding_names,
};

fn block(codec: u64, bytes: impl Into<Bytes>) -> Block {
    Block::of(codec, codes::SHA2_256, bytes, &HashTable::standard()).unwrap()
}

fn put(store: &MemoryStore, bytes: Vec<u8>) -> Target {
    let block = block(codes::DAG_PB, bytes);
    store.put(block.clone()).now_or_never().unwrap().unwrap();
    Target::of(&block).unwrap()
}

fn all(mut agenda: Agenda) -> Vec<Result<Change>> {
    stream::poll_fn(|cx| agenda.poll(cx)).collect().now_or_never().unwrap()
}

/// Directories below each other, in each of which all entries differ.
#[test]
fn what_would_take_too_much_memory_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let directory = NewData::of(Kind::Directory).encode();
    let tree = |leaf: &'static str| {
        let leaf = Target::of(&block(codes::RAW, leaf)).unwrap();
        (0..20).fold(leaf, |below, _| {
            let names: Vec<String> = (0..1000).map(|number| format!("{number:03}")).collect();
            let links = names.iter().enumerate();
            let links = links.map(|(at, name)| match at {
                0 => below.link(name.as_bytes()),
                _ => leaf.link(name.as_bytes()),
            });
            put(&store, encode(links, Some(&directory)))
        })
    };
    let (before, after) = (tree("1"), tree("2"));
    let agenda = |most: usize| {
        let source = Arc::new(Local(store.clone()));
        Agenda { most, ..Agenda::new(source, before.cid, after.cid) }
    };
    let found = all(agenda(1 << 20));
    assert!(matches!(found[..], [Err(Error::Limit { limit: 0x10_0000, .. })]));
    let mut agenda = agenda(30 << 20);
    let found = stream::poll_fn(|cx| agenda.poll(cx)).collect::<Vec<_>>().now_or_never().unwrap();
    assert_eq!(found.len(), 20 * 999 + 1);
    assert!(found.iter().all(Result::is_ok));
    assert_eq!((agenda.held, agenda.begun.len(), agenda.open.len()), (0, 0, 0));
}

/// Names that no sharded directory can hold together, in one block beside one of them in many.
#[test]
fn names_whose_hashes_agree_are_told_apart() {
    let store = Arc::new(MemoryStore::new());
    let source = || Arc::new(Local(store.clone()));
    let (a, b) = colliding_names();
    let write = |names: &[&Name], sharding| {
        let params = Params { sharding, ..Params::default() };
        let mut editor = DirectoryEditor::new(source(), &params, &HashTable::standard());
        for name in names {
            let target = Target { cid: *block(codes::RAW, "").cid(), dag_size: 0 };
            editor.insert((*name).clone(), target).now_or_never().unwrap().unwrap();
        }
        editor.write(&store).now_or_never().unwrap().unwrap().cid
    };
    let both = write(&[&a, &b], Sharding::Never);
    for (one, other) in [(&a, &b), (&b, &a)] {
        let one = write(&[one], Sharding::ByLinks(0));
        let found = all(Agenda::new(source(), both, one));
        assert!(matches!(&found[..], [Ok(Change::Removed { path, .. })] if path[0] == *other));
        let found = all(Agenda::new(source(), one, both));
        assert!(matches!(&found[..], [Ok(Change::Added { path, .. })] if path[0] == *other));
    }
}
