//! Bitswap on the wire, in simulation, and over a network.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod combine;
mod driver;
mod engine;
mod fixtures;
mod hangs;
mod hostile;
mod http;
#[path = "../../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
#[path = "../../../ipfs-core/traits/tests/support/numbers.rs"]
mod numbers;
mod place;
mod policy;
mod rules;
mod simulation;
#[path = "../../../ipfs-core/traits/tests/support/fixtures.rs"]
mod support;
mod swarm;
mod versions;
mod world;
