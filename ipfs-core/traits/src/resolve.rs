//! Names of the domain name system, and what they hold.

use std::{fmt::Debug, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::Result;

/// The records of one name, and how long they may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records<T> {
    /// What stands there; empty for a name that has none.
    pub values: Vec<T>,
    /// How long the answer holds, the shortest of its records' times; zero where nobody said.
    pub ttl: Duration,
}

impl<T> Records<T> {
    /// Records that hold for so long.
    pub const fn new(values: Vec<T>, ttl: Duration) -> Self {
        Self { values, ttl }
    }
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self { values: Vec::new(), ttl: Duration::ZERO }
    }
}

/// Looks names up in the domain name system, for DNSLink and for addresses by name.
///
/// # Contract
///
/// A name is given without a root dot, or with one, in ASCII or as Unicode; it is looked up as it
/// is, never below a search domain. A name that does not exist, or has no record of the kind, is
/// no error: the records are then empty. Aliases (CNAME) are followed.
///
/// [`txt`](Self::txt) gives each record with its strings joined, as DNSLink wants them; one that is
/// not UTF-8 is left out. At most [`MAX_RECORDS`](crate::limits::MAX_RECORDS) records are given.
///
/// # Implementing
///
/// ```
/// use std::time::Duration;
/// use ipfs_traits::{async_trait, Records, Resolver, Result};
///
/// /// A world with one name.
/// #[derive(Debug)]
/// struct OneName;
///
/// #[async_trait]
/// impl Resolver for OneName {
///     async fn txt(&self, name: &str) -> Result<Records<String>> {
///         Ok(match name.trim_end_matches('.') {
///             "_dnslink.example.com" => {
///                 Records::new(vec!["dnslink=/ipfs/bafkqaaa".into()], Duration::from_secs(60))
///             }
///             _ => Records::default(),
///         })
///     }
/// }
/// ```
///
/// [`memory::MemoryResolver`](crate::memory::MemoryResolver) is one for tests, and
/// [`conformance::resolver`](crate::conformance::resolver) checks an implementation.
///
/// # Cancel safety
///
/// Dropping the future ends the lookup.
///
/// # Errors
///
/// [`Error::Invalid`](crate::Error::Invalid) for what cannot be a name;
/// [`Error::Unsupported`](crate::Error::Unsupported); [`Error::TimedOut`](crate::Error::TimedOut)
/// when no server answered; [`Error::Component`](crate::Error::Component) when one refused.
#[async_trait]
pub trait Resolver: Debug + Send + Sync + 'static {
    /// The texts of a name (TXT).
    async fn txt(&self, name: &str) -> Result<Records<String>>;

    /// The addresses of a name (A and AAAA).
    async fn addresses(&self, name: &str) -> Result<Records<IpAddr>> {
        let _ = name;
        Err(crate::Error::unsupported("resolving names to addresses"))
    }
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<T: Resolver + ?Sized> Resolver for $pointer<T> {
            async fn txt(&self, name: &str) -> Result<Records<String>> {
                (**self).txt(name).await
            }
            async fn addresses(&self, name: &str) -> Result<Records<IpAddr>> {
                (**self).addresses(name).await
            }
        }
    )*};
}
forward!(Arc, Box);
