//! What Kubo reads is read here, and the same is found in it.

use std::{fs, path::Path};

use futures::{
    AsyncReadExt, TryStreamExt,
    io::{AllowStdIo, Cursor},
};
use ipfs_core::{
    Block, Cid, Node, codes,
    unixfs::{
        StatKind, WalkOptions,
        dagpb::{self, Link},
        data::{Kind, NewData},
    },
};

use super::{Kubo, program};
use crate::content;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Sharded directories, references in every order, and the sizes of DAGs.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_found_in_directories_and_dags() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    kubo.run(&["config", "--json", "Import.UnixFSHAMTDirectorySizeThreshold", "\"4KiB\""]);
    let folder = tempfile::tempdir().unwrap();
    let (tree, other) = (folder.path().join("tree"), folder.path().join("other"));
    content::tree(&tree, 31);
    (0..1500).for_each(|n| fs::write(tree.join(format!("many/more {n}")), n.to_string()).unwrap());
    content::tree(&other, 31);
    fs::write(other.join("small.txt"), "another one").unwrap();
    let node = Node::builder().offline().spawn().await.unwrap();
    let mut roots = Vec::new();
    for path in [&tree, &other] {
        let cid = kubo.run(&["add", "-r", "-Q", "--raw-leaves=false", text(path)]);
        let car = kubo.command(&["dag", "export", "--progress=false", &cid]).output().unwrap();
        node.dag().import(Cursor::new(car.stdout)).await.unwrap();
        roots.push(cid);
    }
    let cids: Vec<Cid> = roots.iter().map(|root| root.parse().unwrap()).collect();

    // The tree, through its sharded directory.
    let out = folder.path().join("out");
    node.unixfs().write(cids[0], &out).await.unwrap();
    assert!(content::read(&out) == content::read(&tree));
    let many = format!("/ipfs/{}/many", roots[0]);
    let stat = node.unixfs().stat(&many).await.unwrap();
    assert!(matches!(stat.kind, StatKind::ShardedDirectory { fanout: 256, .. }));
    let listed: Vec<_> = node.unixfs().list_with(&many).await.unwrap().try_collect().await.unwrap();
    let mut listed: Vec<String> = listed
        .iter()
        .map(|listed| match listed.stat.kind {
            StatKind::File { size, .. } => {
                format!("{} {size} {}", listed.entry.cid, listed.entry.name)
            }
            ref other => panic!("{other:?}"),
        })
        .collect();
    listed.sort();
    let theirs = kubo.run(&["ls", &many]);
    // Columns are padded.
    let mut theirs: Vec<String> = theirs
        .lines()
        .map(|line| {
            let (cid, rest) = line.split_once(' ').unwrap();
            let (size, name) = rest.trim_start().split_once(' ').unwrap();
            format!("{cid} {size} {}", name.trim_start())
        })
        .collect();
    theirs.sort();
    assert_eq!(listed, theirs);
    let resolved = node.unixfs().resolve(format!("{many}/more 1499")).await.unwrap();
    assert_eq!(kubo.run(&["resolve", &format!("{many}/more 1499")]), format!("/ipfs/{resolved}"));

    // References.
    for (flags, unique, max_depth) in [
        (&["-r"][..], false, None),
        (&["-r", "-u"], true, None),
        (&[], false, Some(1)),
        (&["-r", "--max-depth=2"], false, Some(2)),
        (&["-r", "-u", "--max-depth=3"], true, Some(3)),
    ] {
        let format = ["--format", "<src> <dst> <linkname>", &roots[0]];
        let theirs = kubo.run(&[&["refs"], flags, &format[..]].concat());
        let mut options = WalkOptions::default();
        (options.unique, options.max_depth) = (unique, max_depth);
        let edges = node.dag().walk_with(&cids[..1], options).edges();
        let ours: Vec<String> = edges
            .map_ok(|edge| format!("{} {} {}", edge.from, edge.to, edge.name))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(ours.join("\n").trim(), theirs, "{flags:?}");
    }

    // Sizes.
    let stat = node.dag().stat(&cids).await.unwrap();
    let args = ["dag", "stat", "--progress=false", "--enc=json", &roots[0], &roots[1]];
    let theirs: serde_json::Value = serde_json::from_str(&kubo.run(&args)).unwrap();
    assert_eq!(theirs["UniqueBlocks"], stat.unique_blocks);
    assert_eq!(theirs["TotalSize"], stat.unique_bytes);
    assert_eq!(theirs["SharedSize"], stat.shared_bytes());
    for (theirs, ours) in std::iter::zip(theirs["DagStats"].as_array().unwrap(), &stat.roots) {
        assert_eq!(theirs["Cid"], ours.cid.to_string());
        assert_eq!(
            (&theirs["NumBlocks"], &theirs["Size"]),
            (&ours.blocks.into(), &ours.bytes.into())
        );
    }
}

/// Files that nobody makes any more.
#[tokio::test(flavor = "multi_thread")]
async fn odd_files_that_kubo_reads_are_read() {
    let Some(program) = program() else { return };
    let kubo = Kubo::new(&program);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::builder().offline().spawn().await.unwrap();
    let mut all = Vec::new();
    let mut make = |codec, data: Vec<u8>| {
        let block = Block::of(codec, codes::SHA2_256, data, node.hashes()).unwrap();
        all.push(block.clone());
        *block.cid()
    };
    let mut file = |parts: &[Cid], data: NewData<'_>| {
        let links: Vec<Link<'_>> =
            parts.iter().map(|cid| Link { cid: *cid, name: Some(b""), tsize: Some(9) }).collect();
        make(codes::DAG_PB, dagpb::encode(links, Some(&data.encode())))
    };
    let of = |kind, content: &'static [u8], file_size, block_sizes: &[u64]| NewData {
        content: (!content.is_empty()).then_some(content),
        file_size,
        block_sizes: block_sizes.to_vec(),
        ..NewData::of(kind)
    };
    let leaf = file(&[], of(Kind::File, b"abcde", Some(5), &[]));
    let raw_kind = file(&[], of(Kind::Raw, b"ABCDEFG", Some(7), &[]));
    let sizeless = file(&[], of(Kind::File, b"xyz", None, &[]));
    let empty = file(&[], of(Kind::File, b"", Some(0), &[]));
    let meta = file(&[leaf], of(Kind::Metadata, b"", None, &[]));
    let inner = file(&[raw_kind, leaf], of(Kind::Raw, b"", Some(12), &[7, 5]));
    let nothing = file(&[inner, sizeless, leaf], of(Kind::File, b"", None, &[]));
    let roots = [
        leaf,
        raw_kind,
        sizeless,
        empty,
        meta,
        inner,
        nothing,
        file(&[empty, leaf, empty], of(Kind::File, b"", Some(5), &[0, 5, 0])),
        file(&[leaf, sizeless], of(Kind::File, b"", None, &[5, 3])),
        file(&[leaf, raw_kind], of(Kind::File, b"", Some(12), &[])),
        file(&[meta, nothing], of(Kind::File, b"", Some(25), &[5, 20])),
        file(&[nothing, meta], of(Kind::File, b"", None, &[])),
        file(&[meta], of(Kind::Metadata, b"", None, &[])),
        file(&[Cid::new_v0(*leaf.hash()).unwrap(), leaf], of(Kind::File, b"", Some(10), &[5, 5])),
    ];
    let top = file(&roots, NewData::of(Kind::Directory));
    for block in all {
        node.blocks().put(block).await.unwrap();
    }
    let car = folder.path().join("odd.car");
    let out = AllowStdIo::new(fs::File::create(&car).unwrap());
    node.dag().export(&[top], out).await.unwrap();
    kubo.run(&["dag", "import", text(&car)]);
    for root in roots {
        let theirs = kubo.command(&["cat", &root.to_string()]).output().unwrap();
        assert!(theirs.status.success(), "{root}");
        let mut ours = Vec::new();
        node.unixfs().open(&root).await.unwrap().read_to_end(&mut ours).await.unwrap();
        assert_eq!(ours, theirs.stdout, "{root}");
    }
}
