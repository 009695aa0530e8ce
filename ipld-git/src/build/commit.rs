//! New commits.

use super::{check_format, check_line, check_text};
use crate::{
    Kind, ObjectId, PersonBuf, Result, commit::signature_name, error::value, header, with_header,
};

/// Makes a commit.
///
/// The headers come in git's order: tree, parents, author, committer, encoding, the others in the
/// order in which they were given, the signature last.
///
/// ```
/// use ipld_git::{CommitBuilder, Object, ObjectFormat, PersonBuf, TreeBuilder};
///
/// let tree = ObjectFormat::Sha1.hash(&TreeBuilder::new(ObjectFormat::Sha1).build()?)?;
/// let me = PersonBuf::new("A U Thor", "author@example.com", 1_112_911_993, -420);
/// let commit = CommitBuilder::new(tree, me.clone(), me).message("first\n").build()?;
/// let Object::Commit(commit) = Object::parse(ObjectFormat::Sha1, &commit)? else { panic!() };
/// assert_eq!(commit.author().unwrap().email, b"author@example.com");
/// # Ok::<(), ipld_git::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CommitBuilder {
    tree: ObjectId,
    parents: Vec<ObjectId>,
    author: PersonBuf,
    committer: PersonBuf,
    encoding: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    signature: Option<Vec<u8>>,
    message: Vec<u8>,
}

/// Headers that have a place of their own.
const PLACED: [&[u8]; 5] = [b"tree", b"parent", b"author", b"committer", b"encoding"];

impl CommitBuilder {
    /// A commit of this tree, without parents and with an empty message.
    pub fn new(
        tree: ObjectId,
        author: impl Into<PersonBuf>,
        committer: impl Into<PersonBuf>,
    ) -> Self {
        Self {
            tree,
            parents: Vec::new(),
            author: author.into(),
            committer: committer.into(),
            encoding: None,
            headers: Vec::new(),
            signature: None,
            message: Vec::new(),
        }
    }

    /// Adds a parent.
    pub fn parent(mut self, parent: ObjectId) -> Self {
        self.parents.push(parent);
        self
    }

    /// Says how names and message are encoded. Without it, it is UTF-8.
    pub fn encoding(mut self, encoding: impl Into<Vec<u8>>) -> Self {
        self.encoding = Some(encoding.into());
        self
    }

    /// Adds another header. Its value may have several lines.
    pub fn header(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Carries a merged tag along: the content of the tag object.
    pub fn mergetag(self, content: impl Into<Vec<u8>>) -> Self {
        let mut content = content.into();
        // The line feed of the last line becomes that of the header.
        if content.last() == Some(&b'\n') {
            content.pop();
        }
        self.header("mergetag", content)
    }

    /// Signs it: what `gpg` or `ssh-keygen` made of the commit without a signature. The header is
    /// `gpgsig`, or `gpgsig-sha256` where ids are SHA-256.
    pub fn signature(mut self, signature: impl Into<Vec<u8>>) -> Self {
        self.signature = Some(signature.into());
        self
    }

    /// The message, in the encoding that was said.
    pub fn message(mut self, message: impl Into<Vec<u8>>) -> Self {
        self.message = message.into();
        self
    }

    /// The object.
    ///
    /// # Errors
    ///
    /// [`Error::Value`](crate::Error::Value) for a part that git would refuse or read otherwise.
    pub fn build(&self) -> Result<Vec<u8>> {
        let lines = 128 * (self.headers.len() + self.parents.len() + 4);
        let signature = self.signature.as_ref().map_or(0, |signature| signature.len() * 9 / 8);
        let mut out = Vec::with_capacity(lines + signature + self.message.len());
        self.write_ids(&mut out)?;
        for (person, field) in [(&self.author, "author"), (&self.committer, "committer")] {
            out.extend_from_slice(field.as_bytes());
            out.push(b' ');
            person.write(field, &mut out)?;
            out.push(b'\n');
        }
        if let Some(encoding) = &self.encoding {
            check_line(encoding, "encoding")?;
            header::write(b"encoding", encoding, &mut out);
        }
        self.write_headers(&mut out)?;
        out.push(b'\n');
        check_text(&self.message, "message")?;
        out.extend_from_slice(&self.message);
        Ok(with_header(Kind::Commit, &out))
    }

    fn write_ids(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"tree ");
        self.tree.write_hex(out);
        out.push(b'\n');
        for parent in &self.parents {
            check_format(self.tree.format(), parent, "parents")?;
            out.extend_from_slice(b"parent ");
            parent.write_hex(out);
            out.push(b'\n');
        }
        Ok(())
    }

    fn write_headers(&self, out: &mut Vec<u8>) -> Result<()> {
        let signed = self.signature.as_ref().map(|s| (signature_name(self.tree.format()), &s[..]));
        let others = self.headers.iter().map(|(name, value)| (&name[..], &value[..]));
        for (name, text) in others.chain(signed) {
            let word = !name.is_empty() && !name.contains(&b' ');
            if !word || PLACED.contains(&name) {
                return Err(value("header", "its name is no word, or that of another part"));
            }
            check_line(name, "header")?;
            check_text(text, "header")?;
            header::write(name, text, out);
        }
        Ok(())
    }
}
