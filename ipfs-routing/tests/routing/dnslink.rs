//! DNSLink: texts, and the records of a domain.

use std::time::Duration;

use futures::executor::block_on;
use ipfs_routing::dnslink::{Link, parse, resolve};
use ipfs_traits::{
    Error, Records, Resolver, Result, async_trait, limits::MAX_RECORDS, memory::MemoryResolver,
};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn zone(texts: &[&str]) -> MemoryResolver {
    let zone = MemoryResolver::new();
    zone.set_txt("_dnslink.example.com", texts.iter().copied(), MINUTE);
    zone.set_txt("example.com", ["dnslink=/ipfs/bafkqaaa/apex"], MINUTE);
    zone
}

fn look_up(texts: &[&str], domain: &str) -> Result<Option<String>> {
    Ok(block_on(resolve(&zone(texts), domain))?.map(|link| link.path))
}

#[test]
fn a_link_is_found_among_other_records() {
    let texts =
        ["v=spf1", "dnslink=/hyper/x", "dnslink=/ipfs/nonsense", "dnslink=/ipfs/bafkqaaa/a"];
    let found = block_on(resolve(&zone(&texts), "example.com")).unwrap().unwrap();
    assert_eq!(found, Link { path: "/ipfs/bafkqaaa/a".into(), ttl: MINUTE });
    for domain in ["example.com.", "EXAMPLE.com"] {
        let found = look_up(&["dnslink=/ipns/other.example"], domain).unwrap();
        assert_eq!(found.as_deref(), Some("/ipns/other.example"));
    }
}

/// The record of the domain itself was followed once, which leaves it to chance what a domain with
/// both leads to.
#[test]
fn the_domain_itself_is_not_looked_at() {
    assert_eq!(look_up(&[], "example.com").unwrap(), None);
    assert_eq!(look_up(&[], "absent.example").unwrap(), None);
}

#[test]
fn several_links_are_an_error_and_none_is_followed() {
    let texts = ["dnslink=/ipfs/bafkqaaa", "dnslink=/ipns/example.org"];
    assert!(matches!(look_up(&texts, "example.com"), Err(Error::Invalid { .. })));
}

#[test]
fn what_cannot_be_a_domain_is_not_asked_for() {
    let long = format!("{}com", "abcdefgh.".repeat(28));
    let label = format!("{}.com", "x".repeat(64));
    for domain in ["", ".", "a..b", ".com", "a/b", "a b", "a\nb", "a\0", &long, &label] {
        let found = look_up(&[], domain);
        assert!(matches!(found, Err(Error::Invalid { .. })), "{domain:?}: {found:?}");
    }
    look_up(&[], "en.wikipedia-on-ipfs.org").unwrap();
    look_up(&[], "bücher.example").unwrap();
    look_up(&[], "localhost").unwrap();
}

/// A resolver that does not keep to its bound.
#[derive(Debug)]
struct Endless;

#[async_trait]
impl Resolver for Endless {
    async fn txt(&self, _: &str) -> Result<Records<String>> {
        let mut texts = vec!["other".to_owned(); MAX_RECORDS];
        texts.push("dnslink=/ipfs/bafkqaaa".into());
        Ok(Records::new(texts, MINUTE))
    }
}

#[test]
fn no_more_records_are_looked_at_than_a_resolver_may_give() {
    assert_eq!(block_on(resolve(&Endless, "example.com")).unwrap(), None);
}

#[test]
fn a_long_text_is_no_link() {
    let text = format!("dnslink=/ipfs/bafkqaaa/{}", "a".repeat(40_000));
    assert_eq!(parse(&text), None);
    assert_eq!(parse(&"Q".repeat(100_000)), None);
}

proptest! {
    #[test]
    fn any_text_is_a_link_or_none(text in ".{0,100}", known in any::<bool>()) {
        let text = if known { format!("dnslink=/ipns/{text}") } else { text };
        if let Some(path) = parse(&text) {
            prop_assert!(path.starts_with("/ip"));
        }
    }

    #[test]
    fn any_domain_is_looked_up_or_refused(domain in ".{0,300}") {
        let _ = look_up(&[], &domain);
    }
}
