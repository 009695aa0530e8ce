//! The examples are in this folder's other files: `cargo run --release --example quickstart`.
