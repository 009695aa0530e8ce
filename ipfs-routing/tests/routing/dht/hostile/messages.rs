//! Messages made by chance, and true ones with some bytes changed.

#[path = "../../../hostile/dht.rs"]
mod body;

use ipfs_routing::dht::message::{Kind, MAX_ANSWER, MAX_REQUEST, Message};
use ipfs_traits::{PeerInfo, memory::peer_id, protobuf::write_bytes};
use proptest::{prelude::*, sample::Index};

fn encoded(kind: usize, closer: u64, providers: u64, value: Option<Vec<u8>>) -> Vec<u8> {
    let kinds = [Kind::PutValue, Kind::GetValue, Kind::AddProvider];
    let kinds = [&kinds[..], &[Kind::GetProviders, Kind::FindNode, Kind::Ping]].concat();
    let mut message = Message::new(kinds[kind], peer_id(4).to_bytes());
    if let Some(value) = value {
        message = Message::with_value(kinds[kind], "/pk/x", value.into());
    }
    let peer = |number: u64| {
        let address = format!("/ip4/8.{number}.1.1/tcp/1").parse().unwrap();
        PeerInfo::new(peer_id(number), vec![address])
    };
    message.closer = (0..closer).map(peer).collect();
    message.providers = (0..providers).map(peer).collect();
    message.encode()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        body::dht(&input);
    }

    #[test]
    fn almost_right(
        kind in 0..6_usize,
        closer in 0..25_u64,
        providers in 0..30_u64,
        value: Option<Vec<u8>>,
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        cut: Option<Index>,
    ) {
        let mut input = encoded(kind, closer, providers, value);
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        if let Some(cut) = cut {
            input.truncate(cut.index(input.len() + 1));
        }
        body::dht(&input);
    }
}

/// The shortest entries there are, as many as fit: each becomes a peer of a hundred bytes.
#[test]
fn many_short_entries_stay_small() {
    for (field, most) in [(8, MAX_REQUEST), (9, MAX_REQUEST), (8, MAX_ANSWER), (9, MAX_ANSWER)] {
        let mut input = vec![8, 4];
        while input.len() + 10 < most {
            write_bytes(field, &[0x0a, 2, 0, 0], &mut input);
        }
        body::dht(&input);
    }
    // A peer with nothing but addresses.
    let mut inner = vec![0x0a, 2, 0, 0];
    while inner.len() + 10 < MAX_ANSWER / 2 {
        inner.extend([0x12, 2, 0xa2, 2]);
    }
    let mut input = vec![8, 4];
    write_bytes(8, &inner, &mut input);
    body::dht(&input);
}
