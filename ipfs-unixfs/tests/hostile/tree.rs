//! What must hold of reading whatever tree of blocks somebody puts together: shared by the test and
//! the fuzz target.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};
use ipfs_traits::{
    Block, Blockstore, Cid, CodecTable, HashTable, Local, Prefix, Result, VirtualRuntime, codes,
    memory::MemoryStore,
};
use ipfs_unixfs::{
    Exporter, LinksOnPath, StatKind, Walk, WalkOptions,
    dagpb::{self, DagPb, Link},
    data::{Kind, Mtime, NewData},
};

/// Reads a description of blocks from a stranger's bytes.
struct Plan<'a>(&'a [u8]);

impl<'a> Plan<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let len = (usize::from(self.byte()) % (most + 1)).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// A number that is often right.
    fn number(&mut self, right: u64) -> Option<u64> {
        match self.byte() {
            0..=127 => Some(right),
            128..=159 => None,
            160..=191 => Some(right.wrapping_add(u64::from(self.byte()))),
            192..=223 => Some(u64::from(self.byte())),
            other => Some(u64::MAX - u64::from(other)),
        }
    }

    /// A name that begins with a slot, or not.
    fn name(&mut self, slot: usize) -> Vec<u8> {
        let mut name = match self.byte() % 4 {
            0 => format!("{slot:02X}").into_bytes(),
            1 => format!("{slot:X}").into_bytes(),
            2 => format!("{slot:03X}").into_bytes(),
            _ => Vec::new(),
        };
        name.extend(self.bytes(3));
        name
    }

    /// A block that links to some of those before it, each of which has so many bytes.
    fn block(&mut self, made: &[(Cid, u64)]) -> (u64, Vec<u8>, u64) {
        let kind = self.byte();
        if kind >= 248 {
            return (codes::DAG_CBOR, vec![0xa0], 1);
        }
        if kind >= 192 {
            let bytes = self.bytes(40).to_vec();
            let len = bytes.len() as u64;
            return (codes::RAW, bytes, len);
        }
        let count = if made.is_empty() { 0 } else { usize::from(self.byte()) % 9 };
        let mut links: Vec<(Cid, Vec<u8>)> = Vec::new();
        let (mut sizes, mut bitmap) = (Vec::new(), 0_u64);
        let content = self.bytes(9);
        let mut size = content.len() as u64;
        for slot in 0..count {
            let slot = slot * 3 + usize::from(self.byte() % 3);
            bitmap |= 1 << slot;
            let (cid, len) = made[usize::from(self.byte()) % made.len()];
            sizes.extend(self.number(len));
            size = size.saturating_add(len);
            links.push((cid, self.name(slot)));
        }
        let bitmap: Vec<u8> =
            bitmap.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        let kinds = [Kind::File, Kind::Directory, Kind::HamtShard, Kind::Raw, Kind::Symlink];
        let kind = kinds.get(usize::from(kind) % 6).copied().unwrap_or(Kind::Metadata);
        let is_shard = kind == Kind::HamtShard;
        let shape = usize::from(self.byte());
        let data = NewData {
            kind,
            content: Some(if is_shard && shape < 240 { &bitmap } else { content }),
            file_size: self.number(size),
            block_sizes: if shape % 4 == 0 { Vec::new() } else { sizes },
            hash_type: is_shard.then_some(0x22),
            fanout: is_shard.then(|| [8, 16, 256, 1024, 7][shape % 5]),
            mode: Some(0o644),
            mtime: Some(Mtime { seconds: -1, nanos: None }),
        };
        let links =
            links.iter().map(|(cid, name)| Link { cid: *cid, name: Some(name), tsize: None });
        let data = data.encode();
        let data = (shape != 255).then_some(&data[..]);
        (codes::DAG_PB, dagpb::encode(links.collect::<Vec<_>>(), data), size)
    }
}

/// Puts blocks together as `input` says, and reads what is below the last in every way.
pub(crate) fn tree(input: &[u8]) {
    let store = Arc::new(MemoryStore::new());
    let hashes = HashTable::standard();
    let mut plan = Plan(input);
    let mut made: Vec<(Cid, u64)> = Vec::new();
    while !plan.0.is_empty() && made.len() < 64 {
        let hash = if plan.byte() % 8 == 0 { codes::IDENTITY } else { codes::SHA2_256 };
        let (codec, data, size) = plan.block(&made);
        let hash = if data.len() <= 64 { hash } else { codes::SHA2_256 };
        let block =
            Block::with_prefix(&Prefix::v1(codec, hash), data, &hashes).expect("it is small");
        store
            .put_many(std::slice::from_ref(&block))
            .now_or_never()
            .expect("it is ready")
            .expect("ok");
        made.push((*block.cid(), size));
    }
    let Some((root, _)) = made.last() else { return };
    let runtime = VirtualRuntime::new();
    let source = Arc::new(Local(store));
    let exporter = Exporter::new(source.clone(), Arc::new(runtime.clone()));
    runtime
        .block_on(async {
            file(&exporter, root).await;
            directory(&exporter, root).await;
            walk(source, root).await;
        })
        .expect("nothing waits");
}

/// How many items are looked at; there can be more than anybody can count.
const MANY: usize = 3000;

/// A range of a file is the slice, or an error.
async fn file(exporter: &Exporter, root: &Cid) {
    let Ok(file) = exporter.open(root).await else { return };
    let stat = exporter.stat(root).await;
    let size = file.size();
    // A stated size is believed here, and only reading shows that it is none.
    if let Ok(stat) = &stat {
        assert!(matches!(stat.kind, StatKind::File { .. }));
    }
    let runs: Vec<_> = file.range(..).take(MANY).collect().await;
    let whole: Result<Vec<_>> = runs.into_iter().collect();
    let Ok(whole) = whole.map(|runs| runs.concat()) else { return };
    if (whole.len() as u64) < size {
        return;
    }
    assert_eq!(whole.len() as u64, size);
    for (from, to) in [(0, size / 2), (size / 3, size), (size / 4, size / 4 + 1), (size, size)] {
        let part: Vec<_> = file.range(from..to).try_collect().await.expect("it was read");
        assert_eq!(part.concat(), &whole[from as usize..to.min(size) as usize]);
    }
}

/// Both listings and the tree agree, and each entry is found by its name where it should stand.
async fn directory(exporter: &Exporter, root: &Cid) {
    let items: Vec<_> = exporter.tree(root).take(MANY).collect().await;
    let failures = items.iter().filter(|item| item.is_err()).count();
    assert!(failures == 0 || (failures == 1 && items.last().is_some_and(|item| item.is_err())));
    let Ok(list) = exporter.list(root).await else { return };
    let entries: Vec<_> = list.take(MANY).collect().await;
    let listed = exporter.list_with(root).await.expect("it was listed");
    let listed: Vec<_> = listed.take(MANY).collect().await;
    for (entry, listed) in std::iter::zip(&entries, &listed) {
        if let (Ok(entry), Ok(listed)) = (entry, listed) {
            assert_eq!(*entry, listed.entry);
        }
    }
    for entry in entries.into_iter().flatten().take(20) {
        for symlinks in [LinksOnPath::Report, LinksOnPath::Follow] {
            let path = [entry.name.as_bytes(), b"a"];
            let _ = exporter.resolve_with(root, path, symlinks).await;
            let _ = exporter.resolve_with(root, &path[..1], symlinks).await;
        }
    }
}

async fn walk(source: Arc<Local<Arc<MemoryStore>>>, root: &Cid) {
    let mut codecs = CodecTable::new();
    codecs.insert(DagPb);
    let codecs = Arc::new(codecs);
    for (unique, max_depth) in [(true, None), (false, None), (true, Some(2)), (false, Some(3))] {
        let mut options = WalkOptions::default();
        (options.unique, options.max_depth, options.max_visits) = (unique, max_depth, MANY as u64);
        let walk = Walk::new(source.clone(), codecs.clone(), &[*root], options);
        let visits: Vec<_> = walk.collect().await;
        assert!(visits.len() <= MANY + 1);
        for visit in visits.into_iter().flatten() {
            assert!(max_depth.is_none_or(|most| visit.depth <= most));
        }
    }
}
