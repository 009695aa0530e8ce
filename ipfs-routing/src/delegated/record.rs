//! What a router says of one peer.

use std::collections::BTreeMap;

use ipfs_traits::{
    Error, Multiaddr, PeerId, PeerInfo, Result,
    network::{MAX_ADDRESS, MAX_ADDRESSES},
};
use serde_json::{Value, value::RawValue};

use super::peer_id;

/// A peer, where it is, and how blocks can be had from it: the `peer` schema of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Who.
    pub id: PeerId,
    /// Where; empty when the router does not know. At most [`MAX_ADDRESSES`] of [`MAX_ADDRESS`]
    /// bytes are read.
    pub addresses: Vec<Multiaddr>,
    /// How blocks can be had, such as `transport-bitswap`; empty when the router does not know. At
    /// most [`MAX_PROTOCOLS`] of 63 bytes ([`MAX_PROTOCOL`]) are read.
    pub protocols: Vec<String>,
    extra: BTreeMap<String, Box<str>>,
}

/// The longest record that is read, in bytes: four times what its addresses may take. The rest is for
/// what protocols add.
pub const MAX_RECORD: usize = 64 << 10;

/// The most protocols that are read of a record. A handful is known.
pub const MAX_PROTOCOLS: usize = 32;

/// The longest name of a protocol, in bytes, as the specification has it.
pub const MAX_PROTOCOL: usize = 63;

/// Bytes of an address as text. It is shorter in binary, up to this factor.
const MAX_ADDRESS_TEXT: usize = 4 * MAX_ADDRESS;

type Fields<'a> = BTreeMap<String, &'a RawValue>;

impl Record {
    /// A peer of which no protocols are known.
    pub fn new(peer: PeerInfo) -> Self {
        let (protocols, extra) = Default::default();
        Self { id: peer.id, addresses: peer.addresses, protocols, extra }
    }

    /// What a protocol has added to the record under this name, as JSON.
    pub fn extra(&self, name: &str) -> Option<&str> {
        self.extra.get(name).map(|json| &**json)
    }

    /// Reads a record. `None` is one of an unknown schema, or without a peer that can be read; an
    /// address that cannot be read is left out. The older schemas `bitswap` and
    /// `graphsync-filecoinv1` are read as peers with one protocol.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for what is no JSON; [`Error::Limit`] for more than [`MAX_RECORD`] bytes.
    pub fn decode(json: &str) -> Result<Option<Self>> {
        if json.len() > MAX_RECORD {
            return Err(Error::limit("bytes of a routing record", MAX_RECORD, json.len()));
        }
        match serde_json::from_str(json) {
            Ok(fields) => Ok(Self::read(fields)),
            Err(error) if error.is_data() => Ok(None),
            Err(_) => Err(Error::malformed("routing record", "it is no JSON")),
        }
    }

    fn read(mut fields: Fields<'_>) -> Option<Self> {
        let schema = text(fields.remove("Schema")?)?;
        let id = peer_id(&text(fields.remove("ID")?)?)?;
        let protocols = fields.remove("Protocols");
        let names: Vec<String> = match &*schema {
            "peer" => texts(protocols).collect(),
            "bitswap" | "graphsync-filecoinv1" => {
                fields.remove("Protocol").and_then(text).into_iter().collect()
            }
            _ => return None,
        };
        let protocols = names.into_iter().filter(|name| name.len() <= MAX_PROTOCOL);
        let addresses = texts(fields.remove("Addrs")).filter_map(address).take(MAX_ADDRESSES);
        Some(Self {
            id,
            addresses: addresses.collect(),
            protocols: protocols.take(MAX_PROTOCOLS).collect(),
            extra: fields.into_iter().map(|(name, json)| (name, one_line(json))).collect(),
        })
    }

    /// The record as JSON in one line, its fields in the order of their names.
    pub fn encode(&self) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let known = [
            ("Addrs", Value::from(addresses)),
            ("ID", Value::from(self.id.to_string())),
            ("Protocols", Value::from(self.protocols.clone())),
            ("Schema", Value::from("peer")),
        ];
        let mut fields: BTreeMap<&str, String> =
            self.extra.iter().map(|(name, json)| (&**name, json.to_string())).collect();
        fields.extend(known.map(|(name, value)| (name, value.to_string())));
        let fields = fields.into_iter().map(|(name, json)| format!("{}:{json}", Value::from(name)));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }
}

impl From<Record> for PeerInfo {
    fn from(record: Record) -> Self {
        Self::new(record.id, record.addresses)
    }
}

fn text(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

/// The texts of a list; what is no list has none.
fn texts(json: Option<&RawValue>) -> impl Iterator<Item = String> {
    let list: Vec<&RawValue> =
        json.and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default();
    list.into_iter().filter_map(text)
}

fn address(text: String) -> Option<Multiaddr> {
    let address: Multiaddr =
        Some(text).filter(|text| text.len() <= MAX_ADDRESS_TEXT)?.parse().ok()?;
    (address.len() <= MAX_ADDRESS).then_some(address)
}

/// Line breaks stand only between the tokens of JSON.
fn one_line(json: &RawValue) -> Box<str> {
    json.get().replace(['\n', '\r'], "").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

    fn decode(json: &str) -> Option<Record> {
        Record::decode(json).unwrap()
    }

    #[test]
    fn what_protocols_add_is_kept() {
        let json = format!(
            "{{\"Schema\":\"peer\",\"ID\":\"{ID}\",\"x\":{{\n\"y\": \"a\\nb\"}},\"Addrs\":[\"/tcp/1\"]}}"
        );
        let record = decode(&json).unwrap();
        assert_eq!(record.extra("x"), Some("{\"y\": \"a\\nb\"}"));
        let line = record.encode();
        assert!(!line.contains('\n'));
        assert_eq!(decode(&line), Some(record));
    }

    #[test]
    fn older_schemas_are_peers_and_unknown_ones_nothing() {
        let old = format!(r#"{{"Schema":"bitswap","Protocol":"transport-bitswap","ID":"{ID}"}}"#);
        assert_eq!(decode(&old).unwrap().protocols, ["transport-bitswap"]);
        let unknown = format!(r#"{{"Schema":"other","ID":"{ID}"}}"#);
        assert_eq!(decode(&unknown), None);
    }

    #[test]
    fn wrong_types_are_nothing() {
        for json in ["1", "[]", "null", "\"peer\"", "{}", r#"{"Schema":1,"ID":2}"#] {
            assert_eq!(decode(json), None, "{json}");
        }
        for value in ["1", "{}", "null", "[1,{},null,\"x\"]", "\"/tcp/1\""] {
            let json = format!(r#"{{"Schema":"peer","ID":"{ID}","Addrs":{value}}}"#);
            assert_eq!(decode(&json).unwrap().addresses, Vec::<Multiaddr>::new(), "{value}");
        }
        for value in ["1", "{}", "[[]]", "\"nobody\"", "null"] {
            assert_eq!(decode(&format!(r#"{{"Schema":"peer","ID":{value}}}"#)), None, "{value}");
        }
    }
}
