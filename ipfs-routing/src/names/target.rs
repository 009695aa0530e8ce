//! What a record or a DNSLink leads to: a path as text, taken apart as far as resolving needs it.

use ipfs_traits::{Cid, Error, Result, limits};

/// A content path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Whether what it leads to can change: the path is in `/ipns`.
    pub(crate) is_mutable: bool,
    /// The name behind the namespace.
    pub(crate) root: &'a str,
    /// What follows the root: nothing, or a slash and more.
    pub(crate) rest: &'a str,
}

/// Bytes of a path: what the URL of a gateway can hold.
const MAX_PATH: usize = 32_767;

/// Bytes of the text of a CID that are looked at: that of the longest in base 2.
const MAX_CID_TEXT: usize = 1 + 8 * limits::MAX_CID;

impl<'a> Target<'a> {
    /// Takes `/ipfs/<cid>`, `/ipld/<cid>` and `/ipns/<name>` apart, with names behind it or not.
    /// Whether a name in `/ipns` can be one is for whoever resolves it to say.
    pub(crate) fn parse(path: &'a str) -> Result<Self> {
        if path.len() > MAX_PATH {
            return Err(Error::limit("bytes of a path", MAX_PATH, path.len()));
        }
        if path.contains('\0') {
            return Err(invalid("it has a NUL in it"));
        }
        let (namespace, rest) = path
            .strip_prefix('/')
            .and_then(|path| path.split_once('/'))
            .ok_or_else(|| invalid("it does not begin with a namespace"))?;
        let (root, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_mutable = match namespace {
            "ipfs" | "ipld" => false,
            "ipns" => true,
            _ => return Err(invalid("its namespace is not known")),
        };
        if root.is_empty() || !is_mutable && !is_cid(root) {
            return Err(invalid("its root is not one"));
        }
        Ok(Self { is_mutable, root, rest })
    }
}

/// Whether the text is that of a CID, and nothing but that: the parser of the `cid` crate passes over
/// all that stands before `/ipfs/`.
pub(crate) fn is_cid(text: &str) -> bool {
    // Multibase has a form that is the bytes themselves, behind a NUL: that is no text.
    let is_text = !text.starts_with('\0') && !text.contains('/');
    is_text && text.len() <= MAX_CID_TEXT && text.parse::<Cid>().is_ok()
}

/// The path that goes on by what was left behind a name.
pub(crate) fn join(path: &str, rest: &str) -> String {
    match rest.is_empty() {
        true => path.into(),
        false => format!("{}{rest}", path.trim_end_matches('/')),
    }
}

fn invalid(reason: &'static str) -> Error {
    Error::invalid("path", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_behind_its_root() {
        let parse = |path| Target::parse(path).map(|t| (t.is_mutable, t.root, t.rest)).ok();
        assert_eq!(parse("/ipfs/bafkqaaa"), Some((false, "bafkqaaa", "")));
        assert_eq!(parse("/ipld/bafkqaaa/a//b/"), Some((false, "bafkqaaa", "/a//b/")));
        assert_eq!(parse("/ipns/example.com/"), Some((true, "example.com", "/")));
        for bad in
            ["", "/", "ipfs/bafkqaaa", "/ipfs", "/ipfs/", "/ipfs//bafkqaaa", "/ipfs/nonsense"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for bad in ["/ipns", "/ipns/", "/ipns//x", "/hyper/x", "/ipns/a\0b"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let long = format!("/ipns/{}", "x".repeat(MAX_PATH));
        assert!(matches!(Target::parse(&long), Err(Error::Limit { .. })));
    }

    /// Found by fuzzing: five bytes were taken for a CID, and the path of it was none.
    #[test]
    fn bytes_behind_a_nul_are_no_cid() {
        let text = "\0\u{1}\0\0\0";
        assert!(text.parse::<Cid>().is_ok() && !is_cid(text));
        assert_eq!(crate::dnslink::parse(text), None);
        assert!(text.parse::<crate::ipns::Name>().is_err());
    }

    #[test]
    fn what_is_left_follows_one_slash() {
        assert_eq!(join("/ipfs/x/", "/a/"), "/ipfs/x/a/");
        assert_eq!(join("/ipfs/x/", ""), "/ipfs/x/");
        assert_eq!(join("/ipfs/x", "/"), "/ipfs/x/");
    }
}
