//! The headers of commits and tags.

use std::borrow::Cow;

use crate::scan::{find, line};

/// One header: a line, and the lines behind it that begin with a space and continue it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The first word of the line.
    pub name: &'a [u8],
    /// What follows the name and a space, without the last line feed. Lines are continued by a line
    /// feed and a space: see [`unfolded`](Self::unfolded).
    pub value: &'a [u8],
    /// All of it as it stands, line feeds included; the last one of an object may lack its own.
    pub raw: &'a [u8],
}

impl<'a> Header<'a> {
    /// The value with the space taken off its continued lines, as git reads it.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        if find(b'\n', self.value).is_none() {
            return Cow::Borrowed(self.value);
        }
        let (mut out, mut rest) = (Vec::with_capacity(self.value.len()), self.value);
        loop {
            let (first, behind) = line(rest);
            out.extend_from_slice(first);
            if first.len() == rest.len() {
                return Cow::Owned(out);
            }
            out.push(b'\n');
            rest = behind.strip_prefix(b" ").unwrap_or(behind);
        }
    }
}

/// The headers in some bytes, in their order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first header of this name: where there are several, git reads that one.
    pub fn named(mut self, name: &[u8]) -> Option<Header<'a>> {
        self.find(|header| header.name == name)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.rest;
        let (first, mut behind) = line(start);
        let mut end = first.len();
        while behind.first() == Some(&b' ') {
            let at = start.len() - behind.len();
            let (more, next) = line(behind);
            (end, behind) = (at + more.len(), next);
        }
        let raw = &start[..start.len() - behind.len()];
        self.rest = behind;
        let space = find(b' ', first).unwrap_or(first.len());
        let value = &start[(space + 1).min(end)..end];
        Some(Header { name: &first[..space], value, raw })
    }
}

/// Appends a header, its value folded.
pub(crate) fn write(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    let mut rest = value;
    loop {
        let (first, behind) = line(rest);
        out.push(b' ');
        out.extend_from_slice(first);
        out.push(b'\n');
        if first.len() == rest.len() {
            return;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_begin_with_a_space_continue_a_header() {
        let bytes = b"one 1\ntwo a\n b\n \nthree\nfour 4";
        let headers: Vec<_> = Headers::new(bytes).collect();
        let values: Vec<_> = headers.iter().map(|header| (header.name, header.value)).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"one", b"1"), (b"two", b"a\n b\n "), (b"three", b""), (b"four", b"4")];
        assert_eq!(values, expected);
        assert_eq!(headers.iter().map(|header| header.raw).collect::<Vec<_>>().concat(), bytes);
        assert_eq!(headers[1].unfolded(), &b"a\nb\n"[..]);
        let mut written = Vec::new();
        write(b"two", b"a\nb\n", &mut written);
        assert_eq!(written, headers[1].raw);
        assert_eq!(Headers::new(bytes).named(b"three").unwrap().raw, b"three\n");
        assert_eq!(Headers::new(b" odd\n x\n").count(), 1);
    }
}
