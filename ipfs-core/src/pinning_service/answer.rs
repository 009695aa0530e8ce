//! Reads what a service answers.

use std::{collections::BTreeMap, time::SystemTime};

use ipfs_traits::{Cid, Error, Multiaddr, Result, limits::MAX_CID, network::MAX_ADDRESS, rfc3339};
use serde_json::value::RawValue;

use super::{
    PinStatus,
    filter::MAX_PAGE,
    pin::{MAX_META, MAX_PROVIDERS, at_most, check_name, check_request_id},
};

/// Characters of a CID. In base 16 it has two for each byte; base 58 takes time that grows with the
/// square.
const MAX_CID_TEXT: usize = 2 * MAX_CID;

/// Characters of an address. It is shorter in binary, up to this factor.
const MAX_ADDRESS_TEXT: usize = 4 * MAX_ADDRESS;

const PIN: &str = "pin of a service";

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Some of the pins that were looked for.
pub(super) struct Page {
    /// How many there are in all.
    pub(super) count: u64,
    /// Each for itself: one that cannot be read keeps no other from being read.
    pub(super) pins: Vec<Result<PinStatus>>,
    /// When the oldest was asked for, and how the service spells it. Passed back just so it means the
    /// same there, however exact the service is; and not every system's clock holds nanoseconds.
    pub(super) oldest: Option<(SystemTime, String)>,
}

impl Page {
    pub(super) fn read(json: &str) -> Result<Self> {
        let malformed = |reason| Error::malformed("list of pins", reason);
        let fields = object(json).ok_or_else(|| malformed("it is no object"))?;
        let count = fields.get("count").and_then(|count| serde_json::from_str(count.get()).ok());
        let count = count.ok_or_else(|| malformed("it has no count"))?;
        let results: Option<Vec<&RawValue>> =
            fields.get("results").and_then(|list| serde_json::from_str(list.get()).ok());
        let results = results.ok_or_else(|| malformed("it has no results"))?;
        at_most("pins in a page", MAX_PAGE, results.len())?;
        let (mut pins, mut oldest) = (Vec::with_capacity(results.len()), None);
        for result in results {
            pins.push(read(result.get()).map(|(pin, created)| {
                let created = (pin.created, created);
                if oldest.as_ref().is_none_or(|oldest| created < *oldest) {
                    oldest = Some(created);
                }
                pin
            }));
        }
        Ok(Self { count, pins, oldest })
    }
}

impl PinStatus {
    pub(super) fn read(json: &str) -> Result<Self> {
        read(json).map(|(pin, _)| pin)
    }
}

/// A pin, and the time of its creation as it is spelled.
fn read(json: &str) -> Result<(PinStatus, String)> {
    let fields = object(json).ok_or_else(|| Error::malformed(PIN, "it is no object"))?;
    let pin = fields.get("pin").and_then(|pin| object(pin.get()));
    let pin = pin.ok_or_else(|| Error::malformed(PIN, "it has no pin"))?;
    let created = needed(&fields, "created")?;
    let status = PinStatus {
        request_id: request_id(&fields)?,
        status: needed(&fields, "status")?.as_str().into(),
        created: rfc3339::parse(&created)?,
        cid: cid(&needed(&pin, "cid")?)?,
        name: pin.get("name").and_then(|name| text(name)),
        meta: entries(&pin, "meta")?,
        delegates: addresses(fields.get("delegates")),
        info: entries(&fields, "info")?,
    };
    status.name.as_deref().map_or(Ok(()), check_name)?;
    Ok((status, created))
}

fn request_id(fields: &Fields<'_>) -> Result<String> {
    let id = needed(fields, "requestid")?;
    check_request_id(&id).map_err(|_| Error::malformed(PIN, "its request has no usable name"))?;
    Ok(id)
}

fn cid(text: &str) -> Result<Cid> {
    at_most("characters of a CID", MAX_CID_TEXT, text.len())?;
    text.parse().map_err(|error: cid::Error| Error::malformed(PIN, error.to_string()))
}

/// The addresses of a list that can be read; what is no list has none.
fn addresses(list: Option<&&RawValue>) -> Vec<Multiaddr> {
    let list: Option<Vec<&RawValue>> = list.and_then(|list| serde_json::from_str(list.get()).ok());
    let texts = list.unwrap_or_default().into_iter().filter_map(text);
    texts.filter_map(address).take(MAX_PROVIDERS).collect()
}

fn address(text: String) -> Option<Multiaddr> {
    let text = Some(text).filter(|text| text.len() <= MAX_ADDRESS_TEXT)?;
    text.parse().ok().filter(|address: &Multiaddr| address.len() <= MAX_ADDRESS)
}

/// The texts under their names; services write `null` too, and numbers.
fn entries(fields: &Fields<'_>, name: &str) -> Result<BTreeMap<String, String>> {
    let entries = fields.get(name).and_then(|entries| object(entries.get())).unwrap_or_default();
    at_most("entries that belong to a pin", MAX_META, entries.len())?;
    let plain = |json: &RawValue| text(json).unwrap_or_else(|| json.get().to_owned());
    Ok(entries.into_iter().map(|(name, value)| (name, plain(value))).collect())
}

fn needed(fields: &Fields<'_>, name: &'static str) -> Result<String> {
    let found = fields.get(name).and_then(|json| text(json));
    found.ok_or_else(|| Error::malformed(PIN, format!("its {name} is no text")))
}

pub(super) fn object(json: &str) -> Option<Fields<'_>> {
    serde_json::from_str(json).ok()
}

pub(super) fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}
