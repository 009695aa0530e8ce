//! The benches are in this folder's other files: `cargo bench -p ipfs-benches`.
