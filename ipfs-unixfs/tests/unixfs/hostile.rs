//! Input from strangers: the bodies that the fuzz targets run, on inputs that are almost right.

use futures::TryStreamExt;
use ipfs_traits::protobuf;
use ipfs_unixfs::{
    dagpb::{Link, encode},
    data::{Kind, Mtime, NewData},
    tar,
};
use proptest::{prelude::*, sample::Index};

use crate::{content::Desk, sketch::sketches};

#[path = "../hostile/dagpb.rs"]
mod dagpb_body;
#[path = "../hostile/data.rs"]
mod data_body;
#[path = "../hostile/tar.rs"]
mod tar_body;
#[path = "../hostile/tree.rs"]
mod tree_body;

/// A message with some of everything.
fn message(sizes: Vec<u64>, content: Option<Vec<u8>>, kind: usize) -> Vec<u8> {
    let kinds = [Kind::File, Kind::Directory, Kind::Symlink, Kind::HamtShard, Kind::Raw];
    let sum =
        sizes.iter().fold(content.as_ref().map_or(0, Vec::len) as u64, |a, b| a.wrapping_add(*b));
    NewData {
        content: content.as_deref(),
        file_size: Some(sum),
        block_sizes: sizes,
        mode: Some(0o644),
        mtime: Some(Mtime { seconds: -1, nanos: Some(5) }),
        ..NewData::of(kinds[kind % kinds.len()])
    }
    .encode()
}

fn node(links: usize, data: Option<&[u8]>) -> Vec<u8> {
    let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap();
    let link = Link { cid, name: Some(b"name"), tsize: Some(300) };
    encode(std::iter::repeat_n(link, links), data)
}

fn spoil(mut input: Vec<u8>, changes: &[(Index, u8)], cut: Option<Index>) -> Vec<u8> {
    for (at, byte) in changes {
        if !input.is_empty() {
            let at = at.index(input.len());
            input[at] = *byte;
        }
    }
    if let Some(cut) = cut {
        input.truncate(cut.index(input.len() + 1));
    }
    input
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
    prop::collection::vec((any::<Index>(), any::<u8>()), 0..4)
}

proptest! {
    #[test]
    fn anything(input in prop::collection::vec(any::<u8>(), 0..4000)) {
        dagpb_body::dagpb(&input);
        data_body::data(&input);
        tar_body::tar(&input);
    }

    /// Archives, and what is wrapped in gzip, with a few bytes that are wrong.
    #[test]
    fn almost_an_archive(tree in sketches(), zipped: bool, changes in changes(), cut: Option<Index>) {
        let desk = Desk::new();
        let options = tar::Options { gzip: zipped.then_some(1), ..tar::Options::default() };
        let root = tree.store(&desk);
        let pieces: Vec<_> = desk.run(async {
            desk.exporter().tar_with(root.cid(), &options).unwrap().try_collect().await.unwrap()
        });
        tar_body::tar(&spoil(pieces.concat(), &changes, cut));
    }

    #[test]
    fn any_tree(input in prop::collection::vec(any::<u8>(), 0..600)) {
        tree_body::tree(&input);
    }

    #[test]
    fn almost_right(
        sizes in prop::collection::vec(any::<u64>().prop_map(|size| size >> 20), 0..30),
        content in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
        kind: usize,
        first in changes(),
        then in changes(),
        cut: Option<Index>,
    ) {
        let links = sizes.len();
        let data = spoil(message(sizes, content, kind), &first, cut);
        data_body::data(&data);
        let block = spoil(node(links, Some(&data)), &then, cut);
        dagpb_body::dagpb(&block);
        data_body::data(&block);
    }
}

/// A packed list of sizes of one byte each would take eight times its length as numbers.
#[test]
fn many_short_sizes_stay_small() {
    let mut input = vec![8, 2];
    protobuf::write_bytes(4, &vec![1; 1 << 20], &mut input);
    data_body::data(&input);
}

/// The shortest links would take twelve times their length as CIDs.
#[test]
fn many_short_links_stay_small() {
    let input = [0x12, 6, 0x0a, 4, 1, 0x55, 0, 0].repeat(100_000);
    let bytes = ipfs_traits::Bytes::from(input.clone());
    let node = crate::memory::bounded(&input, || ipfs_unixfs::dagpb::Node::parse(bytes)).unwrap();
    assert_eq!(crate::memory::bounded(&input, || node.into_links().count()), 100_000);
}
