//! Reads references whose records are the input; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipfs-blockstore/tests/hostile/reference.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod body;
#[path = "../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::reference(input));
