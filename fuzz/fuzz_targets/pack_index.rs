//! Opens a store whose index is the input, under checksums that are right; what must hold stands
//! beside the crate's tests.

#![no_main]

use std::sync::LazyLock;

#[path = "../../ipfs-blockstore/tests/hostile/pack.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod body;
#[path = "../../ipfs-blockstore/tests/support/faulty.rs"]
mod faulty;
#[path = "../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
#[path = "../../ipfs-core/traits/tests/support/numbers.rs"]
mod numbers;

static MADE: LazyLock<(faulty::Faulty, Vec<(String, Vec<u8>)>)> = LazyLock::new(body::made);

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::index(&MADE, input));
