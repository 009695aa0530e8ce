//! Feeds the decoder; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipfs-core/tests/hostile/keys.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::keys(input));
