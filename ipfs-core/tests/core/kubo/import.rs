//! Random trees and options: Kubo's `add` and ours agree on every CID, and each writes to disk what
//! the other has added.

use std::{
    collections::HashSet,
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt;
use ipfs_core::{
    Cid, Local, Node, TokioRuntime,
    blockstore::FlatStore,
    unixfs::{Entry, Exporter, Name, Symlinks},
};
use serde_json::{Map, Value};

use super::{Kubo, options::Case, program, text, trees};
use crate::seeds::seeds;

/// How often Kubo is asked again for a CID that is not ours.
const TRIES: usize = 32;

/// One case in so many is also read back, both ways.
const READ_BACK: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn random_trees_have_the_same_cid() {
    let Some(program) = program() else { return };
    let pair = Pair::new(&program);
    for seed in seeds(60, 2000) {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        let case = Case::new(seed, &[]);
        trees::grow(&input, seed, &case.params);
        let (ours, kubos) = pair.hash(&case, &input).await;
        if ours != kubos && !pair.is_kubos_too(ours, &case, &input) {
            panic!("{}", pair.explain(seed, &input).await);
        }
        if seed % READ_BACK == 0 {
            pair.read_back(&case, &input, folder.path()).await;
        }
    }
}

/// A Kubo and what its profiles are.
struct Pair {
    kubo: Kubo,
    profiles: Map<String, Value>,
}

impl Pair {
    fn new(program: &Path) -> Self {
        let kubo = Kubo::new(program);
        let profiles = ["unixfs-v1-2025", "unixfs-v0-2015"].map(|name| {
            kubo.run(&["config", "profile", "apply", name]);
            let says = kubo.run(&["config", "Import"]);
            (name.to_owned(), serde_json::from_str(&says).unwrap())
        });
        Self { kubo, profiles: profiles.into_iter().collect() }
    }

    /// The CIDs that ours and Kubo give to a tree.
    async fn hash(&self, case: &Case, input: &Path) -> (Cid, Cid) {
        let node = Node::builder().offline().spawn().await.unwrap();
        let ours = add(&node, case, input).await;
        node.close().await.unwrap();
        (ours, self.add(&self.kubo.copy(), case, input))
    }

    /// Whether Kubo gives this CID to a tree as well, of several. Where a directory is near the bound
    /// of one block, its `add` gives one CID or another to the same tree, by chance.
    fn is_kubos_too(&self, ours: Cid, case: &Case, input: &Path) -> bool {
        let tries = (0..TRIES).map(|_| self.add(&self.kubo.copy(), case, input));
        let kubos: HashSet<Cid> = tries.collect();
        println!("{case}: ours is {ours}, Kubo's is one of {kubos:?}");
        kubos.len() > 1 && kubos.contains(&ours)
    }

    /// Adds to a Kubo.
    fn add(&self, kubo: &Kubo, case: &Case, input: &Path) -> Cid {
        let mut told = self.profiles[case.profile].as_object().unwrap().clone();
        told.extend(case.config.iter().map(|(key, value)| (key.to_string(), value.clone())));
        kubo.tell_of_imports(&told);
        let arguments = case.arguments(input);
        kubo.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).parse().unwrap()
    }

    /// Each writes what the other has added, as it was.
    async fn read_back(&self, case: &Case, input: &Path, folder: &Path) {
        let [ours, theirs] = ["from ours", "from theirs"].map(|name| folder.join(name));
        let kubo = self.kubo.copy();
        let node = opened(&kubo).await;
        let cid = add(&node, case, input).await;
        node.close().await.unwrap();
        kubo.run(&["get", "--offline", &cid.to_string(), "-o", text(&ours)]);

        let kubo = self.kubo.copy();
        let cid = self.add(&kubo, case, input);
        let node = opened(&kubo).await;
        node.unixfs().write(cid, &theirs).await.unwrap();
        node.close().await.unwrap();
        let [ours, theirs] = [ours, theirs].map(|at| trees::read(&at, Symlinks::Kept));
        let written = ("what was written by Kubo, of ours", &ours);
        // What rules leave out is for the CID to say.
        let source = match case.params.ignore[..] {
            [] => trees::taken(input, &case.params),
            _ => ours.clone(),
        };
        for (who, tree) in [written, ("what was written by ours, of Kubo's", &theirs)] {
            if let Some(difference) = trees::difference(&source, tree) {
                panic!("{case}: the source and {who} differ: {difference}");
            }
        }
    }

    /// Says where the two differ, after leaving out all options but those that it takes.
    async fn explain(&self, seed: u64, input: &Path) -> String {
        let (mut without, mut grown) = (Vec::new(), Case::new(seed, &[]));
        for name in grown.drawn().to_vec() {
            let tried = [&without[..], &[name]].concat();
            let case = Case::new(seed, &tried);
            // The tree stays the same: it was made once.
            let (ours, kubos) = self.hash(&case, input).await;
            if ours != kubos {
                (without, grown) = (tried, case);
            }
        }
        let case = grown;
        let kubo = self.kubo.copy();
        let kubos = self.add(&kubo, &case, input);
        let theirs = opened(&kubo).await;
        let node = Node::builder().offline().spawn().await.unwrap();
        let ours = add(&node, &case, input).await;
        let mut says = format!("IPFS_SEED={seed}, {case}: Kubo has {kubos}, ours is {ours}");
        let difference = Difference { ours: reader(&node), theirs: reader(&theirs) };
        difference.find(ours, kubos, &mut says).await;
        says
    }
}

async fn add(node: &Node, case: &Case, input: &Path) -> Cid {
    node.unixfs().params(case.params.clone()).add_path(input).await.unwrap().cid
}

/// A node whose store is that of a Kubo.
async fn opened(kubo: &Kubo) -> Node {
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let store = FlatStore::open(kubo.repo().join("blocks"), runtime).await.unwrap();
    Node::builder().store(store).offline().spawn().await.unwrap()
}

fn reader(node: &Node) -> Exporter {
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    Exporter::new(Arc::new(Local(node.store().clone())), runtime)
}

/// Two trees, side by side.
struct Difference {
    ours: Exporter,
    theirs: Exporter,
}

impl Difference {
    /// Goes down from two roots along what differs, and says what it finds.
    async fn find(&self, mut ours: Cid, mut theirs: Cid, says: &mut String) {
        let (mut path, mut entry) = (PathBuf::new(), String::new());
        loop {
            let lists = (entries(&self.ours, ours).await, entries(&self.theirs, theirs).await);
            let (Ok(a), Ok(b)) = &lists else { break };
            let (only_ours, only_theirs) = (beyond(a, b), beyond(b, a));
            if !only_ours.is_empty() || !only_theirs.is_empty() {
                write!(says, "\nonly in ours {only_ours:?}, in Kubo's {only_theirs:?}").unwrap();
                break;
            }
            let Some((a, b)) = a.iter().zip(b).find(|(a, b)| a != b) else { break };
            path.push(a.name.to_string());
            (ours, theirs) = (a.cid, b.cid);
            entry = format!("ours {a:?}, Kubo's {b:?}");
        }
        let stats = (self.ours.stat(&ours).await, self.theirs.stat(&theirs).await);
        write!(says, "\nat {path:?}: {entry}; {:?} and {:?}", stats.0, stats.1).unwrap();
    }
}

/// The names that one has and the other has not.
fn beyond<'a>(one: &'a [Entry], other: &[Entry]) -> Vec<&'a Name> {
    let others: HashSet<&Name> = other.iter().map(|entry| &entry.name).collect();
    one.iter().map(|entry| &entry.name).filter(|name| !others.contains(name)).collect()
}

async fn entries(reader: &Exporter, cid: Cid) -> ipfs_core::Result<Vec<Entry>> {
    reader.list(&cid).await?.try_collect().await
}
