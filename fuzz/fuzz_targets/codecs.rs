//! Feeds the decoders; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipfs-core/tests/hostile/codecs.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::codecs(input));
