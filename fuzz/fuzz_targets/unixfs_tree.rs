//! Feeds what reads trees; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipfs-unixfs/tests/hostile/tree.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::tree(input));
