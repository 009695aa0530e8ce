//! What must hold of the CAR decoder whatever it is fed: shared by the test and the fuzz target.

use ipfs_traits::{
    Bytes,
    car::{Decoder, Item},
};

/// Reads `input`, whose first byte says in what pieces it arrives.
pub(crate) fn car(input: &[u8]) {
    let Some((&size, file)) = input.split_first() else {
        return;
    };
    let pieces = || file.chunks(1 + usize::from(size) * usize::from(size));
    let whole = crate::memory::bounded(input, || read([file].into_iter()));
    let parts = crate::memory::bounded(input, || read(pieces()));
    assert_eq!(whole, parts, "the pieces in which an archive arrives change what is read");
}

/// How many sections were read, how many bytes of blocks, where the last began, and whether it was
/// a whole archive.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, usize, u64, bool) {
    let mut decoder = Decoder::new();
    let (mut sections, mut bytes, mut last) = (0, 0, 0);
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        loop {
            match decoder.next() {
                Ok(Some(Item::Header(header))) => assert_eq!(header.roots().count(), header.len()),
                Ok(Some(Item::Section(section))) => {
                    sections += 1;
                    bytes += section.data.len();
                    last = section.offset;
                }
                Ok(None) => break,
                Err(_) => return (sections, bytes, last, false),
            }
        }
    }
    (sections, bytes, last, decoder.finish().is_ok())
}
