//! How importing behaves: windows, progress, errors, trees.

mod entries;
mod kubo;
mod references;

use std::{
    fs, io,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::{AsyncRead, TryStreamExt, stream::BoxStream};
use ipfs_traits::{
    Block, Blockstore, Cid, Error, Multihash, Result, TokioRuntime, async_trait,
    memory::MemoryStore,
};
use ipfs_unixfs::{Chunker, Event, Importer, Params};

use crate::content::{Desk, chacha20};

/// The same bytes, however they come, give the same root.
#[test]
fn bytes_streams_and_files_agree() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    for len in [0, 1, 1000, 1 << 20, (1 << 20) + 1, 20 << 20] {
        let bytes = chacha20("agree", len);
        let path = folder.path().join("file");
        fs::write(&path, &bytes).unwrap();
        for params in [Params::unixfs_v1_2025(), Params::unixfs_v0_2015()] {
            let importer = desk.importer(params);
            let from_bytes = desk.run(importer.bytes(bytes.clone())).unwrap();
            let from_file = desk.run(importer.path(&path)).unwrap();
            let dribble = Dribble { bytes: bytes.clone(), at: 0, step: 70_001 };
            let from_stream = desk.run(importer.reader(dribble)).unwrap();
            assert_eq!(from_bytes, from_file, "{len}");
            assert_eq!(from_bytes, from_stream, "{len}");
            assert_eq!((from_bytes.bytes, from_bytes.files), (len as u64, 1));
        }
    }
}

/// Gives bytes in odd steps, and is not ready every other time.
struct Dribble {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
}

impl AsyncRead for Dribble {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.step.is_multiple_of(2) {
            self.step += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.step += 1;
        let count = buf.len().min(self.bytes.len() - self.at).min(self.step);
        buf[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(count))
    }
}

#[test]
fn a_stream_that_fails_is_an_error_and_says_why() {
    struct Broken;
    impl AsyncRead for Broken {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::Error::other("no more tape")))
        }
    }
    let desk = Desk::new();
    let error = desk.run(desk.importer(Params::default()).reader(Broken)).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(
        (error.to_string(), cause.to_string()),
        ("import failed".into(), "cannot read the stream".into())
    );
}

/// A store that says how much it was given that it did not finish with, and never finishes at once.
#[derive(Debug, Default)]
struct Slow {
    inner: MemoryStore,
    open: Mutex<(usize, usize)>,
}

#[async_trait]
impl Blockstore for Slow {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        self.inner.get_many(cids).await
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        self.inner.sizes(cids).await
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        let bytes: usize = blocks.iter().map(Block::len).sum();
        {
            let mut open = self.open.lock().unwrap();
            open.0 += bytes;
            open.1 = open.1.max(open.0);
        }
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.open.lock().unwrap().0 -= bytes;
        Ok(())
    }
    async fn delete_many(&self, _: &[Cid]) -> Result<()> {
        Ok(())
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.inner.list()
    }
    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// However large the content and however slow the store, only a few batches are on their way.
#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_bounded() {
    let store = Arc::new(Slow::default());
    let runtime = Arc::new(TokioRuntime::current().unwrap());
    let zeros = futures::io::repeat(0);
    let limited = futures::AsyncReadExt::take(zeros, 300 << 20);
    let imported = Importer::new(store.clone(), runtime).reader(limited).await.unwrap();
    assert_eq!(imported.bytes, 300 << 20);
    let most = store.open.lock().unwrap().1;
    assert!(most <= 48 << 20, "{most} bytes were on their way to the store");
}

#[test]
fn progress_never_goes_back_and_ends_with_the_result() {
    let desk = Desk::new();
    desk.run(async {
        let mut import = desk.importer(Params::default()).bytes(vec![3; 70 << 20]);
        let (mut last, mut told, mut done) = (0, 0, None);
        while let Some(event) = import.try_next().await.unwrap() {
            match event {
                Event::Progress(progress) => {
                    assert!(progress.bytes >= last);
                    last = progress.bytes;
                    told += 1;
                }
                Event::Done(imported) => done = Some(imported),
            }
        }
        assert!(told > 1, "told {told} times");
        assert_eq!(done.unwrap().bytes, 70 << 20);
        assert!(matches!(import.await, Err(Error::Closed(_))), "polled after its end");
    });
}

/// Every depth of tree up to four levels, around the places where a new level begins.
#[test]
fn files_of_every_depth_read_back() {
    let desk = Desk::new();
    let chunker = Chunker::fixed(3).unwrap();
    for max_links in [2, 3] {
        let params = Params { chunker: chunker.clone(), max_links, ..Params::default() };
        for len in 0..3 * 28 {
            let bytes = chacha20("depth", len);
            let imported = desk.import_bytes(bytes.clone(), params.clone());
            let file = desk.run(desk.exporter().open(&imported.cid)).unwrap();
            let runs: Vec<_> = desk.run(file.range(..).try_collect()).unwrap();
            assert_eq!(runs.concat(), bytes, "{len} bytes, {max_links} links");
        }
    }
}

fn tree(folder: &Path) {
    for (path, len) in [("b/deep/er/file", 10), ("a.txt", 0), ("b/big", 3 << 20), (".hidden", 1)] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, chacha20("tree", len)).unwrap();
    }
    fs::create_dir_all(folder.join("empty/inner")).unwrap();
}

#[test]
fn a_tree_counts_what_it_holds_and_follows_its_parameters() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    let import = |params| desk.run(desk.importer(params).path(folder.path())).unwrap();
    let all = import(Params { hidden: true, ..Params::default() });
    assert_eq!((all.files, all.directories, all.bytes), (4, 6, (3 << 20) + 11));
    let visible = import(Params::default());
    assert_eq!((visible.files, visible.directories), (3, 6));
    assert_ne!(visible.cid, all.cid);
    // The inner of two goes; the outer one had an entry, and stays.
    let full = import(Params { empty_directories: false, ..Params::default() });
    assert_eq!((full.files, full.directories), (3, 5));
    // The root stays, too, unless it is an entry.
    let nothing = tempfile::tempdir().unwrap();
    for (wrap, directories) in [(None, 1), (Some("root".into()), 1), (Some("root".into()), 2)] {
        let empty_directories = directories == 2;
        let params = Params { empty_directories, wrap, ..Params::default() };
        let imported = desk.run(desk.importer(params).path(nothing.path())).unwrap();
        assert_eq!(imported.directories, directories);
    }
    // The same with every number of files at a time.
    assert_eq!(import(Params::default()).cid, visible.cid);
}

#[test]
fn many_small_files_in_many_directories() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    for i in 0..40 {
        let inner = folder.path().join(format!("d{i}"));
        fs::create_dir(&inner).unwrap();
        for j in 0..30 {
            fs::write(inner.join(format!("f{j}")), format!("{i} {j}")).unwrap();
        }
    }
    let imported = desk.run(desk.importer(Params::default()).path(folder.path())).unwrap();
    assert_eq!((imported.files, imported.directories), (1200, 41));
    let cid = desk.run(desk.exporter().resolve(&imported.cid, ["d7", "f29"])).unwrap();
    let file = desk.run(desk.exporter().open(&cid)).unwrap();
    let runs: Vec<_> = desk.run(file.range(..).try_collect()).unwrap();
    assert_eq!(runs.concat(), b"7 29");
}

#[test]
fn errors_name_what_was_wrong() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let importer = desk.importer(Params::default());
    let error = desk.run(importer.path(folder.path().join("absent"))).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("absent"), "{cause}");

    let params = Params { max_links: 0, ..Params::default() };
    let error = desk.run(desk.importer(params).bytes("x")).unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "max_links", .. }));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_by_name() {
    use std::os::unix::net::UnixListener;
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let importer = desk.importer(Params::default());
    let error = desk.run(importer.path(folder.path())).unwrap_err();
    assert!(error.to_string().contains("socket"), "{error}");
}
