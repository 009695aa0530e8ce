//! Feeds the decoders of trees; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipld-git/tests/hostile/object.rs"]
mod body;
#[path = "../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::content(ipld_git::Kind::Tree, input));
