//! Import and export against other implementations' results, and against hostile input.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod content;
mod diff;
mod directories;
mod disk;
mod edit;
mod export;
mod fixtures;
mod hostile;
mod import;
#[path = "../../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
mod mfs;
mod oracle;
mod patch;
mod reading;
mod sketch;
#[path = "../../../ipfs-core/traits/tests/support/fixtures.rs"]
mod support;
mod tar;
mod walking;
