//! What a service is told of a pin, and what it says of one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use ipfs_traits::{Cid, Error, Multiaddr, Result};
use serde_json::{Map, Value};

use crate::addresses;

/// The longest name of a pin, in characters, as the API has it.
pub const MAX_NAME: usize = 255;

/// The most origins of a pin, and the most delegates that are read of an answer, as the API has it.
pub const MAX_PROVIDERS: usize = 20;

/// The most entries of metadata, and of what a service says beside a status, as the API has it.
pub const MAX_META: usize = 1000;

/// The longest name of a request, in bytes: some UUID or hash is what the API suggests. Escaped it
/// still fits into a URL.
pub const MAX_REQUEST_ID: usize = 512;

/// The longest pin that is sent, in bytes of JSON: its names and addresses take a tenth of it, and
/// services take no more of metadata.
pub const MAX_PIN: usize = 64 << 10;

/// What a service is told of a pin beside its CID: nothing by default, as it needs no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinOptions {
    /// What it can be found by later: at most [`MAX_NAME`] characters. Several pins may have one name.
    pub name: Option<String>,
    /// Where the content can be had, for the first time: at most [`MAX_PROVIDERS`] addresses that end
    /// in `/p2p/<peer id>` and can be dialed by the service.
    pub origins: Vec<Multiaddr>,
    /// What the application or the service wants to know of the pin: at most [`MAX_META`] entries.
    pub meta: BTreeMap<String, String>,
}

/// A pin of a service, at the time of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinStatus {
    /// What the service calls the request for this pin. Asking for the same CID again makes another.
    pub request_id: String,
    /// How far it is.
    pub status: Status,
    /// When the service was asked for it. No two pins have the same time.
    pub created: SystemTime,
    /// The root of what is pinned.
    pub cid: Cid,
    /// What it was named.
    pub name: Option<String>,
    /// What was said of it when it was asked for.
    pub meta: BTreeMap<String, String>,
    /// Peers of the service that wait for the content, at most [`MAX_PROVIDERS`]: whoever has it should
    /// connect to them. Addresses that cannot be read are left out.
    pub delegates: Vec<Multiaddr>,
    /// What else the service says, such as `status_details`. What is no text is here as JSON.
    pub info: BTreeMap<String, String>,
}

/// How far a pin is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It waits for its turn.
    Queued,
    /// The service fetches it.
    Pinning,
    /// All of it is there.
    Pinned,
    /// The service has given up.
    Failed,
    /// A word that the API does not have.
    Other(Box<str>),
}

impl Status {
    /// As the API has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Queued => "queued",
            Self::Pinning => "pinning",
            Self::Pinned => "pinned",
            Self::Failed => "failed",
            Self::Other(word) => word,
        }
    }

    /// Whether it stays so: pinned or failed.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Pinned | Self::Failed)
    }
}

impl From<&str> for Status {
    fn from(word: &str) -> Self {
        let known = [Self::Queued, Self::Pinning, Self::Pinned, Self::Failed];
        let known = known.into_iter().find(|status| status.as_str() == word);
        known.unwrap_or_else(|| Self::Other(word.into()))
    }
}

/// The pin as the API has it, within its limits.
pub(super) fn encode(cid: &Cid, options: PinOptions) -> Result<String> {
    let PinOptions { name, origins, meta } = options;
    let mut pin = Map::new();
    pin.insert("cid".into(), cid.to_string().into());
    if let Some(name) = name {
        check_name(&name)?;
        pin.insert("name".into(), name.into());
    }
    if !origins.is_empty() {
        pin.insert("origins".into(), self::origins(origins)?);
    }
    if !meta.is_empty() {
        pin.insert("meta".into(), self::meta(&meta)?);
    }
    let pin = Value::Object(pin).to_string();
    at_most("bytes of a pin", MAX_PIN, pin.len())?;
    Ok(pin)
}

fn origins(origins: Vec<Multiaddr>) -> Result<Value> {
    let mut named = BTreeSet::new();
    for origin in origins {
        let text = origin.to_string();
        addresses::split(origin)?;
        named.insert(text);
    }
    at_most("origins of a pin", MAX_PROVIDERS, named.len())?;
    Ok(named.into_iter().collect())
}

pub(super) fn meta(meta: &BTreeMap<String, String>) -> Result<Value> {
    at_most("entries of a pin's metadata", MAX_META, meta.len())?;
    Ok(meta.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
}

pub(super) fn check_name(name: &str) -> Result<()> {
    at_most("characters of a pin's name", MAX_NAME, name.chars().count())
}

/// Whether a request can have this name: a segment of a path that leads there and nowhere else. By
/// `..` a service would have something else removed than its pin.
pub(super) fn check_request_id(id: &str) -> Result<()> {
    at_most("bytes of a request's name", MAX_REQUEST_ID, id.len())?;
    match id {
        "" | "." | ".." => Err(Error::invalid("name of a request", format!("it is {id:?}"))),
        _ => Ok(()),
    }
}

pub(super) fn at_most(what: &'static str, limit: usize, actual: usize) -> Result<()> {
    if actual > limit {
        return Err(Error::limit(what, limit, actual));
    }
    Ok(())
}
