//! Feeds the messages of the DHT; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipfs-routing/tests/hostile/dht.rs"]
mod body;
#[path = "../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::dht(input));
