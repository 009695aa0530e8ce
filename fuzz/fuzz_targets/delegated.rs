//! Feeds the decoder of answers of routers; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipfs-routing/tests/hostile/delegated.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::delegated(input));
