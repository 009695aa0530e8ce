//! A file that is far larger than memory may be, into a store on disk and out of it again.

use std::{
    fs, io,
    path::PathBuf,
    pin::Pin,
    process::Command,
    task::{Context, Poll},
};

use futures::{AsyncRead, TryStreamExt};
use ipfs_core::Node;

use crate::{content, seeds::is_soak};

/// Bytes of the file, and the most resident memory of a process that imports and reads it.
const SIZE: u64 = 16 << 30;
const MEMORY: u64 = 100 << 20;

const CHILD: &str = "IPFS_LARGE";

/// One piece again and again, each time with another number in front.
struct Content {
    piece: Vec<u8>,
    at: u64,
}

/// Bytes of a piece: no number of them is a chunk.
const PIECE: u64 = 999_983;

impl Content {
    fn new() -> Self {
        Self { piece: content::bytes(1, PIECE as usize), at: 0 }
    }

    /// What comes next, up to the end of a piece.
    fn run(&mut self, most: usize) -> &[u8] {
        let within = self.at % PIECE;
        if within < 8 {
            self.piece[..8].copy_from_slice(&(self.at / PIECE).to_le_bytes());
        }
        let len = (PIECE - within).min(SIZE - self.at).min(most as u64);
        self.at += len;
        &self.piece[within as usize..][..len as usize]
    }
}

impl AsyncRead for Content {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let run = self.run(buf.len());
        buf[..run.len()].copy_from_slice(run);
        Poll::Ready(Ok(run.len()))
    }
}

/// Only in a long run. Each way has a process of its own, whose memory is its alone.
#[test]
fn memory_is_flat() {
    if !is_soak() {
        return println!("skipped: only with IPFS_SOAK");
    }
    let folder = tempfile::tempdir().unwrap();
    for _ in ["in", "out"] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["large::child", "--exact", "--nocapture"]).env(CHILD, folder.path());
        assert!(child.status().unwrap().success());
    }
}

/// Imports the file, or reads it if that was done before.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let root = folder.join("root");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = Node::builder().data_dir(folder.join("data")).offline().spawn().await.unwrap();
        match fs::read_to_string(&root) {
            Ok(cid) => read(&node, &cid).await,
            Err(_) => {
                let added = node.unixfs().add_reader(Content::new()).await.unwrap();
                assert_eq!(added.report.bytes, SIZE);
                fs::write(&root, added.cid.to_string()).unwrap();
            }
        }
        node.close().await.unwrap();
    });
    let most = resident();
    println!("resident at most: {} MiB", most >> 20);
    assert!(most < MEMORY);
}

async fn read(node: &Node, cid: &str) {
    let mut runs = node.unixfs().open(cid).await.unwrap().range(..);
    let mut content = Content::new();
    while let Some(run) = runs.try_next().await.unwrap() {
        let mut run = &run[..];
        while !run.is_empty() {
            let expected = content.run(run.len());
            assert!(run.starts_with(expected));
            run = &run[expected.len()..];
        }
    }
    assert_eq!(content.at, SIZE);
}

/// The most resident memory that this process had, in bytes; nothing where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| 1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap())
}
