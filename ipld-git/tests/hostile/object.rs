//! What must hold of the bytes of an object, whoever sent them: shared by the tests and the fuzz
//! targets.

use ipld_core::{codec::Codec, ipld::Ipld};
use ipld_git::{GitCodec, Kind, Object, ObjectFormat, decode_as, encode_as, links_as, with_header};

/// Reads `content` as an object of this type, in both formats.
#[allow(dead_code, reason = "each fuzz target uses a part of it")]
pub(crate) fn content(kind: Kind, content: &[u8]) {
    object(&with_header(kind, content));
}

/// Reads `input` as an object, in both formats: it is refused, or all of it can be read, and its
/// value gives the same bytes again.
pub(crate) fn object(input: &[u8]) {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let parsed = crate::memory::bounded(input, || {
            let object = Object::parse(format, input);
            if let Ok(object) = &object {
                read(object);
            }
            object
        });
        let value = decode_as(format, input);
        match &value {
            Ok(value) => {
                assert_eq!(encode_as(format, value).as_deref(), Ok(input));
                assert_eq!(links(value), sorted(links_as(format, input).unwrap().collect()));
            }
            Err(error) => assert_eq!(parsed.as_ref().err(), Some(error)),
        }
        assert_eq!(parsed.is_ok(), value.is_ok());
    }
    if let Ok(value) = GitCodec::decode_from_slice(input) {
        assert_eq!(GitCodec::encode_to_vec(&value).as_deref(), Ok(input));
    }
}

fn links(value: &Ipld) -> Vec<cid::Cid> {
    let mut links = Vec::new();
    value.references(&mut links);
    sorted(links)
}

fn sorted(mut links: Vec<cid::Cid>) -> Vec<cid::Cid> {
    links.sort();
    links
}

/// Reads every part; what a header has of bytes is copied at most once at a time.
fn read(object: &Object<'_>) -> usize {
    let parts = match object {
        Object::Blob(blob) => blob.content().len(),
        Object::Tree(tree) => {
            tree.entries().map(|entry| entry.name.len() + entry.mode().0 as usize).sum()
        }
        Object::Commit(commit) => {
            let people = [commit.author(), commit.committer()];
            people.iter().flatten().filter_map(|person| person.seconds()).count()
                + people.iter().flatten().filter_map(|person| person.offset()).count()
                + commit.parents().len()
                + commit.encoding().map_or(0, <[u8]>::len)
                + commit.signature().map_or(0, |signature| signature.len())
                + commit.mergetags().map(|tag| tag.folded_message.len()).sum::<usize>()
                + commit.headers().map(|header| header.unfolded().len()).sum::<usize>()
                + commit.message().len()
        }
        Object::Tag(tag) => {
            tag.tagger().map_or(0, |tagger| tagger.name.len())
                + tag.headers().map(|header| header.unfolded().len()).sum::<usize>()
                + tag.message().len()
        }
    };
    parts + object.links().count()
}
