//! CAR files from gateways, whole and harmful.

use futures::{StreamExt, stream};
use ipfs_bitswap::http::Scope;
use ipfs_traits::{
    Block, BlockSource, Bytes, Cid, Error, Exchange, Result, RuntimeExt, car, limits, varint,
};

use super::web::{Web, body, bytes, never, status};
use crate::world::blocks;

/// The bytes of a CAR file.
fn archive(blocks: &[Block]) -> Vec<u8> {
    let mut file = car::header(&[*blocks[0].cid()]);
    for block in blocks {
        file.extend(section(block.cid(), block.data()));
    }
    file
}

fn section(cid: &Cid, data: &[u8]) -> Vec<u8> {
    let mut section = car::section_head(cid, data.len());
    section.extend(data);
    section
}

/// A server that sends these bytes in pieces of a length, whatever it is asked for.
fn serve(web: &Web, name: &str, file: Vec<u8>, piece: usize) {
    let pieces: Vec<Bytes> = file.chunks(piece).map(Bytes::copy_from_slice).collect();
    web.host(name, move |_| bytes(pieces.clone()));
}

async fn fetch(web: &Web, names: &[&str], root: &Block) -> Vec<Result<Block>> {
    web.exchange(names).fetch_car(root.cid(), "", Scope::All).collect().await
}

/// The blocks that came, and the error behind them.
async fn parted(web: &Web, names: &[&str], root: &Block) -> (Vec<Block>, Option<Error>) {
    let mut all = fetch(web, names, root).await;
    let error = all.pop_if(|last| last.is_err()).and_then(Result::err);
    (all.into_iter().map(Result::unwrap).collect(), error)
}

#[test]
fn blocks_come_verified_from_pieces_of_any_length() {
    let blocks = blocks(40, 50, 3000);
    for piece in [1, 100, 5000, usize::MAX] {
        let web = Web::new();
        serve(&web, "a", archive(&blocks), piece);
        let (found, error) = web.run(parted(&web, &["a"], &blocks[0]));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(found, blocks);
    }
}

#[test]
fn it_is_asked_for_as_the_specification_says() {
    let (web, blocks) = (Web::new(), blocks(41, 1, 100));
    serve(&web, "a", archive(&blocks), usize::MAX);
    let root = blocks[0].cid();
    web.run(async {
        let exchange = web.exchange(&["a"]);
        for (path, scope) in
            [("", Scope::All), ("/a b/ü?/", Scope::Entity), (".../x#y", Scope::Block)]
        {
            let found: Vec<_> = exchange.fetch_car(root, path, scope).collect().await;
            assert_eq!(found.len(), 1);
        }
    });
    // A client would take these for steps in the URL, and ask for something else.
    for path in ["..", "a/../b", "./a"] {
        let answers = web.exchange(&["a"]).fetch_car(root, path, Scope::All);
        let answers = web.run(answers.collect::<Vec<_>>());
        assert!(matches!(&answers[..], [Err(Error::Invalid { .. })]), "{path}: {answers:?}");
    }
    let sent = web.sent();
    assert_eq!(sent.len(), 3);
    let expected = [
        format!("GET {root}?format=car&dag-scope=all"),
        format!("GET {root}/a%20b/%C3%BC%3F?format=car&dag-scope=entity"),
        format!("GET {root}/.../x%23y?format=car&dag-scope=block"),
    ];
    assert_eq!(sent.iter().map(|sent| &sent.what).collect::<Vec<_>>(), expected.each_ref());
    assert_eq!(sent[0].accept, "application/vnd.ipld.car; version=1; order=dfs; dups=n");
}

#[test]
fn what_is_cut_off_ends_with_an_error() {
    let blocks = blocks(42, 5, 300);
    let whole = archive(&blocks);
    let ends: Vec<usize> = (0..=5).map(|count| archive_len(&blocks[..count], &whole)).collect();
    for len in (0..whole.len()).step_by(7).filter(|len| !ends.contains(len)) {
        let web = Web::new();
        serve(&web, "a", whole[..len].to_vec(), 100);
        let (found, error) = web.run(parted(&web, &["a"], &blocks[0]));
        assert!(matches!(error, Some(Error::Malformed { .. })), "{len}: {error:?}");
        assert_eq!(found, blocks[..found.len()]);
        assert!(found.is_empty() || archive_len(&blocks[..found.len()], &whole) <= len);
    }
}

fn archive_len(blocks: &[Block], whole: &[u8]) -> usize {
    let header = car::header(&[car_root(whole)]).len();
    header + blocks.iter().map(|b| car::section_len(b.cid(), b.len())).sum::<usize>()
}

fn car_root(whole: &[u8]) -> Cid {
    let mut decoder = car::Decoder::new();
    decoder.push(Bytes::copy_from_slice(whole));
    match decoder.next() {
        Ok(Some(car::Item::Header(header))) => header.roots().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_does_not_hash_to_its_cid_is_not_given_and_its_giver_left_alone() {
    let (web, blocks) = (Web::new(), blocks(43, 4, 100));
    let mut file = archive(&blocks[..2]);
    file.extend(section(blocks[2].cid(), b"something else"));
    file.extend(section(blocks[3].cid(), blocks[3].data()));
    serve(&web, "a", file, usize::MAX);
    web.run(async {
        let exchange = web.exchange(&["a"]);
        let all: Vec<_> =
            exchange.fetch_car(blocks[0].cid(), "", Scope::All).collect::<Vec<_>>().await;
        let [Ok(a), Ok(b), Err(Error::Corrupt(cid))] = &all[..] else { panic!("{all:?}") };
        assert_eq!((a, b, cid), (&blocks[0], &blocks[1], blocks[2].cid()));
        let again = exchange.session(None).get(blocks[0].cid()).await;
        assert!(matches!(again, Err(Error::Component { name: "gateway", .. })), "{again:?}");
        assert_eq!(web.sent().len(), 1);
    });
}

/// A section that is no part of the DAG is given, since its bytes are what they are said to be: the
/// walker of the DAG knows what belongs to it.
#[test]
fn foreign_sections_are_for_the_walker() {
    let (web, blocks) = (Web::new(), blocks(44, 3, 100));
    serve(&web, "a", archive(&blocks), usize::MAX);
    let found = web.run(parted(&web, &["a"], &blocks[2])).0;
    assert_eq!(found, blocks);
}

#[test]
fn sections_and_headers_are_bounded() {
    let blocks = blocks(45, 2, 100);
    let head = |what: &[u8], len: u64| {
        let mut file = what.to_vec();
        varint::write(len, &mut file);
        file
    };
    let files = [
        head(&archive(&blocks), u64::MAX >> 1),
        head(&archive(&blocks), limits::MAX_BLOCK as u64 + 1000),
        head(&archive(&blocks), 0),
        head(&[], u64::MAX >> 1),
        {
            let large = vec![1; limits::MAX_BLOCK + 1];
            [archive(&blocks), section(blocks[0].cid(), &large)].concat()
        },
        b"<html>no CAR file</html>".to_vec(),
        archive(&blocks)[1..].to_vec(),
    ];
    for file in files {
        // More of it for ever: nothing but the bound ends it.
        let (web, piece) = (Web::new(), Bytes::from(file));
        web.host("a", move |_| {
            let more = Bytes::from_static(&[0xff; 4096]);
            let pieces = stream::iter([Ok(piece.clone())]).chain(stream::repeat(Ok(more)));
            body(pieces.boxed())
        });
        let (found, error) = web.run(parted(&web, &["a"], &blocks[0]));
        let limit = matches!(error, Some(Error::Limit { .. } | Error::Malformed { .. }));
        assert!(limit, "{error:?}");
        assert!(found.is_empty() || found == blocks);
    }
}

#[test]
fn the_next_gateway_is_asked_until_a_file_begins() {
    let (web, blocks) = (Web::new(), blocks(46, 3, 100));
    web.host("lacks", |_| status(404));
    web.host("hangs", |_| never());
    serve(&web, "page", b"<html>hello</html>".to_vec(), usize::MAX);
    serve(&web, "good", archive(&blocks), usize::MAX);
    let names = ["lacks", "hangs", "page", "good"];
    let (found, error) = web.run(parted(&web, &names, &blocks[0]));
    assert!(error.is_none() && found == blocks, "{error:?}");
    let none = web.run(parted(&web, &["lacks"], &blocks[0])).1;
    assert!(matches!(none, Some(Error::NotFound(cid)) if cid == *blocks[0].cid()), "{none:?}");
}

#[test]
fn one_that_trickles_is_given_up() {
    let blocks = blocks(47, 2, 5000);
    for pause in [9, 11] {
        let (web, file) = (Web::new(), Bytes::from(archive(&blocks)));
        let runtime = web.runtime.clone();
        web.host("a", move |_| {
            let start = (runtime.clone(), file.clone());
            let pieces = stream::unfold(start, move |(runtime, mut file)| async move {
                RuntimeExt::sleep(&runtime, std::time::Duration::from_secs(pause)).await;
                let piece = file.split_to(100);
                Some((Ok(piece), (runtime, file)))
            });
            body(pieces.boxed())
        });
        let (found, error) = web.run(parted(&web, &["a"], &blocks[0]));
        assert!(found.is_empty() && matches!(error, Some(Error::TimedOut(_))), "{error:?}");
        assert!(web.elapsed().as_secs() < 250, "{:?}", web.elapsed());
        assert_eq!(web.open(), 0);
    }
}
