//! The conformance suites, on the plugs of this crate and on wrong ones, and the fixtures.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod conformance;
mod fixtures;
mod hostile;
#[path = "../support/memory.rs"]
mod memory;
#[path = "../support/fixtures.rs"]
mod support;
mod wrong;
