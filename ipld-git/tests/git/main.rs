//! Git objects of many repositories, real and made, against git, go-ipld-git and hostile input.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod fixtures;
mod hostile;
mod made;
#[path = "../../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
mod odd;
mod peers;
#[cfg(feature = "repository")]
mod repository;
#[path = "../../../ipfs-core/traits/tests/support/fixtures.rs"]
mod support;
mod value;
