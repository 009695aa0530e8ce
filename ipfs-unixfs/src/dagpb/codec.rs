//! Between dag-pb and the data model.

use std::collections::BTreeMap;

use ipfs_traits::{Bytes, Cid, Codec, Error, Ipld, Result, codes};

use super::{Link, Node, encode, scan};

/// The dag-pb codec, for a node's table: `{Data: Bytes?, Links: [{Hash: &Any, Name: String?, Tsize:
/// Int?}]}`.
///
/// Encoding wants links sorted by name, as the specification does; it never sorts them silently.
#[derive(Clone, Copy, Debug, Default)]
pub struct DagPb;

impl Codec for DagPb {
    fn code(&self) -> u64 {
        codes::DAG_PB
    }

    fn links(&self, _: &Cid, data: &[u8], out: &mut dyn FnMut(Cid)) -> Result<()> {
        scan(data, |link| out(link.cid)).map(drop)
    }

    fn decode(&self, _: &Cid, data: &Bytes) -> Result<Ipld> {
        let node = Node::parse(data.clone())?;
        let links = node.links().map(|link| decode_link(&link)).collect::<Result<_>>()?;
        let mut map = BTreeMap::from([("Links".to_owned(), Ipld::List(links))]);
        if let Some(data) = node.data() {
            map.insert("Data".to_owned(), Ipld::Bytes(data.into()));
        }
        Ok(Ipld::Map(map))
    }

    fn encode(&self, value: &Ipld) -> Result<Bytes> {
        let mut fields = Fields::of(value, "dag-pb node")?;
        let Some(Ipld::List(links)) = fields.take("Links") else {
            return Err(invalid("dag-pb node", "`Links` must be a list"));
        };
        let links: Vec<Link<'_>> = links.iter().map(encode_link).collect::<Result<_>>()?;
        if !links.is_sorted_by_key(|link| link.name.unwrap_or_default()) {
            return Err(invalid("dag-pb node", "`Links` must be sorted by the bytes of `Name`"));
        }
        let data = match fields.take("Data") {
            None => None,
            Some(Ipld::Bytes(data)) => Some(&data[..]),
            Some(_) => return Err(invalid("dag-pb node", "`Data` must be bytes")),
        };
        fields.end()?;
        Ok(encode(links, data).into())
    }
}

fn decode_link(link: &Link<'_>) -> Result<Ipld> {
    let mut map = BTreeMap::from([("Hash".to_owned(), Ipld::Link(link.cid))]);
    if link.name.is_some() {
        map.insert("Name".to_owned(), Ipld::String(link.text()?.to_owned()));
    }
    if let Some(tsize) = link.tsize {
        map.insert("Tsize".to_owned(), Ipld::Integer(tsize.into()));
    }
    Ok(Ipld::Map(map))
}

fn encode_link(value: &Ipld) -> Result<Link<'_>> {
    const WHAT: &str = "dag-pb link";
    let mut fields = Fields::of(value, WHAT)?;
    let Some(Ipld::Link(cid)) = fields.take("Hash") else {
        return Err(invalid(WHAT, "`Hash` must be a link"));
    };
    let name = match fields.take("Name") {
        None => None,
        Some(Ipld::String(name)) => Some(name.as_bytes()),
        Some(_) => return Err(invalid(WHAT, "`Name` must be a string")),
    };
    let tsize = match fields.take("Tsize") {
        None => None,
        Some(Ipld::Integer(tsize)) => Some(
            u64::try_from(*tsize)
                .map_err(|_| invalid(WHAT, "`Tsize` must be 64 bits and positive"))?,
        ),
        Some(_) => return Err(invalid(WHAT, "`Tsize` must be an integer")),
    };
    fields.end()?;
    Ok(Link { cid: *cid, name, tsize })
}

/// The fields of a map, taken one after the other until none may be left.
struct Fields<'a> {
    map: &'a BTreeMap<String, Ipld>,
    taken: usize,
    what: &'static str,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Ipld, what: &'static str) -> Result<Self> {
        match value {
            Ipld::Map(map) => Ok(Self { map, taken: 0, what }),
            _ => Err(invalid(what, "it must be a map")),
        }
    }

    fn take(&mut self, key: &str) -> Option<&'a Ipld> {
        let value = self.map.get(key);
        self.taken += usize::from(value.is_some());
        value
    }

    fn end(&self) -> Result<()> {
        match self.taken == self.map.len() {
            true => Ok(()),
            false => Err(invalid(self.what, "it has a field that the format lacks")),
        }
    }
}

fn invalid(what: &'static str, reason: &'static str) -> Error {
    Error::invalid(what, reason)
}
