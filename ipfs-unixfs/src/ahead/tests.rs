use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use ipfs_traits::{Blockstore, HashTable, Local, Prefix, async_trait, codes, memory::MemoryStore};

use super::*;

/// Blocks that begin with how many blocks they lead to, then name those, and are filled up.
struct Toy;

impl Reader for Toy {
    type Role = ();
    type Item = (usize, Cid);

    const KEEPS_WAY: bool = false;

    fn open(&mut self, (): &(), block: Block, _: usize) -> Result<Opened<Self>> {
        let (len, cid) = (block.len(), *block.cid());
        let data = block.into_data();
        let below = (0..usize::from(data[0])).map(move |at| {
            let cid = Cid::try_from(&data[1 + 36 * at..1 + 36 * (at + 1)]).unwrap();
            Next::Want(Want::new(cid, (), 0))
        });
        Ok(Opened::Level(Level::new(len, [(len, cid)], Some(Box::new(below)), None)))
    }

    fn len((len, _): &Self::Item) -> usize {
        *len
    }
}

#[derive(Debug, Default)]
struct Store(Arc<MemoryStore>);

#[async_trait]
impl BlockSource for Store {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        Local(self.0.clone()).get(cid).await
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        Local(self.0.clone()).get_many(cids)
    }
}

impl Store {
    fn put(&self, below: &[Cid], fill: usize, number: u32) -> Cid {
        let mut data = vec![below.len() as u8];
        below.iter().for_each(|cid| data.extend(cid.to_bytes()));
        data.extend(number.to_be_bytes());
        data.resize(data.len().max(fill), 0);
        let prefix = Prefix::v1(codes::RAW, codes::SHA2_256);
        let block = Block::with_prefix(&prefix, data, &HashTable::standard()).unwrap();
        let cid = *block.cid();
        self.0.put_many(&[block]).now_or_never().unwrap().unwrap();
        cid
    }
}

/// A deep tree, each level of which has much to be read after what is below it: what is read ahead
/// on the way down must not add up.
#[test]
fn what_is_held_does_not_grow_with_the_depth() {
    const WINDOW: usize = 1 << 20;
    let store = Store::default();
    let (mut root, mut number, mut expected) = (store.put(&[], 0, 0), 0, 1);
    for _ in 0..40 {
        let mut below = vec![root];
        for _ in 0..30 {
            number += 1;
            below.push(store.put(&[], 64 << 10, number));
        }
        root = store.put(&below, 0, 0);
        expected += 31;
    }
    let first = Level::one(Want::new(root, (), 0));
    let mut ahead = Ahead::new(&store, Toy, first, WINDOW);
    let (mut most, mut count) = (0, 0);
    while let Some(item) = ahead.next().now_or_never().expect("the store is always ready") {
        item.unwrap();
        count += 1;
        most = most.max(ahead.way.iter().map(|(_, level)| level.held(&ahead.asked)).sum());
    }
    assert_eq!(count, expected);
    assert!(most > 2 * WINDOW, "the way down was read ahead: {most}");
    assert!(most <= (MAX_HELD + 1) * WINDOW, "{most} bytes held");
}

/// As many slots as blocks can name wait on each level.
#[test]
fn slots_do_not_add_up_either() {
    let store = Store::default();
    let leaves: Vec<Cid> = (0..255).map(|number| store.put(&[], 0, number)).collect();
    let mut root = leaves[0];
    for _ in 0..1500 {
        root = store.put(&[&[root], &leaves[..254]].concat(), 0, 0);
    }
    let first = Level::one(Want::new(root, (), 0));
    let mut ahead = Ahead::new(&store, Toy, first, WINDOW);
    let mut most = 0;
    for _ in 0..1500 {
        ahead.next().now_or_never().unwrap().unwrap().unwrap();
        most = most.max(ahead.way.iter().map(|(_, level)| level.slots()).sum());
    }
    assert!(most > MAX_SLOTS && most < MAX_SLOTS + 4096, "{most}");
}
