//! Blobs: content of files.

use crate::{Kind, object::Raw, with_header};

/// A blob. Git looks at nothing in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob<'a> {
    raw: Raw<'a>,
}

impl<'a> Blob<'a> {
    pub(crate) const fn new(raw: Raw<'a>) -> Self {
        Self { raw }
    }

    pub(crate) const fn raw(&self) -> &Raw<'a> {
        &self.raw
    }

    /// All of it, header included: what git hashes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.raw.bytes
    }

    /// The content of the file, or the target of the symbolic link.
    pub fn content(&self) -> &'a [u8] {
        self.raw.content()
    }
}

/// The object that git makes of this content.
pub fn blob(content: &[u8]) -> Vec<u8> {
    with_header(Kind::Blob, content)
}
