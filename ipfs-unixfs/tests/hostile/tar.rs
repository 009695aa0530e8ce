//! What must hold of the reader of archives whatever it is fed: shared by the test and the fuzz
//! target.

use futures::{TryStreamExt, executor::block_on, io::Cursor};
use ipfs_traits::Result;
use ipfs_unixfs::tar::{Kind, Part, Reader};

/// More than what is held for an archive of any kind, beside what it says itself.
const HELD: usize = 512 << 10;

/// Reads `input` as an archive to its end.
pub(crate) fn tar(input: &[u8]) {
    let bytes = input.to_vec();
    let (_, held) = crate::memory::peak(|| block_on(read(bytes)));
    let most = HELD + 4 * input.len();
    assert!(held <= most, "{held} bytes were held for an input of {}", input.len());
}

async fn read(bytes: Vec<u8>) -> Result<()> {
    let mut reader = Reader::new(Cursor::new(bytes));
    // Bytes of the file that is open.
    let mut left = None;
    while let Some(part) = reader.try_next().await? {
        match part {
            Part::Entry(entry) => {
                assert_eq!(left, None, "a file has its end");
                for name in &entry.path {
                    assert!(!["", ".", ".."].iter().any(|bad| name == bad));
                    assert!(!name.contains(&b'/') && !name.contains(&0));
                }
                match entry.kind {
                    Kind::File { size } => {
                        assert!(!entry.path.is_empty());
                        left = Some(size);
                    }
                    Kind::Symlink { target } => {
                        assert!(!target.is_empty() && !target.contains(&0));
                    }
                    Kind::Directory => {}
                }
            }
            Part::Data(data) => {
                assert!(!data.is_empty());
                left = Some(left.expect("a file is open") - data.len() as u64);
            }
            Part::End => assert_eq!(left.take(), Some(0), "all of a file comes"),
        }
    }
    assert_eq!(left, None);
    Ok(())
}
