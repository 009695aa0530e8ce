//! Reads the input as a CAR file, its header, sections and index; what must hold stands beside the
//! crate's tests.

#![no_main]

#[path = "../../ipfs-blockstore/tests/hostile/car_file.rs"]
mod body;
#[path = "../../ipfs-blockstore/tests/support/faulty.rs"]
mod faulty;
#[path = "../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
#[path = "../../ipfs-core/traits/tests/support/numbers.rs"]
mod numbers;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::car_file(input));
