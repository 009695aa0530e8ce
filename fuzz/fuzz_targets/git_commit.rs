//! Feeds the decoders of commits; what must hold stands beside the crate's tests.

#![no_main]

#[path = "../../ipld-git/tests/hostile/object.rs"]
mod body;
#[path = "../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;

/// What it has to begin with, and chance would not find.
const START: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    body::content(ipld_git::Kind::Commit, input);
    body::content(ipld_git::Kind::Commit, &[START, input].concat());
});
