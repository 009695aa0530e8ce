//! Checks that anyone can run on a plug of their own: one function for each trait.
//!
//! Each takes a function that makes the plug, tries what the trait's contract promises, and gives
//! the first [`Violation`] that it finds. Call it from a test:
//!
//! ```
//! use ipfs_traits::{conformance, memory::MemoryStore};
//!
//! # futures::executor::block_on(async {
//! conformance::blockstore(|| async { Ok(MemoryStore::new()) }).await
//! # }).unwrap();
//! ```
//!
//! Nothing here measures time: a plug that never answers makes its check wait, and the test hang.

mod blockstore;
mod codec;
mod datastore;
mod exchange;
mod http;
mod network;
mod resolver;
mod routing;
mod runtime;
mod source;

use std::fmt;

use futures_util::StreamExt;

pub use self::{
    blockstore::{blockstore, blockstore_reopen},
    codec::codec,
    datastore::{datastore, datastore_reopen},
    exchange::exchange,
    http::http_client,
    network::{network, network_resets},
    resolver::{Texts, resolver},
    routing::routing,
    runtime::runtime,
    source::source,
};
use crate::{Block, Error, HashTable, Result, codes};

/// A promise of a contract that a plug does not keep.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Violation {
    /// The promise, in one line.
    pub rule: &'static str,
    /// What was seen instead.
    pub detail: String,
}

/// What a check says.
pub type Verdict = std::result::Result<(), Violation>;

/// Fails with a [`Violation`] unless a promise was kept.
fn check(kept: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if kept { Ok(()) } else { Err(Violation { rule, detail: detail() }) }
}

/// Fails with a [`Violation`] unless two values are equal.
fn same<T: PartialEq + fmt::Debug>(found: T, expected: T, rule: &'static str) -> Verdict {
    check(found == expected, rule, || {
        format!("expected {}, found {}", shown(&expected), shown(&found))
    })
}

/// The debug text of a value, cut where it would fill a screen.
fn shown(value: &impl fmt::Debug) -> String {
    const LONG: usize = 200;
    let text = format!("{value:?}");
    match text.char_indices().nth(LONG) {
        Some((at, _)) => format!("{}… ({} bytes of text)", &text[..at], text.len()),
        None => text,
    }
}

/// Turns an error where none is allowed into a [`Violation`].
trait Promise<T> {
    fn promised(self, rule: &'static str) -> std::result::Result<T, Violation>;
}

impl<T> Promise<T> for Result<T> {
    fn promised(self, rule: &'static str) -> std::result::Result<T, Violation> {
        self.map_err(|error| Violation { rule, detail: with_causes(&error) })
    }
}

impl<T> Promise<T> for std::io::Result<T> {
    fn promised(self, rule: &'static str) -> std::result::Result<T, Violation> {
        self.map_err(|error| Violation { rule, detail: with_causes(&error) })
    }
}

impl<T> Promise<T> for Option<T> {
    fn promised(self, rule: &'static str) -> std::result::Result<T, Violation> {
        self.ok_or_else(|| Violation { rule, detail: "the stream ended".into() })
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A small generator (SplitMix64): the suites bring their own, so that a plug author needs no crate
/// for it.
#[derive(Clone, Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// A raw block of `len` bytes that no other call gives.
    fn block(&mut self, len: usize) -> Block {
        let data = self.bytes(len);
        Block::of(codes::RAW, codes::SHA2_256, data, &HashTable::standard())
            .expect("a small block of a standard hash")
    }

    fn blocks(&mut self, count: usize) -> Vec<Block> {
        (0..count).map(|i| self.block(8 + i)).collect()
    }
}

/// All items of a stream of results, or its first error.
async fn all<T>(
    stream: futures_core::stream::BoxStream<'static, Result<T>>,
) -> Result<Vec<T>, Error> {
    let items: Vec<Result<T>> = stream.collect().await;
    items.into_iter().collect()
}
