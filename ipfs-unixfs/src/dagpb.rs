//! DAG-PB, the format of UnixFS nodes: a strict view that copies nothing, a canonical encoder, and
//! the codec for a node's table.
//!
//! The format is that of the [DAG-PB specification]. The view takes what canonical encoders make,
//! and one thing more that old ones did: `Data` before `Links`. It refuses duplicate and unknown
//! fields, link fields out of order, padded varints and bytes behind a CID, so that what it takes
//! means the same to every implementation.
//!
//! [DAG-PB specification]: https://ipld.io/specs/codecs/dag-pb/spec/

mod codec;
mod outline;

use std::ops::Range;

use bytes::Bytes;
use ipfs_traits::{
    Cid, Error, Result, parse_cid,
    protobuf::{self, Fields},
};

pub use self::codec::DagPb;
pub(crate) use self::outline::Outline;
use crate::Name;

const NODE: &str = "dag-pb node";
const LINK: &str = "dag-pb link";

/// A dag-pb node over the bytes of its block, checked whole when it was parsed.
///
/// Links are read from the bytes each time they are asked for, at about 60 ns each; nothing else is
/// kept.
///
/// ```
/// use ipfs_unixfs::dagpb::{Link, Node, encode};
///
/// let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse()?;
/// let link = Link { cid, name: Some(b"hello.txt"), tsize: Some(11) };
/// let node = Node::parse(encode([link], Some(b"data")).into())?;
/// assert_eq!(node.links().collect::<Vec<_>>(), [link]);
/// assert_eq!(node.data(), Some("data".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    bytes: Bytes,
    data: Option<Range<usize>>,
    links: usize,
}

/// A link of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Where it leads.
    pub cid: Cid,
    /// Its name: UTF-8 by the specification, any bytes in what exists.
    pub name: Option<&'a [u8]>,
    /// How many bytes lie below it, all blocks counted: a hint, which may be wrong.
    pub tsize: Option<u64>,
}

impl<'a> Link<'a> {
    /// The name as text; a link without a name has an empty one.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when it is not UTF-8.
    pub fn text(&self) -> Result<&'a str> {
        std::str::from_utf8(self.name.unwrap_or_default())
            .map_err(|_| Error::malformed(LINK, "its name is not UTF-8"))
    }
}

impl Node {
    /// Parses and checks the bytes of a block.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], and [`Error::Limit`] for a link whose CID is too long.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        let mut links = 0;
        let data = scan(&bytes, |_| links += 1)?;
        Ok(Self { bytes, data, links })
    }

    /// The bytes of the block.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The data, sharing the block's memory. Absent is not the same as empty.
    pub fn data(&self) -> Option<Bytes> {
        self.data.clone().map(|range| self.bytes.slice(range))
    }

    /// How many links it has.
    pub const fn len(&self) -> usize {
        self.links
    }

    /// Whether it has no links.
    pub const fn is_empty(&self) -> bool {
        self.links == 0
    }

    /// The links, in their order.
    pub fn links(&self) -> Links<'_> {
        Links { fields: Fields::new(&self.bytes, NODE), left: self.links }
    }
}

impl Node {
    /// The links, in their order, sharing the block's memory.
    pub fn into_links(self) -> IntoLinks {
        IntoLinks { bytes: self.bytes, at: 0, left: self.links }
    }
}

/// A link that shares the memory of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedLink {
    /// Where it leads.
    pub cid: Cid,
    /// Its name; a link without one has an empty one.
    pub name: Name,
    /// How many bytes lie below it, all blocks counted: a hint, which may be wrong.
    pub tsize: Option<u64>,
}

/// The links of a [`Node`] that they keep alive, read as they are asked for.
#[derive(Clone, Debug)]
pub struct IntoLinks {
    bytes: Bytes,
    at: usize,
    left: usize,
}

impl Iterator for IntoLinks {
    type Item = OwnedLink;

    fn next(&mut self) -> Option<OwnedLink> {
        // As with `Links`, nothing here fails before the end.
        while self.left > 0 {
            let mut fields = Fields::new(&self.bytes[self.at..], NODE);
            let field = fields.next()?.ok()?;
            self.at = self.bytes.len() - fields.rest().len();
            if let (2, value) = field {
                self.left -= 1;
                let link = parse_link(value.bytes(NODE).ok()?).ok()?;
                let name = self.bytes.slice_ref(link.name.unwrap_or_default()).into();
                return Some(OwnedLink { cid: link.cid, name, tsize: link.tsize });
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for IntoLinks {}

/// Reads a whole node, and gives each link to `link` and the place of the data.
fn scan<'a>(bytes: &'a [u8], mut link: impl FnMut(Link<'a>)) -> Result<Option<Range<usize>>> {
    frame(bytes, |bytes| parse_link(bytes).map(&mut link))
}

/// Reads the fields of a node, and gives the bytes of each link to `link` and the place of the
/// data.
fn frame<'a>(
    bytes: &'a [u8],
    mut link: impl FnMut(&'a [u8]) -> Result<()>,
) -> Result<Option<Range<usize>>> {
    let mut fields = Fields::new(bytes, NODE);
    let mut data = None;
    // Links stand in one run, before the data or (in old blocks) behind it.
    let (mut in_run, mut run_ended) = (false, false);
    while let Some(field) = fields.next() {
        match field? {
            (1, value) => {
                let len = value.bytes(NODE)?.len();
                let end = bytes.len() - fields.rest().len();
                if data.replace(end - len..end).is_some() {
                    return Err(Error::malformed(NODE, "it has two `Data`"));
                }
                run_ended = in_run;
            }
            (2, value) => {
                if run_ended {
                    return Err(Error::malformed(NODE, "its links stand in two places"));
                }
                in_run = true;
                link(value.bytes(NODE)?)?;
            }
            _ => return Err(Error::malformed(NODE, "it has an unknown field")),
        }
    }
    Ok(data)
}

/// The links of a [`Node`], read as they are asked for.
#[derive(Clone, Debug)]
pub struct Links<'a> {
    fields: Fields<'a>,
    left: usize,
}

impl<'a> Iterator for Links<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        // The node was checked when it was parsed, so nothing here fails before the end.
        while self.left > 0 {
            if let (2, value) = self.fields.next()?.ok()? {
                self.left -= 1;
                return parse_link(value.bytes(NODE).ok()?).ok();
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Links<'_> {}

fn parse_link(bytes: &[u8]) -> Result<Link<'_>> {
    let (mut cid, mut name, mut tsize) = (None, None, None);
    let mut last = 0;
    for field in Fields::new(bytes, LINK) {
        let (number, value) = field?;
        if number <= last {
            return Err(Error::malformed(LINK, "its fields are twice there or out of order"));
        }
        last = number;
        match number {
            1 => cid = Some(parse_cid(value.bytes(LINK)?)?),
            2 => name = Some(value.bytes(LINK)?),
            3 => tsize = Some(value.varint(LINK)?),
            _ => return Err(Error::malformed(LINK, "it has an unknown field")),
        }
    }
    let cid = cid.ok_or_else(|| Error::malformed(LINK, "it leads nowhere"))?;
    Ok(Link { cid, name, tsize })
}

/// The canonical bytes of a node: the links in the order given, then the data.
///
/// The specification wants links sorted by name, byte for byte; whoever gives them names sorts
/// them ([`sort`]).
pub fn encode<'a>(
    links: impl IntoIterator<Item = Link<'a>, IntoIter: Clone>,
    data: Option<&[u8]>,
) -> Vec<u8> {
    let links = links.into_iter();
    let of_links: usize = links.clone().map(|link| protobuf::bytes_len(2, link_len(&link))).sum();
    let of_data = data.map_or(0, |data| protobuf::bytes_len(1, data.len()));
    let mut out = Vec::with_capacity(of_links + of_data);
    for link in links {
        protobuf::write_head(2, link_len(&link), &mut out);
        protobuf::write_head(1, link.cid.encoded_len(), &mut out);
        write_cid(&link.cid, &mut out);
        if let Some(name) = link.name {
            protobuf::write_bytes(2, name, &mut out);
        }
        if let Some(tsize) = link.tsize {
            protobuf::write_varint(3, tsize, &mut out);
        }
    }
    if let Some(data) = data {
        protobuf::write_bytes(1, data, &mut out);
    }
    out
}

/// Sorts links as the specification wants them: by the bytes of their names, equal ones staying in
/// their order.
pub fn sort(links: &mut [Link<'_>]) {
    links.sort_by(|a, b| a.name.unwrap_or_default().cmp(b.name.unwrap_or_default()));
}

/// How many bytes a link takes within a node, its key and length included.
pub fn encoded_link_len(link: &Link<'_>) -> usize {
    protobuf::bytes_len(2, link_len(link))
}

fn link_len(link: &Link<'_>) -> usize {
    protobuf::bytes_len(1, link.cid.encoded_len())
        + link.name.map_or(0, |name| protobuf::bytes_len(2, name.len()))
        + link.tsize.map_or(0, |tsize| protobuf::varint_len(3, tsize))
}

fn write_cid(cid: &Cid, out: &mut Vec<u8>) {
    cid.write_bytes(out).expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cid(text: &str) -> Cid {
        text.parse().unwrap()
    }

    fn some_links() -> Vec<Link<'static>> {
        let v0 = cid("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n");
        let v1 = cid("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
        vec![
            Link { cid: v0, name: Some(b""), tsize: Some(0) },
            Link { cid: v1, name: None, tsize: None },
            Link { cid: v1, name: Some(b"name"), tsize: Some(u64::MAX) },
        ]
    }

    #[test]
    fn round_trip() {
        for data in [None, Some(&b""[..]), Some(b"data")] {
            for count in 0..=3 {
                let links = &some_links()[..count];
                let bytes = encode(links.iter().copied(), data);
                let node = Node::parse(bytes.into()).unwrap();
                assert_eq!(node.links().collect::<Vec<_>>(), links);
                assert_eq!(node.len(), count);
                assert_eq!(node.data().as_deref(), data);
                let owned: Vec<OwnedLink> = node.clone().into_links().collect();
                assert!(owned.iter().map(|link| link.cid).eq(links.iter().map(|link| link.cid)));
                assert!(owned.iter().all(|link| link.name.to_str().is_ok()));
                let lengths: usize = links.iter().map(encoded_link_len).sum();
                let of_data = data.map_or(0, |data| protobuf::bytes_len(1, data.len()));
                assert_eq!(node.bytes().len(), lengths + of_data);
            }
        }
    }

    #[test]
    fn data_may_stand_before_the_links_but_not_between_them() {
        let links = some_links();
        let one = encode([links[0]], None);
        let data = encode([], Some(b"d"));
        let join = |parts: &[&Vec<u8>]| {
            Bytes::from(parts.iter().copied().cloned().collect::<Vec<_>>().concat())
        };
        let before = Node::parse(join(&[&data, &one, &one])).unwrap();
        assert_eq!((before.len(), before.links().count()), (2, 2));
        assert_eq!(before.data(), Some("d".into()));
        assert!(Node::parse(join(&[&one, &data, &one])).is_err());
        assert!(Node::parse(join(&[&data, &one, &data])).is_err());
    }

    #[test]
    fn names_that_are_no_text_are_told_apart() {
        let link = Link { name: Some(b"\xff"), ..some_links()[0] };
        let node = Node::parse(encode([link], None).into()).unwrap();
        let found = node.links().next().unwrap();
        assert_eq!(found.name, Some(&b"\xff"[..]));
        assert!(matches!(found.text(), Err(Error::Malformed { .. })));
    }

    #[test]
    fn sorting_is_by_bytes_and_stable() {
        let link = |name| Link { name: Some(name), ..some_links()[0] };
        let mut links = vec![link(b"b"), link(b"\xc3\xa4"), link(b"B"), link(b"aa"), link(b"a")];
        sort(&mut links);
        let names: Vec<&[u8]> = links.iter().filter_map(|link| link.name).collect();
        assert_eq!(names, [&b"B"[..], b"a", b"aa", b"b", b"\xc3\xa4"]);
    }
}
