//! Routers, records and names: by themselves, in simulation, and over a network.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

use ipfs_routing::Position;

mod combine;
mod delegated;
mod dht;
mod dnslink;
mod fixtures;
mod ipns;
#[path = "../../../ipfs-core/traits/tests/support/memory.rs"]
mod memory;
mod names;
#[path = "../../../ipfs-core/traits/tests/support/numbers.rs"]
mod numbers;
mod provide;
#[path = "../../../ipfs-core/tests/core/seeds.rs"]
mod seeds;
#[path = "../../../ipfs-core/traits/tests/support/fixtures.rs"]
mod support;
