//! The routing of a node: its DHTs, beside what the application gives.

use std::sync::Arc;

use ipfs_routing::{
    Validators,
    combine::{Combined, Static},
    dht::{self, Dht, Scope},
    provide::Announcements,
};
use ipfs_traits::{NoRouting, Parts, PeerInfo, Result, Routing};

/// Which DHTs a node takes part in, and how.
///
/// Given to [`Builder::dht`](crate::Builder::dht); without it a node is in none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DhtOptions {
    /// That of the local network. In it a node answers others by default.
    pub lan: Option<dht::Options>,
    /// That of the wide network, which other implementations call `amino`. In it a node answers
    /// others by default once it knows that all can reach it.
    pub wan: Option<dht::Options>,
}

impl Default for DhtOptions {
    /// Both of them, as Kubo.
    fn default() -> Self {
        Self { lan: Some(dht::Options::new(Scope::Lan)), wan: Some(dht::Options::new(Scope::Wan)) }
    }
}

impl DhtOptions {
    /// Both of them, and nobody is answered: for devices that come and go.
    pub fn client() -> Self {
        let client = |scope| {
            let mut options = dht::Options::new(scope);
            options.mode = dht::Mode::Client;
            Some(options)
        };
        Self { lan: client(Scope::Lan), wan: client(Scope::Wan) }
    }

    /// One, and no other: that of a network of one's own, for example.
    pub fn only(options: dht::Options) -> Self {
        match options.scope {
            Scope::Wan => Self { lan: None, wan: Some(options) },
            _ => Self { lan: Some(options), wan: None },
        }
    }
}

/// The DHTs that a node is in: what they have counted, and whom they know.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Dhts {
    /// That of the local network.
    pub lan: Option<Dht>,
    /// That of the wide network.
    pub wan: Option<Dht>,
}

impl Dhts {
    async fn spawn(options: DhtOptions, parts: &Parts) -> Result<Self> {
        let announced = Arc::new(Announcements::new(parts.datastore()?.clone()));
        let mut dhts = Self::default();
        for (options, dht) in [(options.lan, &mut dhts.lan), (options.wan, &mut dhts.wan)] {
            if let Some(mut options) = options {
                options.announced.get_or_insert_with(|| announced.clone());
                *dht = Some(Dht::spawn(parts, options).await?);
            }
        }
        Ok(dhts)
    }
}

/// The routing of a node, and the DHTs in it. The peers that it stays connected to are known.
pub(crate) async fn build(
    parts: &Parts,
    options: Option<DhtOptions>,
    given: Option<Arc<dyn Routing>>,
    known: Vec<PeerInfo>,
) -> Result<(Arc<dyn Routing>, Dhts)> {
    let dhts = match options {
        Some(options) => Dhts::spawn(options, parts).await?,
        None => Dhts::default(),
    };
    let shared = |dht: &Dht| Arc::new(dht.clone()) as Arc<dyn Routing>;
    let own = dhts.lan.iter().chain(&dhts.wan).map(shared);
    let mut routers: Vec<Arc<dyn Routing>> = own.chain(given).collect();
    if !known.is_empty() {
        routers.push(Arc::new(Static::new(known)));
    }
    let routing: Arc<dyn Routing> = match routers.len() {
        0 => Arc::new(NoRouting),
        1 => routers.remove(0),
        _ => {
            let runtime = parts.runtime().clone();
            Arc::new(Combined::parallel(runtime, routers).with_rules(Validators::standard()))
        }
    };
    Ok((routing, dhts))
}
