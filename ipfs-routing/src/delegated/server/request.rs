//! What a request is for.

use http::{HeaderMap, StatusCode, header};

use super::answer::Refusal;
use crate::{
    delegated::{Format, JSON, Lookup, MAX_NAME, NDJSON, cid, peer_id},
    ipns::Name,
};

/// What a path is for. A wrong method is told before a wrong name.
pub(super) enum Route {
    Peers(Result<Lookup, Refusal>),
    Name(Result<Name, Refusal>),
}

impl Route {
    /// Names are taken as they stand: none of them needs an escape, so one that has any is wrong.
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        let bad = |what| Refusal::new(StatusCode::BAD_REQUEST, what);
        let peer = |name| peer_id(name).ok_or_else(|| bad("the name is no peer id"));
        let path = path.strip_prefix("/routing/v1/").unwrap_or_default();
        let parts: Vec<&str> = path.splitn(5, '/').collect();
        Ok(match *parts {
            ["providers", name] => {
                let cid = cid(name).ok_or_else(|| bad("the name is no CID"));
                Self::Peers(cid.map(|cid| Lookup::Providers(*cid.hash())))
            }
            ["peers", name] => Self::Peers(peer(name).map(Lookup::Peer)),
            ["ipns", name] => {
                let name = Some(name).filter(|name| name.len() <= MAX_NAME);
                let name = name.and_then(|name| name.parse().ok());
                Self::Name(name.ok_or_else(|| bad("the name is no IPNS name")))
            }
            ["dht", "closest", "peers", name] => {
                let key = cid(name).map(|cid| *cid.hash());
                let key = key.or_else(|| Some(*peer_id(name)?.as_ref()));
                let key = key.ok_or_else(|| bad("the name is neither a CID nor a peer id"));
                Self::Peers(key.map(Lookup::Closest))
            }
            _ => return Err(bad("the path is unknown")),
        })
    }
}

/// What is accepted: JSON, unless lines are asked for.
pub(super) fn format(headers: &HeaderMap) -> Result<Format, Refusal> {
    let accepted = accepted(headers);
    let has = |kinds: &[&str]| accepted.iter().any(|kind| kinds.contains(&&**kind));
    if has(&[NDJSON]) {
        return Ok(Format::NdJson);
    }
    if accepted.is_empty() || has(&[JSON, "application/*", "*/*"]) {
        return Ok(Format::Json);
    }
    let what = "retry with `Accept: application/json` or `Accept: application/x-ndjson`";
    Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, what))
}

/// The media types of `Accept`, without what they prefer.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let values = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    values.map(media_type).filter(|kind| !kind.is_empty()).collect()
}

/// A media type without its parameters.
pub(super) fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
