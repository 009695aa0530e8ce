//! A real Kubo, both ways. `IPFS_KUBO` names its program; without it the test says that it was
//! skipped, unless `IPFS_PEERS` says that it must not be.

mod reading;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use futures::{
    TryStreamExt,
    io::{AllowStdIo, Cursor},
};
use ipfs_core::{
    Block, BlockSource, Blockstore, BlockstoreExt, Cid, HashTable, Multihash, Node, TokioRuntime,
    blockstore::{AppendableCar, FlatStore, car::AppendOptions, flat::Sharding},
    codes,
    unixfs::Params,
};

use crate::{
    content,
    network::{QUIC, TCP},
};

/// The program, if it is here.
fn program() -> Option<PathBuf> {
    let found = std::env::var_os("IPFS_KUBO").map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("IPFS_PEERS").is_none(), "IPFS_KUBO does not say where Kubo is");
        println!("skipped: IPFS_KUBO does not say where Kubo is");
    }
    found
}

/// A repository of Kubo, alone with its peers.
struct Kubo {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// A running Kubo, until it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Kubo {
    fn new(program: &Path) -> Self {
        let kubo = Self { program: program.into(), folder: tempfile::tempdir().unwrap() };
        kubo.run(&["init", "--profile=test"]);
        kubo.run(&["config", "profile", "apply", "unixfs-v1-2025"]);
        kubo.run(&["config", "AutoConf.Enabled", "--bool", "false"]);
        kubo.run(&["bootstrap", "rm", "--all"]);
        kubo.run(&["config", "Routing.Type", "none"]);
        kubo.run(&["config", "Addresses.Swarm", "--json", &format!(r#"["{TCP}", "{QUIC}"]"#)]);
        for face in ["Addresses.API", "Addresses.Gateway"] {
            kubo.run(&["config", face, "/ip4/127.0.0.1/tcp/0"]);
        }
        kubo
    }

    fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("IPFS_PATH", self.repo()).env("IPFS_TELEMETRY", "off");
        command
    }

    /// Runs a command to its end, and gives what it says.
    fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ipfs {args:?}: {says}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// [`run`](Self::run), where it may block.
    async fn call(self: &Arc<Self>, args: &[&str]) -> String {
        let (kubo, args) = (self.clone(), args.iter().map(ToString::to_string).collect::<Vec<_>>());
        let run = move || kubo.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    fn start(&self) -> Daemon {
        let mut child = self.command(&["daemon"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().contains("Daemon is ready"));
        let daemon = Daemon(child);
        assert!(ready, "the daemon ended");
        // What else it says goes nowhere.
        std::thread::spawn(move || lines.for_each(drop));
        daemon
    }

    /// Where it listens with a transport.
    async fn address(self: &Arc<Self>, transport: &str) -> String {
        let name = self.call(&["id", "-f", "<addrs>"]).await;
        name.lines().find(|line| line.contains(transport)).unwrap().to_owned()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Each fetches the same kind of directory from the other, and agrees on its CID.
#[tokio::test(flavor = "multi_thread")]
async fn each_fetches_a_directory_from_the_other() {
    let Some(program) = program() else { return };
    let kubo = Arc::new(Kubo::new(&program));
    let folder = tempfile::tempdir().unwrap();
    let _daemon = kubo.start();
    for (seed, (transport, listen)) in [("/tcp/", TCP), ("/quic-v1", QUIC)].into_iter().enumerate()
    {
        let (ours, theirs) = (folder.path().join(format!("ours{seed}")), seed as u64 + 100);
        content::tree(&ours, seed as u64);
        let node = Node::builder().data_dir(folder.path().join(format!("node{seed}")));
        let node = node.listen([listen.parse().unwrap()]).spawn().await.unwrap();

        // Ours to Kubo, which dials.
        let added = node.unixfs().add_path(&ours).await.unwrap();
        let cid = added.cid.to_string();
        let says = kubo.call(&["add", "-r", "-Q", "--only-hash", text(&ours)]).await;
        assert_eq!(says, cid, "{transport}");
        kubo.call(&["swarm", "connect", &node.addresses()[0].to_string()]).await;
        let out = folder.path().join(format!("kubo{seed}"));
        kubo.call(&["get", &cid, "-o", text(&out)]).await;
        assert!(content::read(&out) == content::read(&ours), "{transport}: Kubo's tree differs");

        // Kubo's to another of ours, which dials.
        let kubos = folder.path().join(format!("theirs{seed}"));
        content::tree(&kubos, theirs);
        let cid = kubo.call(&["add", "-r", "-Q", text(&kubos)]).await;
        let other = Node::builder().listen([]).spawn().await.unwrap();
        other.connect(&kubo.address(transport).await).await.unwrap();
        let out = folder.path().join(format!("node-got{seed}"));
        other.unixfs().write(&cid, &out).await.unwrap();
        assert!(content::read(&out) == content::read(&kubos), "{transport}: our tree differs");
        assert_eq!(other.unixfs().add_path(&kubos).await.unwrap().cid.to_string(), cid);

        // The older profile too: what most of the network holds.
        let old = node.unixfs().params(Params::unixfs_v0_2015()).add_path(&ours).await.unwrap();
        let flags = ["--cid-version=0", "--raw-leaves=false", "--chunker=size-262144"];
        let links = ["--max-file-links=174", "--only-hash", text(&ours)];
        let says = kubo.call(&[&["add", "-r", "-Q"], &flags[..], &links[..]].concat()).await;
        assert_eq!(says, old.cid.to_string());
        node.close().await.unwrap();
        other.close().await.unwrap();
    }
}

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

/// CARs go both ways: what Kubo exports is imported here, what is exported here and what an
/// appendable archive holds is imported there, and both write the same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn cars_go_both_ways() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    content::tree(&ours, 21);
    content::tree(&theirs, 22);
    let file = |path: &Path| AllowStdIo::new(fs::File::create(path).unwrap());
    let node = Node::builder().offline().spawn().await.unwrap();

    // Kubo's, with a value of DAG-CBOR above.
    let files = kubo.run(&["add", "-r", "-Q", text(&theirs)]);
    let value = folder.path().join("value");
    fs::write(&value, format!(r#"{{"all":[{{"/":"{files}"}},{{"/":"{files}"}}],"n":1}}"#)).unwrap();
    let cid = kubo.run(&["dag", "put", text(&value)]);
    let exported = kubo.command(&["dag", "export", "--progress=false", &cid]).output().unwrap();
    assert!(exported.status.success());
    let input = Cursor::new(exported.stdout.clone());
    let imported = node.dag().import(input).await.unwrap();
    let root: Cid = cid.parse().unwrap();
    assert_eq!(imported.roots, [root]);
    let out = folder.path().join("theirs out");
    node.unixfs().write(&files, &out).await.unwrap();
    assert!(content::read(&out) == content::read(&theirs));
    let again = folder.path().join("again.car");
    node.dag().export(&[root], file(&again)).await.unwrap();
    assert!(fs::read(&again).unwrap() == exported.stdout, "the same archive, to the byte");

    // Ours, of version 1, and of version 2 with its index.
    let added = node.unixfs().add_path(&ours).await.unwrap();
    let (first, second) = (folder.path().join("1.car"), folder.path().join("2.car"));
    node.dag().export(&[added.cid], file(&first)).await.unwrap();
    let mut options = AppendOptions::default();
    options.roots = vec![added.cid];
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let archive = AppendableCar::open_with(&second, runtime, options).await.unwrap();
    let mut walk = node.dag().walk(&added.cid);
    while let Some(block) = walk.try_next().await.unwrap() {
        archive.put(block).await.unwrap();
    }
    let deleted = Block::of(codes::RAW, codes::SHA2_256, "away with it", node.hashes()).unwrap();
    archive.put(deleted.clone()).await.unwrap();
    archive.delete(deleted.cid()).await.unwrap();
    archive.close().await.unwrap();
    for archive in [first, second] {
        let kubo = Kubo::new(&program);
        let says = kubo.run(&["dag", "import", "--offline", text(&archive)]);
        assert!(says.contains("success"), "it pins the root, and so has all of it: {says}");
        let out = archive.with_extension("out");
        kubo.run(&["get", "--offline", &added.cid.to_string(), "-o", text(&out)]);
        assert!(content::read(&out) == content::read(&ours));
        kubo.run(&["repo", "verify"]);
    }
}
