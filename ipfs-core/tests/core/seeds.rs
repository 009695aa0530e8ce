//! How many cases a run has, and where they begin.

use std::{ops::Range, time::SystemTime};

/// Whether this is a long run.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("IPFS_SOAK").is_some()
}

/// The seeds of a run: `few`, or `many` in a long one. `IPFS_SEED` says where they begin, and so
/// repeats a run; without it they are fresh. The first one is printed.
pub(crate) fn seeds(few: u64, many: u64) -> Range<u64> {
    let given = std::env::var("IPFS_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let first = given.unwrap_or_else(|| now.subsec_nanos().into());
    println!("seeds from {first} on");
    first..first + if is_soak() { many } else { few }
}
