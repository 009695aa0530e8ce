//! The form in which git keeps an object in a file of its own: the object, deflated with zlib.

use std::io::{Read, Write};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};

use crate::{Error, Result, read_header};

/// Inflates a loose object of at most `limit` bytes. What it is, [`Object::parse`] tells.
///
/// Memory grows with what is really there, and not with what the object says of itself.
///
/// # Errors
///
/// [`Error::Zlib`] for a damaged stream, and for one that ends early or late; [`Error::Limit`] for
/// a larger object; [`Error::Header`] and [`Error::Size`] for one whose header is wrong.
///
/// [`Object::parse`]: crate::Object::parse
pub fn inflate(loose: &[u8], limit: u64) -> Result<Vec<u8>> {
    let mut decoder = ZlibDecoder::new(loose);
    let mut object = Vec::new();
    let read = (&mut decoder).take(limit.saturating_add(1)).read_to_end(&mut object);
    read.map_err(|_| Error::Zlib)?;
    let found = object.len() as u64;
    if found > limit {
        return Err(Error::Limit { limit, size: found });
    }
    if decoder.total_in() != loose.len() as u64 {
        return Err(Error::Zlib);
    }
    let (_, declared, content) = read_header(&object)?;
    let found = found - content as u64;
    if declared != found {
        return Err(Error::Size { declared, found });
    }
    Ok(object)
}

/// Deflates an object, as fast as zlib does: what git itself does for loose objects.
pub fn deflate(object: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(object).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob;

    #[test]
    fn an_object_comes_back() {
        let object = blob(b"content content content");
        let loose = deflate(&object);
        assert_eq!(inflate(&loose, 100).unwrap(), object);
        assert_eq!(inflate(&loose, object.len() as u64).unwrap(), object);
    }

    #[test]
    fn what_is_damaged_or_too_large_is_refused() {
        let object = blob(&[7; 1 << 20]);
        let loose = deflate(&object);
        // A bomb: a few kB that say they are few, and are many.
        assert!(loose.len() < 10_000);
        assert_eq!(inflate(&loose, 1000), Err(Error::Limit { limit: 1000, size: 1001 }));
        assert_eq!(inflate(&loose[..loose.len() - 1], 2 << 20), Err(Error::Zlib));
        assert_eq!(inflate(&[&loose[..], b"x"].concat(), 2 << 20), Err(Error::Zlib));
        assert_eq!(inflate(b"no zlib", 100), Err(Error::Zlib));
        let wrong = deflate(b"blob 3\0four");
        assert_eq!(inflate(&wrong, 100), Err(Error::Size { declared: 3, found: 4 }));
        assert_eq!(inflate(&deflate(b"blob"), 100), Err(Error::Header));
    }
}
