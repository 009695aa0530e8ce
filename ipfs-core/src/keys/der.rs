//! The little of DER that private keys need: elements with a tag of one byte, one after the other.

use ipfs_traits::{Error, Result};
use zeroize::Zeroizing;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BITS: u8 = 0x03;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// The tag of an element that its place in a structure names.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Elements that are read one by one.
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    /// The content of the next element, which has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8]> {
        let (content, rest) = self.next(tag).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(content)
    }

    fn next(&self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (&found, rest) = self.0.split_first()?;
        let (len, rest) = length(rest)?;
        rest.split_at_checked(len).filter(|_| found == tag)
    }
}

/// The length in front of a content, in the one form that DER allows it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [len @ 0..=0x7f, ref rest @ ..] => Some((len.into(), rest)),
        [0x81, len @ 0x80..=0xff, ref rest @ ..] => Some((len.into(), rest)),
        [0x82, high @ 1..=0xff, low, ref rest @ ..] => {
            Some((u16::from_be_bytes([high, low]).into(), rest))
        }
        _ => None,
    }
}

/// The one element that is all of `bytes`.
pub(super) fn only(tag: u8, bytes: &[u8]) -> Result<&[u8]> {
    let mut elements = Elements(bytes);
    let content = elements.take(tag)?;
    if elements.0.is_empty() { Ok(content) } else { Err(malformed()) }
}

/// An element of these contents, joined.
pub(super) fn element(tag: u8, contents: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let len: usize = contents.iter().map(|content| content.len()).sum();
    // All room at once: what a vector leaves behind when it grows is not wiped.
    let mut out = Zeroizing::new(Vec::with_capacity(len + 4));
    out.push(tag);
    match len {
        0..0x80 => out.push(len as u8),
        0x80..0x100 => out.extend([0x81, len as u8]),
        _ => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    contents.iter().for_each(|content| out.extend_from_slice(content));
    out
}

fn malformed() -> Error {
    Error::malformed("private key", "it is not the DER of one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let content = vec![7; len];
            let written = element(OCTETS, &[&content[..len / 2], &content[len / 2..]]);
            assert_eq!(only(OCTETS, &written).unwrap(), content);
            assert!(only(SEQUENCE, &written).is_err(), "another tag");
            assert!(only(OCTETS, &written[..written.len() - 1]).is_err(), "cut off");
            assert!(only(OCTETS, &[&written[..], &[0]].concat()).is_err(), "more behind it");
        }
    }

    #[test]
    fn a_length_has_one_form() {
        for wrong in [&[4, 0x80][..], &[4, 0x81, 1, 0], &[4, 0x82, 0, 0x80], &[4, 0x83, 1, 0, 0]] {
            let long = [wrong, &[0; 70_000]].concat();
            assert!(Elements(&long).take(OCTETS).is_err(), "{wrong:x?}");
        }
    }
}
