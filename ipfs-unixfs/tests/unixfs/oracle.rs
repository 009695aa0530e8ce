//! The dag-pb codec beside the packaged crate `ipld-dagpb`, and the suite for codecs.

use ipfs_traits::{Bytes, Cid, Codec, Ipld, codes, conformance};
use ipfs_unixfs::dagpb::{self, DagPb, Link};
use ipld_dagpb::DagPbCodec;
use proptest::prelude::*;

fn cid(seed: u8) -> Cid {
    let hash = ipfs_traits::HashTable::standard().hash(codes::SHA2_256, &[seed]).unwrap();
    match seed % 2 {
        0 => Cid::new_v0(hash).unwrap(),
        _ => Cid::new_v1(codes::RAW, hash),
    }
}

type Parts = (Vec<(u8, String, u64)>, Option<Vec<u8>>);

fn parts() -> impl Strategy<Value = Parts> {
    let link = (any::<u8>(), "[a-zäß0-9 .]{0,12}", any::<u64>().prop_map(|tsize| tsize >> 1));
    let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..100));
    (prop::collection::vec(link, 0..12), data)
}

fn encoded((links, data): &Parts) -> Vec<u8> {
    let mut links: Vec<Link<'_>> = links
        .iter()
        .map(|(seed, name, tsize)| Link {
            cid: cid(*seed),
            name: Some(name.as_bytes()),
            tsize: Some(*tsize),
        })
        .collect();
    dagpb::sort(&mut links);
    dagpb::encode(links, data.as_deref())
}

proptest! {
    #[test]
    fn both_see_the_same_node(parts in parts()) {
        let bytes = encoded(&parts);
        let theirs: Ipld =
            <DagPbCodec as ipld_core::codec::Codec<Ipld>>::decode_from_slice(&bytes).unwrap();
        let ours = DagPb.decode(&cid(0), &Bytes::copy_from_slice(&bytes)).unwrap();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(DagPb.encode(&ours).unwrap(), bytes);
    }

    #[test]
    fn the_codec_keeps_its_promises(parts in parts()) {
        let value = DagPb.decode(&cid(0), &encoded(&parts).into()).unwrap();
        conformance::codec(&DagPb, &[value]).unwrap();
    }
}
