//! The main job: a node imports a directory, a second one fetches it by its CID and writes it to
//! disk, and the two trees are equal.
//!
//! `cargo run --release --example quickstart [PATH]`

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::{
    error::Error,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use ipfs_core::{
    Node,
    unixfs::{Event, Params, Work},
};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let source = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => this_repository(folder.path())?,
    };
    let total = size(&source)?;
    println!("{} has {}.\n", source.display(), bytes(total));

    // Two nodes, each with a folder of its own.
    let local = || ["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let a = Node::builder().data_dir(folder.path().join("a")).listen(local()).spawn().await?;
    let b = Node::builder().data_dir(folder.path().join("b")).listen(local()).spawn().await?;

    // Hidden files too, so that the whole trees can be compared.
    let params = Params { hidden: true, ..Params::default() };
    let adding = a.unixfs().params(params).add_path(&source);
    let (added, took) = watch("A imports", total, adding).await?;
    let report = &added.report;
    println!("  CID    {}", added.cid);
    println!("  what   {} files, {} directories", report.files, report.directories);
    said(report.bytes, took);

    b.connect(a.addresses()).await?;
    let target = folder.path().join("fetched");
    let (written, took) = watch("B fetches", total, b.unixfs().write(added.cid, &target)).await?;
    b.blocks().flush().await?;
    println!("  from   {}", a.addresses()[0]);
    said(written.bytes, took);

    same(&source, &target)?;
    println!("\nBoth trees are equal, byte for byte.");
    b.close().await?;
    a.close().await?;
    Ok(())
}

/// Does some work, and shows how far it is.
async fn watch<T>(what: &str, total: u64, mut work: Work<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    while let Some(event) = work.try_next().await? {
        match event {
            Event::Progress(done) => {
                let tenths = done.bytes * 30 / total.max(1);
                let bar = "#".repeat(tenths.min(30) as usize);
                print!("\r{what} [{bar:<30}] {} files", done.files);
                io::stdout().flush()?;
            }
            Event::Done(result) => {
                println!("\r{what} [{}] done      ", "#".repeat(30));
                return Ok((result, start.elapsed()));
            }
        }
    }
    Err("the work ended without a result".into())
}

fn said(count: u64, took: Duration) {
    let seconds = took.as_secs_f64();
    let speed = count as f64 / 1e6 / seconds.max(1e-9);
    println!("  took   {} in {seconds:.3} s: {speed:.1} MB/s", bytes(count));
}

fn bytes(count: u64) -> String {
    format!("{:.1} MB", count as f64 / 1e6)
}

/// The documents and sources of this repository, without what was built of them.
fn this_repository(folder: &Path) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let copy = folder.join("repository");
    fs::create_dir(&copy)?;
    for entry in fs::read_dir(root)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if name != "target" && name != ".git" {
            copy_tree(&path, &copy.join(name))?;
        }
    }
    Ok(copy)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if !fs::symlink_metadata(from)?.is_dir() {
        fs::copy(from, to)?;
        return Ok(());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() != "target" {
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn size(path: &Path) -> Result<u64> {
    let about = fs::symlink_metadata(path)?;
    if !about.is_dir() {
        return Ok(about.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

/// Compares two trees, names and bytes.
fn same(a: &Path, b: &Path) -> Result<()> {
    let differ = || format!("{} and {} differ", a.display(), b.display());
    let (about, other) = (fs::symlink_metadata(a)?, fs::symlink_metadata(b)?);
    let equal = if about.is_symlink() {
        fs::read_link(a)? == fs::read_link(b)?
    } else if about.is_dir() {
        let names = names(a)?;
        if names != self::names(b)? {
            return Err(differ().into());
        }
        return names.iter().try_for_each(|name| same(&a.join(name), &b.join(name)));
    } else {
        about.len() == other.len() && fs::read(a)? == fs::read(b)?
    };
    if equal { Ok(()) } else { Err(differ().into()) }
}

fn names(path: &Path) -> Result<Vec<std::ffi::OsString>> {
    let names: io::Result<Vec<_>> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names = names?;
    names.sort();
    Ok(names)
}
