//! The whole node: against other implementations' tables and programs, against crashes, and with
//! plugs of its own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod fixtures;
mod network;
#[path = "../../traits/tests/support/fixtures.rs"]
mod support;
