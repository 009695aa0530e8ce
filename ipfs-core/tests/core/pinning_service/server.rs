//! A service that pins, for tests: written to the text of the Pinning Service API, version 1.0.0
//! (`ipfs-pinning-service.yaml`), all of whose limits it holds its clients to. Kubo is a client of it
//! in the tests against real peers, where ours is one of a service that others wrote, of an older
//! version.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{Method, Request, Response, StatusCode, header};
use ipfs_core::{Bytes, Cid, Multiaddr, rfc3339};
use multiaddr::Protocol;
use serde_json::{Map, Value, json};

/// Clones are the same service.
#[derive(Clone, Debug)]
pub(crate) struct Service(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    token: String,
    delegates: Vec<String>,
    pins: Vec<Held>,
    /// Requests for pins so far, also those whose pins are gone.
    made: u64,
    hurries: bool,
}

#[derive(Clone, Debug)]
struct Held {
    id: String,
    status: &'static str,
    created: SystemTime,
    pin: Map<String, Value>,
    info: Map<String, Value>,
}

/// The status, the word for programs and the text for people.
type Refusal = (StatusCode, &'static str, String);
type Answer = Result<(StatusCode, Value), Refusal>;

impl Service {
    pub(crate) fn new(token: &str) -> Self {
        let delegates =
            vec![format!("/ip4/203.0.113.1/tcp/4001/p2p/{}", ipfs_core::memory::peer_id(1000))];
        let (token, pins) = (token.to_owned(), Vec::new());
        Self(Arc::new(Mutex::new(State { token, delegates, pins, made: 0, hurries: false })))
    }

    /// Each time that it is asked for one pin, that is one step further by the next time.
    pub(crate) fn hurry(&self) {
        self.0.lock().unwrap().hurries = true;
    }

    pub(crate) fn delegates(&self, delegates: Vec<String>) {
        self.0.lock().unwrap().delegates = delegates;
    }

    pub(crate) fn tell(&self, id: &str, status: &'static str, details: &str) {
        let mut state = self.0.lock().unwrap();
        let pin = state.pins.iter_mut().find(|pin| pin.id == id).unwrap();
        pin.status = status;
        pin.info.insert("status_details".into(), details.into());
    }

    /// What it was sent for a pin.
    pub(crate) fn told(&self, id: &str) -> Map<String, Value> {
        self.0.lock().unwrap().pins.iter().find(|pin| pin.id == id).unwrap().pin.clone()
    }

    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let answer = self.0.lock().unwrap().answer(request);
        let (status, body) = answer.unwrap_or_else(|(status, reason, details)| {
            (status, json!({ "error": { "reason": reason, "details": details } }))
        });
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = Response::builder().status(status).header("content-type", "application/json");
        answer.body(body).unwrap()
    }
}

fn bad(details: impl ToString) -> Refusal {
    (StatusCode::BAD_REQUEST, "BAD_REQUEST", details.to_string())
}

impl State {
    fn answer(&mut self, request: &Request<Bytes>) -> Answer {
        let sent = request.headers().get(header::AUTHORIZATION).map(|sent| sent.as_bytes());
        if sent != Some(format!("Bearer {}", self.token).as_bytes()) {
            let details = "Access token is missing or invalid".to_owned();
            return Err((StatusCode::UNAUTHORIZED, "UNAUTHORIZED", details));
        }
        let path = request.uri().path();
        let id = path.strip_prefix("/pins/").map(decode);
        let known = id.as_ref().and_then(|id| self.pins.iter().position(|pin| pin.id == *id));
        let (accepted, ok) = (StatusCode::ACCEPTED, StatusCode::OK);
        match (request.method(), id, known) {
            (&Method::GET, None, _) if path == "/pins" => self.list(request.uri().query()),
            (&Method::POST, None, _) if path == "/pins" => Ok((accepted, self.add(request)?)),
            (&Method::GET, Some(_), Some(at)) => {
                let said = self.show(&self.pins[at]);
                if self.hurries {
                    let pin = &mut self.pins[at];
                    pin.status = if pin.status == "queued" { "pinning" } else { "pinned" };
                }
                Ok((ok, said))
            }
            (&Method::POST, Some(_), Some(at)) => {
                let new = self.add(request)?;
                self.pins.remove(at);
                Ok((accepted, new))
            }
            (&Method::DELETE, Some(_), Some(at)) => {
                self.pins.remove(at);
                Ok((accepted, Value::Null))
            }
            _ => {
                let details = "The specified resource was not found".to_owned();
                Err((StatusCode::NOT_FOUND, "NOT_FOUND", details))
            }
        }
    }

    fn show(&self, held: &Held) -> Value {
        json!({
            "requestid": held.id,
            "status": held.status,
            "created": rfc3339::format(held.created).unwrap(),
            "pin": held.pin,
            "delegates": self.delegates,
            "info": held.info,
        })
    }

    fn add(&mut self, request: &Request<Bytes>) -> Result<Value, Refusal> {
        if request.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/json")
        {
            return Err(bad("the body is not said to be JSON"));
        }
        let pin: Map<String, Value> = serde_json::from_slice(request.body()).map_err(bad)?;
        check(&pin)?;
        self.made += 1;
        let id = format!("request/{}?", self.made);
        // Closer to one another than many a clock can tell.
        let since = Duration::new(1_600_000_000, 1001 * self.made as u32);
        let created = SystemTime::UNIX_EPOCH + since;
        let held = Held { id, status: "queued", created, pin, info: Map::new() };
        let shown = self.show(&held);
        self.pins.push(held);
        Ok(shown)
    }

    fn list(&self, query: Option<&str>) -> Answer {
        let query = Query::parse(query.unwrap_or_default())?;
        let found = self.pins.iter().rev().filter(|held| query.passes(held));
        let found: Vec<&Held> = found.collect();
        let results: Vec<Value> =
            found.iter().take(query.limit).map(|held| self.show(held)).collect();
        Ok((StatusCode::OK, json!({ "count": found.len(), "results": results })))
    }
}

/// Whether a pin is one.
fn check(pin: &Map<String, Value>) -> Result<(), Refusal> {
    let known = ["cid", "name", "origins", "meta"];
    if let Some(other) = pin.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(bad(format!("{other} is not of a pin")));
    }
    let cid = pin.get("cid").and_then(Value::as_str).ok_or_else(|| bad("there is no CID"))?;
    cid.parse::<Cid>().map_err(bad)?;
    if let Some(name) = pin.get("name") {
        name_of(name.as_str().ok_or_else(|| bad("the name is no text"))?)?;
    }
    if let Some(origins) = pin.get("origins") {
        let origins = origins.as_array().ok_or_else(|| bad("the origins are no list"))?;
        unique("origins", 20, origins)?;
        for origin in origins {
            let origin = origin.as_str().ok_or_else(|| bad("an origin is no text"))?;
            let origin: Multiaddr = origin.parse().map_err(bad)?;
            if !matches!(origin.iter().last(), Some(Protocol::P2p(_))) {
                return Err(bad("an origin does not end in a peer's name"));
            }
        }
    }
    pin.get("meta").map_or(Ok(()), |meta| meta_of(meta).map(drop))
}

fn name_of(name: &str) -> Result<String, Refusal> {
    match name.chars().count() {
        0..=255 => Ok(name.to_owned()),
        _ => Err(bad("the name is too long")),
    }
}

fn meta_of(meta: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let meta: BTreeMap<String, String> = serde_json::from_value(meta.clone()).map_err(bad)?;
    if meta.len() > 1000 {
        return Err(bad("there are too many metadata"));
    }
    Ok(meta)
}

fn unique<T: PartialEq>(what: &str, most: usize, list: &[T]) -> Result<(), Refusal> {
    let twice = list.iter().enumerate().any(|(at, item)| list[..at].contains(item));
    if twice || list.len() > most {
        return Err(bad(format!("there are too many {what}, or one twice")));
    }
    Ok(())
}

/// The filters of a list.
struct Query {
    cids: Vec<Cid>,
    name: Option<String>,
    matching: String,
    statuses: Vec<String>,
    before: Option<SystemTime>,
    after: Option<SystemTime>,
    limit: usize,
    meta: BTreeMap<String, String>,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut query = Self {
            cids: Vec::new(),
            name: None,
            matching: "exact".into(),
            statuses: vec!["pinned".into()],
            before: None,
            after: None,
            limit: 10,
            meta: BTreeMap::new(),
        };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| bad(pair))?;
            let value = decode(value);
            let time = || rfc3339::parse(&value).map(Some).map_err(bad);
            match name {
                "cid" => {
                    let cids = value.split(',').map(str::parse::<Cid>);
                    query.cids = cids.collect::<Result<_, _>>().map_err(bad)?;
                    unique("CIDs", 10, &query.cids)?;
                }
                "name" => query.name = Some(name_of(&value)?),
                "match" => query.matching = value,
                "status" => {
                    query.statuses = value.split(',').map(str::to_owned).collect();
                    let known = ["queued", "pinning", "pinned", "failed"];
                    if query.statuses.iter().any(|status| !known.contains(&status.as_str())) {
                        return Err(bad("a status is none"));
                    }
                    unique("statuses", 4, &query.statuses)?;
                }
                "before" => query.before = time()?,
                "after" => query.after = time()?,
                "limit" => query.limit = value.parse().map_err(bad)?,
                "meta" => query.meta = meta_of(&serde_json::from_str(&value).map_err(bad)?)?,
                other => return Err(bad(other)),
            }
        }
        match query.limit {
            1..=1000 => Ok(query),
            _ => Err(bad("the limit is beyond the limits")),
        }
    }

    fn passes(&self, held: &Held) -> bool {
        let cid = || held.pin["cid"].as_str().unwrap().parse::<Cid>().unwrap();
        (self.cids.is_empty() || self.cids.contains(&cid()))
            && self.name.as_ref().is_none_or(|name| self.matches(name, held.pin.get("name")))
            && self.statuses.iter().any(|status| status == held.status)
            && self.before.is_none_or(|before| held.created < before)
            && self.after.is_none_or(|after| held.created > after)
            && self
                .meta
                .iter()
                .all(|(key, value)| held.pin.get("meta").is_some_and(|meta| meta[key] == **value))
    }

    fn matches(&self, wanted: &str, name: Option<&Value>) -> bool {
        let name = name.and_then(Value::as_str).unwrap_or_default();
        let (small, small_wanted) = (name.to_lowercase(), wanted.to_lowercase());
        match self.matching.as_str() {
            "exact" => name == wanted,
            "iexact" => small == small_wanted,
            "partial" => name.contains(wanted),
            "ipartial" => small.contains(&small_wanted),
            other => panic!("{other} is no way to match"),
        }
    }
}

/// Undoes the encoding of a part of a URL. Forms, as Go writes them, have a plus for a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
        bytes.push(match byte {
            b'%' => digit() << 4 | digit(),
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}
