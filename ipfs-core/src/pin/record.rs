//! How pins stand in the datastore: see `DESIGN.md`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future};
use ipfs_traits::{Bytes, Cid, Datastore, Error, Multihash, Result};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Pin, PinMode};
use crate::Follow;

/// What all keys begin with; then comes the multihash, then the codec.
const PREFIX: &[u8] = b"pin/";

/// The version of a record, which is refused if it is another one: nobody may take a pin for less
/// than it is.
const VERSION: u64 = 1;

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

/// A record. What is not written where it says nothing is empty here.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u64,
    cid: Cid,
    mode: Mode,
    created: u64,
    #[serde(default, skip_serializing_if = "Links::are_all")]
    links: Links,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// All that must be understood of a record to know that the rest may not be.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Direct,
    Recursive,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Links {
    /// Never written.
    #[default]
    #[serde(skip)]
    All,
    WithoutSubmodules,
}

impl Links {
    const fn are_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

/// A text that is there is one: null is none.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

pub(super) fn encode(pin: &Pin) -> Result<Bytes> {
    let (mode, links) = match pin.mode {
        PinMode::Direct => (Mode::Direct, Links::All),
        PinMode::Recursive(Follow::All) => (Mode::Recursive, Links::All),
        PinMode::Recursive(Follow::WithoutSubmodules) => {
            (Mode::Recursive, Links::WithoutSubmodules)
        }
    };
    let since = pin.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (version, cid, created) = (VERSION, pin.cid, since.as_secs());
    let (name, metadata) = (pin.name.clone(), pin.metadata.clone());
    let record = Record { version, cid, mode, created, links, name, metadata };
    let bytes = serde_ipld_dagcbor::to_vec(&record);
    Ok(bytes.map_err(|error| Error::component("record of a pin", error))?.into())
}

fn damaged(reason: &'static str) -> Error {
    Error::malformed("record of a pin", reason)
}

pub(super) fn decode(value: &[u8]) -> Result<Pin> {
    let record: Record = serde_ipld_dagcbor::from_slice(value).map_err(|_| unknown(value))?;
    if record.version != VERSION {
        return Err(unknown(value));
    }
    let mode = match (record.mode, record.links) {
        (Mode::Direct, Links::All) => PinMode::Direct,
        (Mode::Recursive, Links::All) => PinMode::Recursive(Follow::All),
        (Mode::Recursive, Links::WithoutSubmodules) => {
            PinMode::Recursive(Follow::WithoutSubmodules)
        }
        (Mode::Direct, Links::WithoutSubmodules) => return Err(damaged("its mode is unknown")),
    };
    let created = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(record.created));
    let created = created.ok_or_else(|| damaged("it has no time"))?;
    Ok(Pin { cid: record.cid, mode, name: record.name, metadata: record.metadata, created })
}

/// Why a record is not understood.
fn unknown(value: &[u8]) -> Error {
    match serde_ipld_dagcbor::from_slice(value) {
        Ok(Version { version: found }) if found > VERSION => {
            Error::Newer { what: "a pin", found, known: VERSION }
        }
        _ => damaged("it is not of the form that DESIGN.md describes"),
    }
}

#[cfg(test)]
mod tests {
    use ipfs_traits::Ipld;

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
    fn a_record_is_the_map_that_is_described() {
        let pin = pin(PinMode::Recursive(Follow::WithoutSubmodules));
        let text = |text: &str| Ipld::String(text.to_owned());
        let fields = [
            ("version", Ipld::Integer(1)),
            ("cid", Ipld::Link(pin.cid)),
            ("mode", text("recursive")),
            ("links", text("without-submodules")),
            ("created", Ipld::Integer(1_800_000_000)),
            ("name", text("a")),
            ("metadata", Ipld::Map(BTreeMap::from([("k".to_owned(), text("v"))]))),
        ];
        let fields = fields.map(|(key, value)| (key.to_owned(), value)).into();
        assert_eq!(encode(&pin).unwrap(), serde_ipld_dagcbor::to_vec(&Ipld::Map(fields)).unwrap());
        let bare = Pin { name: None, metadata: BTreeMap::new(), mode: PinMode::Direct, ..pin };
        let fields = [
            ("version", Ipld::Integer(1)),
            ("cid", Ipld::Link(bare.cid)),
            ("mode", text("direct")),
            ("created", Ipld::Integer(1_800_000_000)),
        ];
        let fields = fields.map(|(key, value)| (key.to_owned(), value)).into();
        assert_eq!(encode(&bare).unwrap(), serde_ipld_dagcbor::to_vec(&Ipld::Map(fields)).unwrap());
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
            ("mode", Ipld::String("direct".to_owned())),
            ("links", Ipld::String("none".to_owned())),
            ("links", Ipld::String("all".to_owned())),
            ("links", Ipld::Null),
            ("links", Ipld::Integer(1)),
            ("created", Ipld::Integer(-1)),
            ("created", Ipld::Integer(i128::from(u64::MAX))),
            ("name", Ipld::Bool(true)),
            ("name", Ipld::Null),
            ("metadata", Ipld::Null),
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
