//! What a [`Resolver`] promises.

use std::{future::Future, time::Duration};

use super::{Promise, Verdict, check, same};
use crate::{Error, Resolver, Result, limits::MAX_RECORDS};

/// A name, its texts, and how long they hold.
pub type Texts = (String, Vec<String>, Duration);

/// Checks a [`Resolver`] of texts. `make` is given all names that there are in its world, lower-case
/// and without a root dot. What it does not support is passed over.
///
/// # Errors
///
/// The first promise that is not kept.
pub async fn resolver<R, F>(make: impl Fn(Vec<Texts>) -> F) -> Verdict
where
    R: Resolver,
    F: Future<Output = Result<R>>,
{
    let ttl = Duration::from_secs(77);
    let long = "x".repeat(1000);
    let many: Vec<String> = (0..MAX_RECORDS + 10).map(|i| i.to_string()).collect();
    let zone: Vec<Texts> = vec![
        ("_dnslink.example.com".into(), vec!["dnslink=/ipfs/bafkqaaa".into()], ttl),
        ("two.example.com".into(), vec!["one".into(), long.clone()], ttl),
        ("many.example.com".into(), many, ttl),
    ];
    let resolver = make(zone).await.promised("a resolver can be made")?;
    let rule = "the texts of a name are given, each joined, and how long they hold";
    for name in ["_dnslink.example.com", "_dnslink.example.com."] {
        let found = resolver.txt(name).await.promised(rule)?;
        same(found.values, vec!["dnslink=/ipfs/bafkqaaa".to_owned()], rule)?;
        // A cache between may have had it for a while.
        check(found.ttl <= ttl, rule, || format!("{:?}", found.ttl))?;
    }
    let mut found = resolver.txt("two.example.com").await.promised(rule)?.values;
    found.sort_by_key(String::len);
    same(found, vec!["one".to_owned(), long], rule)?;
    let rule = "a name that does not exist has no records, and is no error";
    same(resolver.txt("absent.example.com").await.promised(rule)?.values, Vec::new(), rule)?;
    let rule = "at most `MAX_RECORDS` records are given";
    let found = resolver.txt("many.example.com").await.promised(rule)?.values.len();
    check((1..=MAX_RECORDS).contains(&found), rule, || format!("{found} were"))?;
    let rule = "looking up addresses is answered or not supported";
    match resolver.addresses("absent.example.com").await {
        Ok(found) => same(found.values, Vec::new(), rule),
        Err(Error::Unsupported(_)) => Ok(()),
        Err(error) => Err(error).promised(rule),
    }
}
