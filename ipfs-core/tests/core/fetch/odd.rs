//! Files and directories as nobody makes them, or nobody should.

use ipfs_core::{
    Block, Bytes, Cid, Error, HashTable, codes,
    unixfs::{
        dagpb::{self, Link},
        data::{Kind, NewData},
    },
};

use super::{neighbour::Neighbour, on_virtual_time};

async fn put(neighbour: &Neighbour, codec: u64, bytes: impl Into<Bytes>) -> Cid {
    let block = Block::of(codec, codes::SHA2_256, bytes, &HashTable::standard()).unwrap();
    neighbour.put(&block).await;
    *block.cid()
}

/// A node all of whose links have one name.
async fn node(neighbour: &Neighbour, data: &NewData<'_>, name: &str, links: &[Cid]) -> Cid {
    let link = |cid: &Cid| Link { cid: *cid, name: Some(name.as_bytes()), tsize: None };
    let bytes = dagpb::encode(links.iter().map(link), Some(&data.encode()));
    put(neighbour, codes::DAG_PB, bytes).await
}

/// A block of a sharded directory whose first slot leads to the next level.
async fn shard(neighbour: &Neighbour, fanout: u64, below: Cid) -> Cid {
    let (content, hash_type) = (Some(&[1][..]), Some(0x22));
    let data = NewData { content, hash_type, fanout: Some(fanout), ..NewData::of(Kind::HamtShard) };
    node(neighbour, &data, "0", &[below]).await
}

fn file(sizes: &[u64]) -> NewData<'static> {
    let (block_sizes, file_size) = (sizes.to_vec(), Some(sizes.iter().sum()));
    NewData { block_sizes, file_size, ..NewData::of(Kind::File) }
}

#[test]
fn parts_that_state_no_sizes_are_brought_whole() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let mut leaves = Vec::new();
        for text in ["one", "two", "three", "four"] {
            leaves.push(put(&neighbour, codes::RAW, text).await);
        }
        let unmeasured = node(&neighbour, &NewData::of(Kind::File), "", &leaves[..2]).await;
        let sized = node(&neighbour, &file(&[5, 4]), "", &leaves[2..]).await;
        let metadata = NewData { content: Some(b""), ..NewData::of(Kind::Metadata) };
        let sized = node(&neighbour, &metadata, "", &[sized]).await;
        let root = node(&neighbour, &file(&[6, 9]), "", &[unmeasured, sized]).await;
        for (range, blocks) in [(0..1, 4), (6..7, 4), (5..12, 8), (0..0, 1)] {
            let to = neighbour.node(&runtime).await;
            let fetched = to.fetch(root).range(range.clone()).await.unwrap();
            assert_eq!(fetched.blocks, blocks, "{range:?}");
        }
        let whole = neighbour.node(&runtime).await.fetch(root).entity().await.unwrap();
        assert_eq!(whole.blocks, 8);
    });
}

#[test]
fn what_contradicts_itself_is_named() {
    on_virtual_time(|runtime| async move {
        let neighbour = Neighbour::new();
        let leaf = put(&neighbour, codes::RAW, "four").await;
        let empty = node(&neighbour, &NewData::of(Kind::Directory), "", &[]).await;
        let mut deep = empty;
        let mut levels = vec![deep];
        for _ in 0..30 {
            deep = shard(&neighbour, 8, deep).await;
            levels.push(deep);
        }
        let other = shard(&neighbour, 16, empty).await;
        for (what, root, wrong) in [
            ("a leaf of another size", node(&neighbour, &file(&[5]), "", &[leaf]).await, leaf),
            ("a directory in a file", node(&neighbour, &file(&[0]), "", &[empty]).await, empty),
            ("another fanout", shard(&neighbour, 8, other).await, other),
            ("no shard", shard(&neighbour, 8, empty).await, empty),
            ("more levels than bits", deep, levels[30 - 21]),
        ] {
            let result = neighbour.node(&runtime).await.fetch(root).entity().await;
            match &result {
                Err(Error::Incomplete { count: 1, missing, .. }) => {
                    assert_eq!(missing[0].cid, wrong, "{what}: {}", missing[0].why);
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    });
}
