//! What is odd about a commit or a tag: where its bytes differ from those that its fields give.

use ipld_core::ipld::Ipld;

use super::fields::{as_map, get, get_len, map};
use crate::{Error, Result, error::value, scan::work};

/// The lengths of what two sequences have in common at their beginning, and behind that at their
/// end.
pub(super) fn common<T>(a: &[T], b: &[T], same: impl Fn(&T, &T) -> bool) -> (usize, usize) {
    let start = a.iter().zip(b).take_while(|(a, b)| same(a, b)).count();
    let (a, b) = (a[start..].iter().rev(), b[start..].iter().rev());
    let end = a.zip(b).take_while(|(a, b)| same(a, b)).count();
    work::add(start + end);
    (start, end)
}

/// Says that in the `canonical` bytes, at `at`, `cut` bytes are in truth these `bytes`.
pub(super) fn between(canonical: &[u8], actual: &[u8]) -> Ipld {
    let (start, end) = common(canonical, actual, |a, b| a == b);
    map([
        ("at", Ipld::Integer(start as i128)),
        ("bytes", Ipld::Bytes(actual[start..actual.len() - end].into())),
        ("cut", Ipld::Integer((canonical.len() - end - start) as i128)),
    ])
}

/// The bytes that a splice makes of the canonical ones.
pub(super) fn apply(canonical: &[u8], odd: &Ipld) -> Result<Vec<u8>> {
    let odd = as_map(odd, "odd")?;
    let Ipld::Bytes(bytes) = get(odd, "bytes")? else {
        return Err(value("bytes", "it is no byte string"));
    };
    let (at, cut) = (get_len(odd, "at")?, get_len(odd, "cut")?);
    let (before, rest) = canonical.split_at_checked(at).ok_or(Error::Disagreement)?;
    let behind = rest.get(cut..).ok_or(Error::Disagreement)?;
    Ok([before, bytes, behind].concat())
}
