//! What must hold of a loose object: shared by the test and the fuzz target.

use ipld_git::{deflate, inflate};

/// What a loose object may have here.
const LIMIT: u64 = 1 << 20;

/// Inflates `input`: what comes out is bounded, and can be deflated again.
pub(crate) fn loose(input: &[u8]) {
    if let Ok(object) = inflate(input, LIMIT) {
        assert!(object.len() as u64 <= LIMIT);
        assert_eq!(inflate(&deflate(&object), LIMIT).as_ref(), Ok(&object));
    }
}
