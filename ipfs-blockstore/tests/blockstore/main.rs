//! The stores against the conformance suites, crashes, damage, and folders that others wrote.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod adopt;
mod car;
mod crash;
mod datastore;
#[path = "../support/faulty.rs"]
mod faulty;
mod fixtures;
mod flat;
mod hostile;
#[path = "../../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
#[path = "../../../ipfs-core/traits/tests/support/numbers.rs"]
mod numbers;
mod pack;
mod reference;
mod refused;
#[path = "../../../ipfs-core/traits/tests/support/fixtures.rs"]
mod support;
mod usage;
mod wrap;
