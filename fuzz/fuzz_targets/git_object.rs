//! Feeds the decoder of whole objects, and that of loose ones; what must hold stands beside the
//! crate's tests.

#![no_main]

#[path = "../../ipld-git/tests/hostile/loose.rs"]
mod loose;
#[path = "../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
#[path = "../../ipld-git/tests/hostile/object.rs"]
mod object;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    object::object(input);
    loose::loose(input);
});
