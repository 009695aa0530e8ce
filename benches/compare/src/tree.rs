//! Large directories and trees, in memory.
//!
//! `hamt COUNT`: a directory of so many names, and lookups in it, each from the root. `mfs COUNT`: a tree
//! of so many files in 100 directories, and one of them changed. Each line is what, and the seconds or
//! the number of it; then the root.

use std::{sync::Arc, time::Instant};

use ipfs_blockstore::wrap::MeteredStore;
use ipfs_core::{
    BlockSource, Local, TokioRuntime,
    unixfs::{
        DirectoryEditor, Exporter, Params, Target,
        mfs::{FileOptions, Mfs, Options, Parts},
    },
};
use ipfs_traits::{
    Block, Blockstore, BlockstoreExt, HashTable, Result, Runtime, codes,
    memory::{MemoryDatastore, MemoryStore},
};

/// A directory of `count` names that all lead to one empty file.
pub async fn hamt(count: usize) -> Result<()> {
    let store = Arc::new(MemoryStore::new());
    let source: Arc<dyn BlockSource> = Arc::new(Local(store.clone()));
    let (params, hashes) = (Params::default(), HashTable::standard());
    let target = file(&*store, &hashes).await?;
    let start = Instant::now();
    let mut directory = DirectoryEditor::new(source.clone(), &params, &hashes);
    directory.extend((0..count).map(|number| (format!("entry {number}"), target))).await?;
    let root = directory.write(&store).await?.cid;
    println!("build {:.6}", start.elapsed().as_secs_f64());
    drop(directory);
    let reader = Exporter::new(source, Arc::new(TokioRuntime::current()?));
    let start = Instant::now();
    for number in 0..count.min(10_000) {
        let name = format!("entry {}", (number * 7919) % count);
        // The entry itself, too: the others load it.
        store.get(&reader.resolve(&root, [name]).await?).await?;
    }
    println!("lookup {:.6}", start.elapsed().as_secs_f64());
    println!("root {root}");
    Ok(())
}

/// A tree of `count` files, of which one is changed, down to the flush.
pub async fn mfs(count: usize) -> Result<()> {
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current()?);
    let store = Arc::new(MeteredStore::new(MemoryStore::new(), runtime.clone()));
    let parts = Parts {
        source: Arc::new(Local(store.clone())),
        store: store.clone(),
        datastore: Arc::new(MemoryDatastore::default()),
        runtime,
    };
    let tree = Mfs::open(parts, Options::default()).await?;
    let file = file(&*store, &HashTable::standard()).await?.cid;
    let start = Instant::now();
    for directory in 0..100 {
        tree.mkdir(format!("/{directory}"), false).await?;
    }
    for number in 0..count {
        tree.put(format!("/{}/file {number}", number % 100), &file).await?;
    }
    tree.flush().await?;
    println!("build {:.6}", start.elapsed().as_secs_f64());
    let before = store.metrics().put.blocks;
    let start = Instant::now();
    tree.write("/42/file 1042", 0, "changed", FileOptions::write()).await?;
    let root = tree.flush().await?;
    println!("change {:.6}", start.elapsed().as_secs_f64());
    println!("blocks {}", store.metrics().put.blocks - before);
    println!("root {root}");
    Ok(())
}

/// An empty file.
async fn file(store: &dyn Blockstore, hashes: &HashTable) -> Result<Target> {
    let block = Block::of(codes::RAW, codes::SHA2_256, "", hashes)?;
    store.put_many(std::slice::from_ref(&block)).await?;
    Ok(Target { cid: *block.cid(), dag_size: 0 })
}
