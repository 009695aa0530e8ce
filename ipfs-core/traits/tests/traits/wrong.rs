//! Each suite on plugs that break one promise each: it has to see every one of them.

mod codec;
mod datastore;
mod fetching;
mod http;
mod network;
mod resolver;
mod routing;
mod runtime;
mod store;
mod store_at_work;
mod store_reopened;

use ipfs_traits::conformance::Violation;

/// Says which promise was broken, and fails if none was seen to be.
fn caught<F: std::fmt::Debug + Copy>(fault: F, verdict: Result<(), Violation>) {
    let violation = verdict.expect_err(&format!("{fault:?} went unseen"));
    println!("{fault:?}: {violation}");
}

/// The same, and by the rule of that promise.
fn caught_by<F>(fault: F, verdict: Result<(), Violation>, rule: &str)
where
    F: std::fmt::Debug + Copy,
{
    if let Err(violation) = &verdict {
        assert_eq!(violation.rule, rule, "{fault:?}: {violation}");
    }
    caught(fault, verdict);
}
