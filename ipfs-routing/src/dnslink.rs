//! DNSLink: names of the domain name system that lead to content paths.
//!
//! The text record of `_dnslink.example.com` says `dnslink=/ipfs/…` or `dnslink=/ipns/…`; the record
//! of the domain itself is not looked at, as Kubo no longer does. The format is that of the
//! [DNSLink specification].
//!
//! [DNSLink specification]: https://dnslink.dev

use std::time::Duration;

use ipfs_traits::{Error, Resolver, Result, limits::MAX_RECORDS};

use crate::names::target::{Target, is_cid};

/// What a name of the domain name system leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// A path in `/ipfs`, `/ipld` or `/ipns`.
    pub path: String,
    /// How long the answer holds; zero where nobody said.
    pub ttl: Duration,
}

/// The path in the text of a record, if it is a DNSLink that can be followed.
///
/// Beside `dnslink=` and a path, it may be a CID alone, with `dnslink=` before it or not, as was
/// written once. What leads into a namespace that is not known here is none of ours.
///
/// ```
/// let path = ipfs_routing::dnslink::parse("dnslink=/ipns/example.com/a");
/// assert_eq!(path.as_deref(), Some("/ipns/example.com/a"));
/// assert_eq!(ipfs_routing::dnslink::parse("v=spf1 -all"), None);
/// ```
pub fn parse(text: &str) -> Option<String> {
    let link = text.strip_prefix("dnslink=").unwrap_or(text);
    if is_cid(link) {
        return Some(format!("/ipfs/{link}"));
    }
    (link.len() < text.len() && Target::parse(link).is_ok()).then(|| link.into())
}

/// What the domain leads to; `None` when it has no DNSLink that can be followed.
///
/// It is one step: a link to another name is given as it is. At most [`MAX_RECORDS`] records are
/// looked at.
///
/// # Errors
///
/// [`Error::Invalid`] for what cannot be a domain, and for one with several links, of which nobody
/// knows which one is meant; what the resolver says.
pub async fn resolve(resolver: &dyn Resolver, domain: &str) -> Result<Option<Link>> {
    let domain = checked(domain)?;
    let records = resolver.txt(&format!("{LABEL}{domain}")).await?;
    let mut links = records.values.iter().take(MAX_RECORDS).filter_map(|text| parse(text));
    let Some(path) = links.next() else { return Ok(None) };
    match links.count() {
        0 => Ok(Some(Link { path, ttl: records.ttl })),
        more => Err(Error::invalid("DNSLink", format!("{domain:?} has {} of them", more + 1))),
    }
}

/// The label below which the records stand.
const LABEL: &str = "_dnslink.";

/// Bytes of a name, and of one of its labels.
const MAX_DOMAIN: usize = 253;
const MAX_LABEL: usize = 63;

/// The domain without the dot of the root, if it can be one with [`LABEL`] before it.
pub(crate) fn checked(domain: &str) -> Result<&str> {
    let name = domain.strip_suffix('.').unwrap_or(domain);
    let is_label = |label: &str| {
        let bad = |char: char| char.is_whitespace() || char.is_control() || char == '/';
        (1..=MAX_LABEL).contains(&label.len()) && !label.contains(bad)
    };
    match LABEL.len() + name.len() <= MAX_DOMAIN && name.split('.').all(is_label) {
        true => Ok(name),
        false => Err(Error::invalid("domain", "it cannot be one")),
    }
}
