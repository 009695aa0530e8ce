//! Resolvers that break one promise each.

use std::time::Duration;

use futures::executor::block_on;
use ipfs_traits::{
    Error, Records, Resolver, Result, async_trait, conformance, limits::MAX_RECORDS,
    memory::MemoryResolver,
};

use super::caught_by;

#[derive(Clone, Copy, Debug, PartialEq)]
enum ResolverFault {
    DotMatters,
    StringsApart,
    HoldsForever,
    AbsentIsError,
    EndlessRecords,
    AddressesFail,
}

#[derive(Debug)]
struct Wrong(ResolverFault, MemoryResolver);

#[async_trait]
impl Resolver for Wrong {
    async fn txt(&self, name: &str) -> Result<Records<String>> {
        use ResolverFault as F;
        let mut found = self.1.txt(name).await?;
        match self.0 {
            F::DotMatters if name.ends_with('.') => found.values.clear(),
            F::StringsApart => {
                let parts = found.values.iter().flat_map(|text| text.as_bytes().chunks(255));
                found.values = parts.map(|part| String::from_utf8_lossy(part).into()).collect();
            }
            F::HoldsForever => found.ttl = Duration::MAX,
            F::AbsentIsError if found.values.is_empty() => {
                return Err(Error::component("DNS", "NXDOMAIN"));
            }
            F::EndlessRecords if name.starts_with("many") => {
                found.values = vec!["again".into(); MAX_RECORDS + 1];
            }
            _ => {}
        }
        Ok(found)
    }

    async fn addresses(&self, name: &str) -> Result<Records<std::net::IpAddr>> {
        match self.0 {
            ResolverFault::AddressesFail => Err(Error::Closed("the resolver")),
            _ => self.1.addresses(name).await,
        }
    }
}

#[test]
fn wrong_resolvers_are_caught() {
    use ResolverFault as F;
    let given = "the texts of a name are given, each joined, and how long they hold";
    for (fault, rule) in [
        (F::DotMatters, given),
        (F::StringsApart, given),
        (F::HoldsForever, given),
        (F::AbsentIsError, "a name that does not exist has no records, and is no error"),
        (F::EndlessRecords, "at most `MAX_RECORDS` records are given"),
        (F::AddressesFail, "looking up addresses is answered or not supported"),
    ] {
        let run = conformance::resolver(|zone| async move {
            let memory = MemoryResolver::new();
            zone.into_iter().for_each(|(name, texts, ttl)| memory.set_txt(&name, texts, ttl));
            Ok(Wrong(fault, memory))
        });
        caught_by(fault, block_on(run), rule);
    }
}
