//! Each suite on plugs that break one promise each: it has to see every one of them.

mod codec;
mod datastore;
mod fetching;
mod http;
mod network;
mod routing;
mod runtime;
mod store;

use ipfs_traits::conformance::Violation;

/// Says which promise was broken, and fails if none was seen to be.
fn caught<F: std::fmt::Debug + Copy>(fault: F, verdict: Result<(), Violation>) {
    let violation = verdict.expect_err(&format!("{fault:?} went unseen"));
    println!("{fault:?}: {violation}");
}
