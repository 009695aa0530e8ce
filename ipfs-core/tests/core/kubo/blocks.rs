//! Each opens the blocks on disk that the other wrote.

use std::{fs, sync::Arc};

use futures::TryStreamExt;
use ipfs_core::{
    Block, BlockSource, Blockstore, BlockstoreExt, Cid, HashTable, Multihash, Node, TokioRuntime,
    blockstore::{FlatStore, flat::Sharding},
    codes,
};

use super::{Kubo, program, text};
use crate::content;

/// Kubo opens the blocks that we wrote, and we those that it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn each_opens_the_blocks_of_the_other() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    content::tree(&ours, 7);
    content::tree(&theirs, 8);
    let blocks = kubo.repo().join("blocks");
    let open = || async {
        let store = FlatStore::open(&blocks, Arc::new(TokioRuntime::current().unwrap())).await;
        Node::builder().store(store.unwrap()).offline().spawn().await.unwrap()
    };

    let cid = kubo.run(&["add", "-r", "-Q", text(&theirs)]);
    let node = open().await;
    let out = folder.path().join("theirs out");
    node.unixfs().write(&cid, &out).await.unwrap();
    assert!(content::read(&out) == content::read(&theirs));
    let added = node.unixfs().add_path(&ours).await.unwrap();
    node.close().await.unwrap();
    let out = folder.path().join("ours out");
    kubo.run(&["get", "--offline", &added.cid.to_string(), "-o", text(&out)]);
    assert!(content::read(&out) == content::read(&ours));
    kubo.run(&["repo", "verify"]);

    // A folder that only we ever wrote to.
    fs::remove_dir_all(&blocks).unwrap();
    let node = open().await;
    let added = node.unixfs().add_path(&ours).await.unwrap();
    node.close().await.unwrap();
    let out = folder.path().join("ours again");
    kubo.run(&["get", "--offline", &added.cid.to_string(), "-o", text(&out)]);
    assert!(content::read(&out) == content::read(&ours));
}

/// Kubo imports the segments of a store, and has all that is in them; a data directory whose blocks
/// are Kubo's is opened as it is.
#[tokio::test(flavor = "multi_thread")]
async fn kubo_reads_segments_and_a_node_its_blocks() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours");
    content::tree(&ours, 11);
    let data_dir = folder.path().join("node");
    let node = || Node::builder().data_dir(&data_dir).offline().spawn();
    let opened = node().await.unwrap();
    let added = opened.unixfs().add_path(&ours).await.unwrap();
    opened.close().await.unwrap();
    let segments = fs::read_dir(data_dir.join("blocks")).unwrap();
    let segments = segments.map(|entry| entry.unwrap().path());
    for segment in segments.filter(|path| path.extension() == Some("car".as_ref())) {
        kubo.run(&["dag", "import", "--pin-roots=false", "--offline", text(&segment)]);
    }
    let out = folder.path().join("out");
    kubo.run(&["get", "--offline", &added.cid.to_string(), "-o", text(&out)]);
    assert!(content::read(&out) == content::read(&ours));

    fs::remove_dir_all(data_dir.join("blocks")).unwrap();
    fs::rename(kubo.repo().join("blocks"), data_dir.join("blocks")).unwrap();
    let opened = node().await.unwrap();
    let again = folder.path().join("again");
    opened.unixfs().write(added.cid, &again).await.unwrap();
    assert!(content::read(&again) == content::read(&ours));
}

/// All blocks that a store lists.
async fn listed(store: &FlatStore) -> Vec<(Multihash, u64)> {
    let pages: Vec<_> = store.list().try_collect().await.unwrap();
    pages.concat()
}

/// A large folder of Kubo's is taken over, changed, and given back to Kubo, which finds it in order,
/// and serves from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_folder_goes_there_and_back() {
    const FILES: usize = 20_000;
    let Some(program) = program() else { return };
    let kubo = Arc::new(Kubo::new(&program));
    let folder = tempfile::tempdir().unwrap();
    let (theirs, blocks) = (folder.path().join("theirs"), kubo.repo().join("blocks"));
    let file = |i: usize| content::bytes(i as u64, 64 + i % 200);
    for i in 0..FILES {
        let directory = theirs.join((i % 100).to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(i.to_string()), file(i)).unwrap();
    }
    let root = kubo.run(&["add", "-r", "-Q", "--pin=false", text(&theirs)]);
    let local = kubo.run(&["refs", "local"]).lines().count();
    let figure = |kubo: &Kubo| {
        let stat = kubo.run(&["repo", "stat", "--size-only"]);
        let size = stat.lines().find_map(|line| line.strip_prefix("RepoSize:")).unwrap();
        size.trim().parse::<u64>().unwrap()
    };
    let before = figure(&kubo);

    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let store = FlatStore::open(&blocks, runtime).await.unwrap();
    assert_eq!(store.usage().await.unwrap(), None, "nothing was counted to open it");
    let all = listed(&store).await;
    assert_eq!(all.len(), local);
    assert!(all.len() > FILES);
    let usage = store.usage().await.unwrap().unwrap();
    assert_eq!(usage.blocks, Some(local as u64));
    assert_eq!(usage.bytes, all.iter().map(|(_, len)| len).sum::<u64>());
    // Kubo counts directories too.
    assert!(store.disk_usage().unwrap() > usage.bytes);
    let cids: Vec<Cid> = all.iter().map(|(hash, _)| Cid::new_v1(codes::RAW, *hash)).collect();
    let hashes = HashTable::standard();
    let step = all.len() / 2000;
    let some: Vec<Cid> = cids.iter().step_by(step).copied().collect();
    for found in store.get_many(&some).await {
        let found = found.unwrap().unwrap();
        hashes.verify(found.cid(), found.data()).unwrap();
    }
    // Some go, known by their content, and others come.
    let leaf = |i| Block::of(codes::RAW, codes::SHA2_256, file(i), &hashes).unwrap();
    let gone: Vec<Block> = (0..1000).map(leaf).collect();
    let come: Vec<Block> = (FILES..FILES + 1000).map(leaf).collect();
    let gone: Vec<Cid> = gone.iter().map(|block| *block.cid()).collect();
    assert!(store.sizes(&gone).await.unwrap().iter().all(Option::is_some));
    store.delete_many(&gone).await.unwrap();
    store.put_many(&come).await.unwrap();
    let ours = store.usage().await.unwrap().unwrap();
    store.close().await.unwrap();
    let figure_of_ours = store.disk_usage().unwrap();

    let back = kubo.run(&["refs", "local"]);
    assert_eq!(back.lines().count(), local);
    assert_eq!(ours.blocks, Some(local as u64));
    kubo.run(&["repo", "verify"]);
    // Kubo has believed the figure, which is what ours made of its own: it writes the same one again.
    let cache = fs::read_to_string(blocks.join("diskUsage.cache")).unwrap();
    assert!(cache.contains(&format!(":{figure_of_ours},")), "{figure_of_ours}: {cache}");
    let moved = ours.bytes.abs_diff(usage.bytes);
    let after = figure(&kubo);
    assert!(before.abs_diff(after) <= moved + (100 << 10), "{before} then {after}");
    let read = |block: &Block| kubo.run(&["block", "stat", &block.cid().to_string()]);
    assert!(come.iter().step_by(100).all(|block| read(block).contains("Size")));

    // A daemon serves it to a node of ours: what Kubo wrote, and what we did.
    let daemon = kubo.start();
    let node = Node::builder().listen([]).spawn().await.unwrap();
    node.connect(&kubo.address("/tcp/").await).await.unwrap();
    let name = format!("{root}/42/9942");
    let out = folder.path().join("out");
    node.unixfs().write(&name, &out).await.unwrap();
    assert_eq!(fs::read(&out).unwrap(), file(9942));
    let got = node.source(come[999].cid()).get(come[999].cid()).await.unwrap();
    assert_eq!(got, come[999]);
    node.close().await.unwrap();
    drop(daemon);

    // What it has not changed is known again; it was opened by Kubo, and so is not believed.
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let store = FlatStore::open(&blocks, runtime).await.unwrap();
    assert_eq!(store.usage().await.unwrap(), None);
    assert!(listed(&store).await.len() >= local);
}

/// Kubo opens folders of ours with each of the ways to spread blocks.
#[tokio::test(flavor = "multi_thread")]
async fn kubo_opens_every_sharding() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours");
    content::tree(&ours, 12);
    for sharding in [Sharding::Prefix(5), Sharding::Suffix(3), Sharding::NextToLast(1)] {
        let kubo = Kubo::new(&program);
        let blocks = kubo.repo().join("blocks");
        fs::remove_dir_all(&blocks).unwrap();
        for file in ["config", "datastore_spec"] {
            let path = kubo.repo().join(file);
            let told = fs::read_to_string(&path).unwrap();
            let default = Sharding::default().to_string();
            assert!(told.contains(&default), "{told}");
            fs::write(path, told.replace(&default, &sharding.to_string())).unwrap();
        }
        let open = async || {
            let mut options = ipfs_core::blockstore::flat::Options::default();
            options.sharding = Some(sharding);
            let runtime = Arc::new(TokioRuntime::current().unwrap());
            FlatStore::open_with(&blocks, runtime, options).await.unwrap()
        };
        let node = Node::builder().store(open().await).offline().spawn().await.unwrap();
        let added = node.unixfs().add_path(&ours).await.unwrap();
        node.close().await.unwrap();
        let out = folder.path().join(sharding.to_string().replace('/', " "));
        kubo.run(&["get", "--offline", &added.cid.to_string(), "-o", text(&out)]);
        assert!(content::read(&out) == content::read(&ours), "{sharding}");
        kubo.run(&["repo", "verify"]);
        // And what Kubo adds there is found by us.
        fs::write(folder.path().join("more"), "more of it").unwrap();
        let cid = kubo.run(&["add", "-Q", text(&folder.path().join("more"))]);
        let store = open().await;
        assert_eq!(listed(&store).await.len(), kubo.run(&["refs", "local"]).lines().count());
        assert!(store.has(&cid.parse().unwrap()).await.unwrap(), "{sharding}");
    }
}
