//! How pins stand in the datastore: see `DESIGN.md`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future};
use ipfs_traits::{Bytes, Cid, Datastore, Error, Ipld, Multihash, Result};

use super::{Pin, PinMode};
use crate::Follow;

/// What all keys begin with; then comes the multihash, then the codec.
const PREFIX: &[u8] = b"pin/";

/// The version of a record, which is refused if it is another one: nobody may take a pin for less
/// than it is.
const VERSION: i128 = 1;

fn key_of_block(hash: &Multihash) -> Vec<u8> {
    [PREFIX, &hash.to_bytes()].concat()
}

/// The key of the pin of a CID: CIDv0 and v1 are the same.
pub(super) fn key(cid: &Cid) -> Bytes {
    let mut key = key_of_block(cid.hash());
    key.extend(cid.codec().to_be_bytes());
    key.into()
}

/// The pin of a CID.
pub(super) async fn get(datastore: &dyn Datastore, cid: &Cid) -> Result<Option<Pin>> {
    datastore.get(&key(cid)).await?.map(|value| decode(&value)).transpose()
}

/// A pin of a block itself, by whatever codec.
pub(crate) async fn of_block(datastore: &dyn Datastore, hash: &Multihash) -> Result<Option<Pin>> {
    let mut pages = datastore.scan(&key_of_block(hash));
    while let Some(page) = pages.try_next().await? {
        for (_, value) in page {
            // Another multihash may begin as this one does.
            let pin = decode(&value)?;
            if pin.cid.hash() == hash {
                return Ok(Some(pin));
            }
        }
    }
    Ok(None)
}

/// All pins, in pages of bounded length.
pub(crate) fn scan(datastore: Arc<dyn Datastore>) -> BoxStream<'static, Result<Vec<Pin>>> {
    let page = |page: Vec<(Bytes, Bytes)>| {
        future::ready(page.iter().map(|(_, value)| decode(value)).collect())
    };
    datastore.scan(PREFIX).and_then(page).boxed()
}

pub(super) fn encode(pin: &Pin) -> Result<Bytes> {
    let (mode, links) = match pin.mode {
        PinMode::Direct => ("direct", None),
        PinMode::Recursive(Follow::All) => ("recursive", None),
        PinMode::Recursive(Follow::WithoutSubmodules) => ("recursive", Some(WITHOUT_SUBMODULES)),
    };
    let text = |text: &str| Ipld::String(text.to_owned());
    let since = pin.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut fields = BTreeMap::from([
        ("version".to_owned(), Ipld::Integer(VERSION)),
        ("cid".to_owned(), Ipld::Link(pin.cid)),
        ("mode".to_owned(), text(mode)),
        ("created".to_owned(), Ipld::Integer(since.as_secs().into())),
    ]);
    if let Some(links) = links {
        fields.insert("links".to_owned(), text(links));
    }
    if let Some(name) = &pin.name {
        fields.insert("name".to_owned(), text(name));
    }
    if !pin.metadata.is_empty() {
        let metadata = pin.metadata.iter().map(|(key, value)| (key.clone(), text(value)));
        fields.insert("metadata".to_owned(), Ipld::Map(metadata.collect()));
    }
    let bytes = serde_ipld_dagcbor::to_vec(&Ipld::Map(fields));
    Ok(bytes.map_err(|error| Error::component("record of a pin", error))?.into())
}

const WITHOUT_SUBMODULES: &str = "without-submodules";

fn damaged(reason: &'static str) -> Error {
    Error::malformed("record of a pin", reason)
}

pub(super) fn decode(value: &[u8]) -> Result<Pin> {
    let value: Ipld =
        serde_ipld_dagcbor::from_slice(value).map_err(|_| damaged("it is no CBOR"))?;
    let Ipld::Map(mut fields) = value else { return Err(damaged("it is no map")) };
    match fields.get("version") {
        Some(Ipld::Integer(VERSION)) => {}
        Some(Ipld::Integer(found)) if *found > VERSION => {
            let (found, known) = (u64::try_from(*found).unwrap_or(u64::MAX), VERSION as u64);
            return Err(Error::Newer { what: "a pin", found, known });
        }
        _ => return Err(damaged("it has no version")),
    }
    let Some(Ipld::Link(cid)) = fields.get("cid") else { return Err(damaged("it has no CID")) };
    let (cid, mode) = (*cid, mode(&fields)?);
    let created = match fields.get("created") {
        Some(Ipld::Integer(seconds)) => u64::try_from(*seconds).ok(),
        _ => None,
    };
    let created = created.and_then(|s| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(s)));
    let created = created.ok_or_else(|| damaged("it has no time"))?;
    let name = fields.remove("name").map(text).transpose()?;
    let metadata = match fields.remove("metadata") {
        None => BTreeMap::new(),
        Some(Ipld::Map(entries)) => entries
            .into_iter()
            .map(|(key, value)| Ok((key, text(value)?)))
            .collect::<Result<_>>()?,
        Some(_) => return Err(damaged("its metadata is no map")),
    };
    Ok(Pin { cid, mode, name, metadata, created })
}

fn mode(fields: &BTreeMap<String, Ipld>) -> Result<PinMode> {
    let text = |name| match fields.get(name) {
        None => Ok(None),
        Some(Ipld::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(damaged("a field of it is no text")),
    };
    match (text("mode")?, text("links")?) {
        (Some("direct"), None) => Ok(PinMode::Direct),
        (Some("recursive"), None) => Ok(PinMode::Recursive(Follow::All)),
        (Some("recursive"), Some(WITHOUT_SUBMODULES)) => {
            Ok(PinMode::Recursive(Follow::WithoutSubmodules))
        }
        _ => Err(damaged("its mode is unknown")),
    }
}

fn text(value: Ipld) -> Result<String> {
    match value {
        Ipld::String(text) => Ok(text),
        _ => Err(damaged("a field of it is no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(mode: PinMode) -> Pin {
        Pin {
            cid: "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap(),
            mode,
            name: Some("a".to_owned()),
            metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            created: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let modes = [Follow::All, Follow::WithoutSubmodules].map(PinMode::Recursive);
        for mode in modes.into_iter().chain([PinMode::Direct]) {
            let pin = pin(mode);
            assert_eq!(decode(&encode(&pin).unwrap()).unwrap(), pin);
        }
        let bare = Pin { name: None, metadata: BTreeMap::new(), ..pin(PinMode::Direct) };
        assert_eq!(decode(&encode(&bare).unwrap()).unwrap(), bare);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let whole = encode(&pin(PinMode::Recursive(Follow::WithoutSubmodules))).unwrap();
        for len in 0..whole.len() {
            assert!(matches!(decode(&whole[..len]), Err(Error::Malformed { .. })), "{len}");
        }
        for (field, value) in [
            ("version", Ipld::Null),
            ("cid", Ipld::Null),
            ("mode", Ipld::String("half".to_owned())),
            ("links", Ipld::String("none".to_owned())),
            ("links", Ipld::Integer(1)),
            ("created", Ipld::Integer(-1)),
            ("created", Ipld::Integer(i128::from(u64::MAX))),
            ("name", Ipld::Bool(true)),
            ("metadata", Ipld::List(Vec::new())),
        ] {
            let Ok(Ipld::Map(mut fields)) = serde_ipld_dagcbor::from_slice(&whole) else {
                panic!()
            };
            fields.insert(field.to_owned(), value);
            let changed = serde_ipld_dagcbor::to_vec(&Ipld::Map(fields)).unwrap();
            assert!(matches!(decode(&changed), Err(Error::Malformed { .. })), "{field}");
        }
        let Ok(Ipld::Map(mut fields)) = serde_ipld_dagcbor::from_slice(&whole) else { panic!() };
        fields.insert("version".to_owned(), Ipld::Integer(2));
        let newer = serde_ipld_dagcbor::to_vec(&Ipld::Map(fields)).unwrap();
        assert!(matches!(decode(&newer), Err(Error::Newer { found: 2, known: 1, .. })));
    }
}
