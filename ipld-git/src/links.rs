//! The links of an object.

use cid::Cid;

use crate::{Entries, Headers, MergeTag, Object, ObjectFormat, ObjectId, Parents, Result, cid_of};

/// The objects that an object names: see [`Object::links`].
#[derive(Clone, Debug)]
pub struct Links<'a>(Inner<'a>);

#[derive(Clone, Debug)]
enum Inner<'a> {
    One(Option<ObjectId>),
    Tree(Entries<'a>),
    Commit {
        format: ObjectFormat,
        tree: Option<ObjectId>,
        parents: Parents<'a>,
        headers: Headers<'a>,
    },
}

impl<'a> Links<'a> {
    pub(crate) fn new(object: &Object<'a>) -> Self {
        Self(match object {
            Object::Blob(_) => Inner::One(None),
            Object::Tag(tag) => Inner::One(Some(tag.object())),
            Object::Tree(tree) => Inner::Tree(tree.entries()),
            Object::Commit(commit) => Inner::Commit {
                format: object.format(),
                tree: Some(commit.tree()),
                parents: commit.parents(),
                headers: commit.mergetag_headers(),
            },
        })
    }
}

impl Iterator for Links<'_> {
    type Item = ObjectId;

    fn next(&mut self) -> Option<ObjectId> {
        match &mut self.0 {
            Inner::One(link) => link.take(),
            Inner::Tree(entries) => entries.next().map(|entry| entry.id),
            Inner::Commit { format, tree, parents, headers } => {
                let merged = |header| MergeTag::parse(*format, &header).map(|tag| tag.object);
                tree.take().or_else(|| parents.next()).or_else(|| headers.find_map(merged))
            }
        }
    }
}

/// The links of an object whose ids are of this format, as CIDs: see [`Object::links`].
///
/// # Errors
///
/// As [`Object::parse`].
pub fn links_as(format: ObjectFormat, object: &[u8]) -> Result<impl Iterator<Item = Cid>> {
    Ok(Object::parse(format, object)?.links().map(|id| cid_of(&id)))
}
