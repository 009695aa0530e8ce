//! Input from strangers: the body that the fuzz target runs, on inputs that are almost right.

use ipfs_bitswap::message::{Entry, Message, Version, Want};
use ipfs_traits::{HashTable, varint};
use proptest::{prelude::*, sample::Index};

use crate::world::blocks;

#[path = "../hostile/message.rs"]
mod body;

fn encoded(
    wants: &[(u8, u8, i32, bool)],
    presences: &[bool],
    sizes: &[usize],
    full: bool,
) -> Vec<u8> {
    let all = blocks(2, 8, 16);
    let kinds = [Want::Have, Want::Block, Want::Cancel];
    let entry = |(cid, want, priority, send_dont_have): &(u8, u8, i32, bool)| Entry {
        cid: *all[usize::from(*cid) % 8].cid(),
        want: kinds[usize::from(*want) % 3],
        priority: *priority,
        send_dont_have: *send_dont_have,
    };
    let message = Message {
        full,
        entries: wants.iter().map(entry).collect(),
        blocks: sizes.iter().flat_map(|size| blocks(3, 1, 16 + size)).collect(),
        presences: presences
            .iter()
            .enumerate()
            .map(|(i, have)| (*all[i % 8].cid(), *have))
            .collect(),
        pending_bytes: 9,
    };
    let bytes = message.encode(Version::V1_2, &HashTable::standard()).unwrap().concat();
    varint::read(&bytes, "test").unwrap().1.to_vec()
}

proptest! {
    #[test]
    fn anything(input in prop::collection::vec(any::<u8>(), 0..4000)) {
        body::message(&input);
    }

    #[test]
    fn almost_right(
        wants in prop::collection::vec(any::<(u8, u8, i32, bool)>(), 0..20),
        presences in prop::collection::vec(any::<bool>(), 0..10),
        sizes in prop::collection::vec(0..500_usize, 0..4),
        full: bool,
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        cut: Option<Index>,
    ) {
        let mut input = encoded(&wants, &presences, &sizes, full);
        for (at, byte) in changes {
            if !input.is_empty() {
                let at = at.index(input.len());
                input[at] = byte;
            }
        }
        if let Some(cut) = cut {
            input.truncate(cut.index(input.len() + 1));
        }
        body::message(&input);
    }
}

/// Four megabytes of the shortest entries would take sixty as a list.
#[test]
fn many_short_entries_stay_small() {
    let entry = [0x0a, 6, 0x0a, 4, 1, 0x55, 0, 0];
    let wantlist = entry.repeat(500_000);
    let mut input = vec![0x0a];
    varint::write(wantlist.len() as u64, &mut input);
    input.extend(wantlist);
    body::message(&input);
    let presences = [0x22, 6, 0x0a, 4, 1, 0x55, 0, 0].repeat(500_000);
    body::message(&presences);
    let payloads = [0x1a, 6, 0x0a, 4, 1, 0x55, 0, 0].repeat(500_000);
    body::message(&payloads);
}
