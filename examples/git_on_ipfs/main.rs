//! A git repository on IPFS: one node imports it, a second one fetches the commit that is checked
//! out by its CID, reads a file by its path, and writes all of it to disk as a repository again, of
//! which git itself says that it is the same.
//!
//! `cargo run --release --example git_on_ipfs [REPOSITORY]`

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

mod git;

use std::{error::Error, path::PathBuf, time::Instant};

use futures::{StreamExt, channel::mpsc};
use ipfs_core::{Block, BlockSource, Cid, Ipld, Node, codes};
use ipld_git::{
    GitCodec, GitSha256, Object, ObjectId, Walk, cid_of, id_of,
    repository::{self, Limits, NewRepository, Report, Repository},
};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => git::this_or_another(folder.path())?,
    };
    let repository = Repository::open(&path)?;
    let (format, shallow) = (repository.format(), repository.shallow()?);
    let head = repository.head()?.ok_or("nothing was committed yet")?;
    let branch = repository.head_reference()?.unwrap_or_else(|| "refs/heads/main".into());
    let root = cid_of(&head);
    println!("{} is at commit {head}:\n  {root}\n", path.display());

    // Two nodes that know git: one line each, and one more for repositories with SHA-256.
    let local = || ["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let node = |name| {
        let builder = Node::builder().codec(GitCodec).codec_for(codes::SHA2_256, GitSha256);
        builder.data_dir(folder.path().join(name)).listen(local()).spawn()
    };
    let (a, b) = (node("a").await?, node("b").await?);

    let start = Instant::now();
    let report = import(&a, repository).await?;
    println!("A imports in {:.3} s: {report}", start.elapsed().as_secs_f64());
    if !report.not_exchangeable.is_empty() || !report.left_out.is_empty() {
        return Err("a second node could not fetch what is too large to be exchanged".into());
    }

    b.connect(a.addresses()).await?;
    let (file, content) = first_file(&b, &root).await?;
    println!("B reads /ipfs/{root}/{file}:\n  {} bytes", content.len());

    let start = Instant::now();
    let target = folder.path().join("fetched.git");
    let written = NewRepository::create(&target, format)?;
    let walk = Walk::new([head]).without_submodules().shallow(shallow.iter().copied());
    let (objects, submodules) = fetch(&b, walk, &written).await?;
    println!("B fetches {objects} objects in {:.3} s", start.elapsed().as_secs_f64());
    for commit in submodules {
        println!("  of a submodule, and not looked for: {commit}");
    }
    written.set_reference(&branch, &head)?;
    written.set_head(&branch)?;
    written.set_shallow(&reached(&written, &shallow))?;

    git::compare(&path, &target, &folder.path().join("checked out"))?;
    b.close().await?;
    a.close().await?;
    Ok(())
}

/// Hands all objects of a repository to a node. Reading them blocks, and so is done elsewhere.
async fn import(node: &Node, repository: Repository) -> Result<Report> {
    let (sender, mut objects) = tokio::sync::mpsc::channel(1000);
    let reading = tokio::task::spawn_blocking(move || {
        repository.export(&Limits::default(), |cid, object| {
            // When nobody takes them any more, the node has failed and says why.
            let _ = sender.blocking_send((cid, object));
            Ok::<(), repository::Error>(())
        })
    });
    let mut batch = Vec::new();
    while objects.recv_many(&mut batch, 1000).await > 0 {
        let blocks = batch.drain(..).map(|(cid, object)| Block::verify(cid, object, node.hashes()));
        let (small, large): (Vec<Block>, Vec<Block>) =
            blocks.collect::<ipfs_core::Result<Vec<_>>>()?.into_iter().partition(exchangeable);
        node.blocks().put_many(&small).await?;
        for block in large {
            node.blocks().put_large(block).await?;
        }
    }
    node.blocks().flush().await?;
    Ok(reading.await??)
}

fn exchangeable(block: &Block) -> bool {
    block.len() as u64 <= Limits::default().exchange
}

/// A file of a commit: the first of the first directories. All that its path passes is fetched.
async fn first_file(node: &Node, commit: &Cid) -> Result<(String, Vec<u8>)> {
    let mut path = String::from("tree");
    loop {
        match node.dag().get(format!("/ipfs/{commit}/{path}")).await? {
            Ipld::Map(entries) => {
                let submodule = Ipld::String("160000".into());
                let here = |entry: &Ipld| entry.get("mode").ok().flatten() != Some(&submodule);
                let mut names = entries.iter().filter(|(_, entry)| here(entry));
                let (name, _) = names.next().ok_or("an empty directory")?;
                path = format!("{path}/{name}/hash");
            }
            // A blob, and the header in front of it.
            Ipld::Bytes(object) => {
                let content = object.iter().position(|byte| *byte == 0).ok_or("no git object")?;
                return Ok((path, object[content + 1..].to_vec()));
            }
            other => return Err(format!("{path} is {other:?}").into()),
        }
    }
}

/// Fetches all objects of a walk, many at once, and writes them as they come. Gives their number,
/// and the submodules that were skipped.
async fn fetch(node: &Node, mut walk: Walk, to: &NewRepository) -> Result<(u64, Vec<ObjectId>)> {
    let first = walk.next_wanted().ok_or("a walk begins somewhere")?;
    let (wanted, cids) = mpsc::unbounded();
    wanted.unbounded_send(cid_of(&first))?;
    let mut blocks = node.source(&cid_of(&first)).get_many(cids.boxed());
    let (mut asked, mut come) = (1, 0);
    while asked > come {
        let (cid, block) = blocks.next().await.ok_or("the source ended early")?;
        let (id, block) = (id_of(&cid)?, block?);
        to.write(block.data())?;
        walk.add(&id, &Object::parse(id.format(), block.data())?);
        come += 1;
        while let Some(next) = walk.next_wanted() {
            wanted.unbounded_send(cid_of(&next))?;
            asked += 1;
        }
    }
    node.blocks().flush().await?;
    Ok((come, walk.submodules().copied().collect()))
}

/// Of the commits whose parents the source did not have, those that were written.
fn reached(written: &NewRepository, shallow: &[ObjectId]) -> Vec<ObjectId> {
    let objects = Repository::open(written.path());
    let has = |id: &&ObjectId| objects.as_ref().is_ok_and(|objects| objects.header(id).is_ok());
    shallow.iter().filter(has).copied().collect()
}
