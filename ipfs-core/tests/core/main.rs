//! The whole node: against other implementations' tables and programs, against crashes, and with
//! plugs of its own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod blocks;
mod bootstrap;
mod content;
mod crash;
mod dag;
mod data_dir;
#[cfg(feature = "dns")]
mod dns;
mod events;
#[path = "../../../ipfs-blockstore/tests/support/faulty.rs"]
mod faulty;
mod fetch;
mod fixtures;
mod gc;
mod git;
mod hostile;
#[cfg(feature = "reqwest")]
mod http;
mod import;
mod keys;
mod kubo;
mod large;
mod lease;
mod network;
mod node;
#[path = "../../traits/tests/support/numbers.rs"]
mod numbers;
mod peering;
mod pinning_service;
mod pins;
mod reading;
mod repo;
mod seeds;
#[path = "../../traits/tests/support/fixtures.rs"]
mod support;
mod three;
