//! Paths as URIs: RFC 3986, with the schemes `ipfs`, `ipns` and `ipld`.

use ipfs_traits::Result;

use super::{Namespace, Path, Root, invalid};

/// The namespace that the scheme of a URI names, and what is behind it.
pub(super) fn split(text: &str) -> Option<(Namespace, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let known = |namespace: &Namespace| scheme.eq_ignore_ascii_case(namespace.name());
    let namespace = Namespace::ALL.into_iter().find(known)?;
    Some((namespace, rest.strip_prefix("//").unwrap_or(rest)))
}

impl Path {
    /// The path that a URI spells, without its scheme.
    pub(super) fn from_uri(namespace: Namespace, rest: &str) -> Result<Self> {
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let path = &rest[..end];
        let mut names = path.split('/').filter(|name| !name.is_empty());
        let root = names.next().ok_or_else(|| invalid("it has no root"))?;
        let names = names.map(decode).collect::<Result<Vec<String>>>()?;
        Self::new(namespace, &decode(root)?)?
            .go(names.iter().map(String::as_str), path.ends_with('/'))
    }

    /// The same as a URI, with all that has a meaning there encoded.
    pub fn to_uri(&self) -> String {
        let mut uri = format!("{}://", self.namespace().name());
        match &self.root {
            Root::Ipfs(cid) | Root::Ipld(cid) => uri.push_str(&cid.to_string()),
            Root::Ipns(name) => encode(name, &mut uri),
        }
        for segment in &self.segments {
            uri.push('/');
            encode(segment, &mut uri);
        }
        if self.slash {
            uri.push('/');
        }
        uri
    }
}

/// Undoes the encoding of one name.
fn decode(name: &str) -> Result<String> {
    let bad = || invalid(format!("{name:?} is not percent-encoded text"));
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let Some(([high, low], behind)) = rest.split_first_chunk() else { return Err(bad()) };
        rest = behind;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(bad()) };
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

/// Encodes all but what may stand in a segment of any URI.
fn encode(name: &str, out: &mut String) {
    for byte in name.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
        match plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
}
