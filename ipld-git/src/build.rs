//! Making new objects, as git itself would write them.

mod commit;
mod tag;
mod tree;

pub(crate) use self::tree::write_entry;
pub use self::{commit::CommitBuilder, tag::TagBuilder, tree::TreeBuilder};
use crate::{ObjectFormat, ObjectId, Result, error::value, scan::find};

/// An id in an object whose ids have this format.
fn check_format(format: ObjectFormat, id: &ObjectId, field: &'static str) -> Result<()> {
    match id.format() == format {
        true => Ok(()),
        false => Err(value(field, "its id has another hash function")),
    }
}

/// Text that stands in one line.
fn check_line(text: &[u8], field: &'static str) -> Result<()> {
    match find(b'\n', text).is_some() || find(0, text).is_some() {
        true => Err(value(field, "it holds a line feed or a NUL")),
        false => Ok(()),
    }
}

/// Text that git's tools would cut off at a NUL.
fn check_text(text: &[u8], field: &'static str) -> Result<()> {
    match find(0, text).is_some() {
        true => Err(value(field, "it holds a NUL")),
        false => Ok(()),
    }
}
