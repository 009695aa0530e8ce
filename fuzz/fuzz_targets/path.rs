//! Feeds the decoder; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipfs-core/tests/hostile/path.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &str| body::path(input));
