//! Blocks between a node and other implementations: whole files and directories, many at once, the
//! older versions of the protocol, and what goes wrong in the middle.

mod both_ways;
mod broken;
#[cfg(feature = "reqwest")]
mod gateway;
mod helia;
mod many;
mod versions;

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use futures::TryStreamExt;
use ipfs_core::{Block, Cid, Fetched, Node};
use tokio::task::block_in_place;

use super::{Daemon, Kubo, named, program, text};
use crate::content;

/// A program that takes commands by line, and answers each with a line, the first of them with its
/// address.
pub(super) struct Peer {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    pub(super) address: String,
}

impl Peer {
    pub(super) fn start(program: &Path, arguments: &str) -> Self {
        let mut command = Command::new(program);
        command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let commands = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = block_in_place(|| answers.next()).unwrap().unwrap();
        Self { child, commands, answers, address }
    }

    /// Has it do something, and gives what it answers.
    pub(super) fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        let answer = block_in_place(|| self.answers.next()).unwrap().unwrap();
        assert!(!answer.starts_with("error"), "{command}: {answer}");
        answer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running Kubo with a file.
async fn kubo_with(program: &Path, file: &Path, options: &[&str]) -> (Arc<Kubo>, Daemon, Cid) {
    let kubo = Arc::new(Kubo::new(program));
    let cid = kubo.call(&[&["add", "-Q", text(file)], options].concat()).await;
    let daemon = kubo.start();
    (kubo, daemon, cid.parse().unwrap())
}

/// A file of so many bytes, in a folder.
fn file(folder: &Path, seed: u64, len: usize) -> std::path::PathBuf {
    let path = folder.join(format!("file-{seed}"));
    fs::write(&path, content::bytes(seed, len)).unwrap();
    path
}

/// Holds that what was fetched is here, and is this file or directory.
async fn is_here(node: &Node, fetched: &Fetched, expected: &Path) {
    let blocks = blocks(node, &fetched.root).await;
    assert_eq!(blocks.len() as u64, fetched.blocks);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    node.unixfs().write(fetched.root, &out).await.unwrap();
    assert!(content::read(&out) == content::read(expected), "{expected:?} differs");
}

/// All blocks below a root.
async fn blocks(node: &Node, root: &Cid) -> Vec<Block> {
    node.dag().walk(root).try_collect().await.unwrap()
}
