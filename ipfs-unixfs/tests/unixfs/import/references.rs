//! Imports that leave bytes where they are.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use futures::stream;
use ipfs_traits::{
    BlockstoreExt, Error, Origin, Reference, ReferenceSink, Result, async_trait, codes,
};
use ipfs_unixfs::{Attribute, Chunker, NewContent, NewEntry, Params};

use crate::content::{Desk, chacha20};

#[derive(Debug, Default)]
struct Noted(Mutex<Vec<Reference>>);

#[async_trait]
impl ReferenceSink for Noted {
    async fn put_references(&self, references: &[Reference]) -> Result<()> {
        self.0.lock().unwrap().extend_from_slice(references);
        Ok(())
    }
}

fn small() -> Params {
    Params { chunker: Chunker::fixed(1000).unwrap(), max_links: 3, ..Params::default() }
}

#[test]
fn leaves_are_referred_to_where_they_lie() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let large = chacha20("references", (5 << 20) + 7);
    fs::create_dir(folder.path().join("d")).unwrap();
    fs::write(folder.path().join("d/large"), &large).unwrap();
    fs::write(folder.path().join("small"), &large[..2500]).unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let plain = desk.run(desk.importer(small()).only_hash().path(folder.path())).unwrap();
    assert!(plain.only_hash && !plain.references);

    let noted = Arc::new(Noted::default());
    let importer = desk.importer(small()).references(noted.clone());
    let imported = desk.run(importer.path(folder.path())).unwrap();
    assert_eq!((imported.cid, imported.blocks), (plain.cid, plain.blocks));
    assert!(imported.references);
    let references = noted.0.lock().unwrap();
    assert_eq!(references.len(), 5243 + 3);
    for Reference { block, origin, offset } in &*references {
        let Origin::File(path) = origin else { panic!("{origin:?}") };
        assert!(path.is_absolute());
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes[*offset as usize..][..block.len()], **block.data());
        assert_eq!(block.cid().codec(), codes::RAW);
        assert!(!desk.run(desk.store.has(block.cid())).unwrap());
    }
    assert!(desk.run(desk.store.has(&imported.cid)).unwrap(), "nodes are stored");
    assert_eq!(desk.store_len() as u64, imported.blocks - references.len() as u64);
}

#[test]
fn streams_are_referred_to_by_their_urls() {
    let desk = Desk::new();
    let noted = Arc::new(Noted::default());
    let importer = desk.importer(small()).references(noted.clone());
    let content = chacha20("url", 2300);
    let url = "https://example.com/file";
    let imported = desk.run(importer.url(url, futures::io::Cursor::new(content.clone()))).unwrap();
    assert_eq!(imported.cid, desk.run(desk.importer(small()).bytes(content)).unwrap().cid);
    let found: Vec<_> =
        noted.0.lock().unwrap().iter().map(|r| (r.offset, r.origin.clone())).collect();
    let origin = Origin::Url(url.into());
    assert_eq!(found, [(0, origin.clone()), (1000, origin.clone()), (2000, origin)]);
}

#[test]
fn what_lies_nowhere_cannot_be_referred_to() {
    let desk = Desk::new();
    let noted = Arc::new(Noted::default());
    let with = |params| desk.importer(params).references(noted.clone());
    let is_invalid = |result: Result<_>| matches!(result, Err(Error::Invalid { .. }));
    assert!(is_invalid(desk.run(with(small()).bytes("x")).map(drop)));
    assert!(is_invalid(desk.run(with(small()).reader(futures::io::Cursor::new("x"))).map(drop)));
    let entries = |entry| stream::iter([Ok(entry)]);
    for entry in [
        NewEntry::file(["x"], "x"),
        NewEntry::file(["x"], vec![0; 5 << 20]),
        NewEntry::reader(["x"], futures::io::Cursor::new("x")),
        NewEntry::reader(["x"], futures::io::Cursor::new(vec![0; 5 << 20])),
    ] {
        assert!(is_invalid(desk.run(with(small()).entries(entries(entry))).map(drop)));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, "x").unwrap();
    for params in [
        Params { raw_leaves: false, ..small() },
        Params { mode: Attribute::Kept, ..small() },
        Params { mtime: Attribute::Kept, ..small() },
    ] {
        assert!(is_invalid(desk.run(with(params).path(&path)).map(drop)));
    }
    assert!(noted.0.lock().unwrap().is_empty());
    let entry = NewEntry::new(["x"], NewContent::Disk(path.clone()));
    let imported = desk.run(with(small()).entries(entries(entry))).unwrap();
    assert_eq!(imported.files, 1);
    assert_eq!(noted.0.lock().unwrap()[0].origin, Origin::File(path.into()));
    // A leaf that is in its CID needs no place.
    let inline = Params { inline: Some(10), ..small() };
    let before = noted.0.lock().unwrap().len();
    desk.run(with(inline).path(folder.path())).unwrap();
    assert_eq!(noted.0.lock().unwrap().len(), before);
}
