//! Names of the domain name system, by hickory: from servers, or over HTTPS.

mod https;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{
    ResolverBuilder, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use ipfs_traits::{
    Error, HttpClient, Records, Resolver, Result, Runtime, RuntimeExt, TokioRuntime,
    limits::MAX_RECORDS,
};

use self::https::Https;

/// Resolvers over HTTPS of names below `eth`, as they were on 2026-11-26: data that a host may give to
/// [`DnsResolver::with_https`], and that may be dead by then. None is used unasked.
pub const ETH_RESOLVERS: [&str; 2] =
    ["https://dns.eth.limo/dns-query", "https://dns.eth.link/dns-query"];

/// A [`Resolver`]: the system's servers, given ones, or one over HTTPS ([RFC 8484]), and others for
/// the names below some name.
///
/// Nothing is kept between two calls: each answer says how long it holds. By servers it runs on
/// tokio, and gives [`Error::Invalid`] elsewhere.
///
/// ```no_run
/// # async fn example() -> Result<(), ipfs_core::Error> {
/// # let client: std::sync::Arc<dyn ipfs_core::HttpClient> =
/// #     std::sync::Arc::new(ipfs_core::memory::MemoryHttp::new());
/// use std::sync::Arc;
/// use ipfs_core::{DnsResolver, Resolver, TokioRuntime, dns::ETH_RESOLVERS};
///
/// let runtime = Arc::new(TokioRuntime::current()?);
/// let resolver =
///     DnsResolver::system(runtime)?.with_https("eth", client, ETH_RESOLVERS[0])?;
/// let texts = resolver.txt("_dnslink.vitalik.eth").await?;
/// # Ok(())
/// # }
/// ```
///
/// [RFC 8484]: https://www.rfc-editor.org/rfc/rfc8484
#[derive(Clone)]
pub struct DnsResolver {
    runtime: Arc<dyn Runtime>,
    /// The root last, each other one before those that it is below.
    ways: Vec<(Name, Way)>,
    timeout: Duration,
}

#[derive(Clone)]
enum Way {
    Servers(Box<TokioResolver>),
    Https(Https),
}

/// The wait for all the questions of a call: a name that has no answer after several tries on each
/// server has none.
const TIMEOUT: Duration = Duration::from_secs(10);

impl DnsResolver {
    /// Asks the servers that the system is told of.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] when that cannot be read.
    pub fn system(runtime: Arc<dyn Runtime>) -> Result<Self> {
        let builder = TokioResolver::builder_tokio();
        let resolver = build(builder.map_err(|error| Error::component("DNS", error))?)?;
        Ok(Self::of(runtime, Way::Servers(resolver)))
    }

    /// Asks these servers, over UDP and, for long answers, TCP.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for none.
    pub fn servers(
        runtime: Arc<dyn Runtime>,
        servers: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self> {
        let servers: Vec<NameServerConfig> = servers.into_iter().map(server).collect();
        if servers.is_empty() {
            return Err(Error::invalid("servers of names", "there is none"));
        }
        let config = ResolverConfig::from_name_servers(servers);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        Ok(Self::of(runtime, Way::Servers(build(builder)?)))
    }

    /// Asks one server over HTTPS, at a URL such as `https://example.com/dns-query`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what is no URL.
    pub fn https(
        runtime: Arc<dyn Runtime>,
        client: Arc<dyn HttpClient>,
        url: &str,
    ) -> Result<Self> {
        Ok(Self::of(runtime, Way::Https(Https::new(client, url)?)))
    }

    fn of(runtime: Arc<dyn Runtime>, way: Way) -> Self {
        Self { runtime, ways: vec![(Name::root(), way)], timeout: TIMEOUT }
    }

    /// Asks a server over HTTPS for a name and all names below it (`eth`), in place of one that was
    /// given before; of two such names the longer one counts. What Kubo calls `DNS.Resolvers`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what is no name, or no URL.
    pub fn with_https(
        mut self,
        name: &str,
        client: Arc<dyn HttpClient>,
        url: &str,
    ) -> Result<Self> {
        let (name, way) = (parse(name)?, Way::Https(Https::new(client, url)?));
        self.ways.retain(|(other, _)| *other != name);
        self.ways.push((name, way));
        self.ways.sort_by_key(|(name, _)| std::cmp::Reverse(name.num_labels()));
        Ok(self)
    }

    /// Waits so long for all the questions of a call, instead of 10 seconds.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The records of a kind, each turned into a value, and how long they hold.
    async fn look_up<T: Send>(
        &self,
        name: &str,
        kinds: &[RecordType],
        value: impl Fn(&RData) -> Option<T> + Send + Sync,
    ) -> Result<Records<T>> {
        let name = parse(name)?;
        let way = self.ways.iter().find(|(below, _)| below.zone_of(&name));
        let (_, way) = way.ok_or_else(|| Error::unsupported(format!("looking up {name}")))?;
        let look = async {
            let mut found = Records::default();
            for kind in kinds {
                let records = way.ask(name.clone(), *kind).await?;
                let shortest = records.iter().map(|record| record.ttl).min().unwrap_or(0);
                let ttl = Duration::from_secs(shortest.into());
                let values: Vec<T> =
                    records.iter().filter_map(|record| value(&record.data)).collect();
                // Of a kind that has no records nothing is known.
                if !values.is_empty() {
                    found.ttl = if found.values.is_empty() { ttl } else { ttl.min(found.ttl) };
                    found.values.extend(values);
                }
            }
            found.values.truncate(MAX_RECORDS);
            Ok(found)
        };
        self.runtime.timeout(self.timeout, "looking up a name", look).await
    }
}

#[async_trait]
impl Resolver for DnsResolver {
    async fn txt(&self, name: &str) -> Result<Records<String>> {
        let text = |data: &RData| match data {
            RData::TXT(texts) => String::from_utf8(texts.txt_data.concat()).ok(),
            _ => None,
        };
        self.look_up(name, &[RecordType::TXT], text).await
    }

    async fn addresses(&self, name: &str) -> Result<Records<IpAddr>> {
        let address = |data: &RData| data.ip_addr();
        self.look_up(name, &[RecordType::A, RecordType::AAAA], address).await
    }
}

impl Way {
    /// The records of an answer, aliases among them; none for a name that has none.
    async fn ask(&self, name: Name, kind: RecordType) -> Result<Vec<Record>> {
        match self {
            Self::Https(https) => https.ask(name, kind).await,
            Self::Servers(resolver) => {
                TokioRuntime::current()?;
                match resolver.lookup(name, kind).await {
                    Ok(found) => Ok(found.answers().to_vec()),
                    Err(error) if error.is_no_records_found() => Ok(Vec::new()),
                    Err(hickory_resolver::net::NetError::Timeout) => {
                        Err(Error::TimedOut("looking up a name"))
                    }
                    Err(error) => Err(Error::component("DNS", error)),
                }
            }
        }
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<Box<TokioResolver>> {
    // Who asks keeps answers, and has to know how long they hold.
    builder.options_mut().cache_size = 0;
    builder.build().map(Box::new).map_err(|error| Error::component("DNS", error))
}

/// A name that is looked up as it is.
fn parse(name: &str) -> Result<Name> {
    let mut parsed = Name::from_utf8(name)
        .map_err(|error| Error::invalid("name", format!("{name:?}: {error}")))?;
    parsed.set_fqdn(true);
    match parsed.is_root() {
        true => Err(Error::invalid("name", "it is empty")),
        // Case does not matter, and so one question has one URL.
        false => Ok(parsed.to_lowercase()),
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.ways.iter().map(|(name, _)| name.to_string()).collect();
        f.debug_struct("DnsResolver").field("names", &names).finish_non_exhaustive()
    }
}
