//! What a [`Codec`] promises.

use bytes::Bytes;

use super::{Numbers, Promise, Verdict, check, same};
use crate::{Block, Cid, Codec, Error, HashTable, Ipld, codes};

/// Checks a [`Codec`] with values that it can express, given by whoever wrote it: the more kinds
/// and links among them, the better.
///
/// # Errors
///
/// The first promise that is not kept.
pub fn codec(codec: &dyn Codec, values: &[Ipld]) -> Verdict {
    check(!values.is_empty(), "a check needs values", || "none were given".into())?;
    let mut numbers = Numbers(8);
    for value in values {
        let rule = "what was encoded decodes to the same value";
        let data = codec.encode(value).promised(rule)?;
        let block = Block::of(codec.code(), codes::SHA2_256, data.clone(), &HashTable::standard())
            .promised(rule)?;
        same(codec.decode(block.cid(), &data).promised(rule)?, value.clone(), rule)?;
        let rule = "encoding is deterministic";
        same(codec.encode(value).promised(rule)?, data.clone(), rule)?;
        links(codec, block.cid(), &data)?;
        for _ in 0..200 {
            hostile(codec, block.cid(), &mangle(&data, &mut numbers))?;
        }
    }
    Ok(())
}

fn links(codec: &dyn Codec, cid: &Cid, data: &Bytes) -> Verdict {
    let rule = "links are those of the decoded value";
    let mut found = Vec::new();
    codec.links(cid, data, &mut |link| found.push(link)).promised(rule)?;
    let value = codec.decode(cid, data).promised(rule)?;
    let mut expected = Vec::new();
    value.references(&mut expected);
    found.sort();
    expected.sort();
    same(found, expected, rule)
}

/// Bytes that are almost right: cut, lengthened, or with some changed.
fn mangle(data: &Bytes, numbers: &mut Numbers) -> Bytes {
    let mut bytes = data.to_vec();
    match numbers.below(3) {
        0 => bytes.truncate(numbers.below(data.len() + 1)),
        1 => {
            let more = 1 + numbers.below(8);
            bytes.extend(numbers.bytes(more));
        }
        _ => {
            for _ in 0..1 + numbers.below(4) {
                let at = numbers.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = numbers.next() as u8;
                }
            }
        }
    }
    bytes.into()
}

/// Whatever the bytes are, the codec answers, with a fitting error if need be.
fn hostile(codec: &dyn Codec, cid: &Cid, data: &Bytes) -> Verdict {
    let rule = "bytes that do not fit give `Malformed` or `Limit`";
    let fits = |error: &Error| matches!(error, Error::Malformed { .. } | Error::Limit { .. });
    match codec.decode(cid, data) {
        Ok(_) => links(codec, cid, data),
        Err(error) => {
            check(fits(&error), rule, || format!("{error:?}"))?;
            let links = codec.links(cid, data, &mut |_| ());
            let kept = links.as_ref().err().is_none_or(fits);
            check(kept, rule, || format!("{links:?}"))
        }
    }
}
