//! Opens a store whose segment is the input; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipfs-blockstore/tests/hostile/pack.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod body;
#[path = "../../ipfs-blockstore/tests/support/faulty.rs"]
mod faulty;
#[path = "../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
#[path = "../../ipfs-core/traits/tests/support/numbers.rs"]
mod numbers;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::segment(input));
