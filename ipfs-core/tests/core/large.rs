//! A file that is far larger than memory may be, into a store on disk and out of it again.

use std::{
    io,
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

/// Only in a long run. It has a process of its own, whose memory is its alone.
#[test]
fn memory_is_flat() {
    if !is_soak() {
        return println!("skipped: only with IPFS_SOAK");
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["large::child", "--exact", "--nocapture"]).env(CHILD, "1");
    assert!(child.status().unwrap().success());
}

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let node = Node::builder().data_dir(folder.path()).offline().spawn().await.unwrap();
        let added = node.unixfs().add_reader(Content::new()).await.unwrap();
        assert_eq!(added.report.bytes, SIZE);
        let after_import = resident();
        let mut runs = node.unixfs().open(&added.cid).await.unwrap().range(..);
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
        let most = resident();
        println!(
            "resident at most: {} MiB importing, {} MiB in all",
            after_import >> 20,
            most >> 20
        );
        assert!(most < MEMORY);
        node.close().await.unwrap();
    });
}

/// The most resident memory that this process had, in bytes; nothing where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| 1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap())
}
