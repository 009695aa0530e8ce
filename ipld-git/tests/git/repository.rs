//! Whole repositories: those of other projects' suites, and what is written back.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use ipld_git::{
    CommitBuilder, Kind, Mode, Object, ObjectFormat, PersonBuf, TagBuilder, TreeBuilder, Walk,
    blob, cid_of, decode_as, deflate, encode_as,
    repository::{Error, Limits, NewRepository, Repository},
};

use crate::{
    made, memory,
    peers::{git, objects},
    support::{self, Case, Report, bytes, text},
};

fn format(name: &str) -> ObjectFormat {
    match name {
        "sha1" => ObjectFormat::Sha1,
        "sha256" => ObjectFormat::Sha256,
        other => panic!("object format {other}"),
    }
}

/// Puts what an archive or a pack holds into `folder`, and says where the repository is.
fn unpack(case: &Case, folder: &Path) -> PathBuf {
    let name = case.id();
    let file = bytes(&format!("git/repos/{name}"));
    if name.ends_with(".pack") {
        let new = NewRepository::create(folder, format(&case["object_format"])).unwrap();
        let index = name.replace(".pack", ".idx");
        fs::write(new.path().join("objects/pack").join(name), file).unwrap();
        let content = bytes(&format!("git/repos/{index}"));
        fs::write(new.path().join("objects/pack").join(index), content).unwrap();
        return folder.into();
    }
    let reader: Box<dyn io::Read> = match name.ends_with("gz") {
        true => Box::new(flate2::read::GzDecoder::new(&file[..])),
        false => Box::new(&file[..]),
    };
    tar::Archive::new(reader).unpack(folder).unwrap();
    find(folder).unwrap_or_else(|| panic!("{name}: there is no repository in it"))
}

/// The directory below `folder` that can be opened.
fn find(folder: &Path) -> Option<PathBuf> {
    if folder.join("objects").is_dir() && folder.join("HEAD").is_file() {
        return Some(folder.into());
    }
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).find_map(|path| find(&path))
}

#[test]
fn repositories() {
    let mut report = Report::new("git/repos.tsv");
    for case in support::table("git/repos.tsv") {
        let folder = tempfile::tempdir().unwrap();
        let path = unpack(&case, folder.path());
        report.ran(case.id(), check(&case, &path));
    }
    report.finish();
}

fn check(case: &Case, path: &Path) -> Result<(), String> {
    let repository = Repository::open(path).map_err(|error| error.to_string())?;
    if repository.format() != format(&case["object_format"]) {
        return Err(format!("its format is {}", repository.format()));
    }
    let (mut ids, mut same) = (BTreeSet::new(), true);
    let found = repository
        .export(&Limits::default(), |cid, object| {
            let value = decode_as(repository.format(), &object).unwrap();
            same &= encode_as(repository.format(), &value).unwrap() == object;
            ids.insert(ipld_git::id_of(&cid).unwrap().to_string());
            Ok::<(), Error>(())
        })
        .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?;
    if !same {
        return Err("a value gives other bytes".into());
    }
    let expected: BTreeSet<String> =
        text(&format!("git/repos/{}.oids", case.id())).lines().map(str::to_owned).collect();
    if ids != expected {
        return Err(format!("{} objects, of {}", ids.len(), expected.len()));
    }
    let counts = [found.objects(), found.commits, found.trees, found.blobs, found.tags];
    let columns = ["objects", "commits", "trees", "blobs", "tags"];
    match counts.map(|count| count.to_string()) == columns.map(|column| case[column].to_owned()) {
        true => Ok(()),
        false => Err(found.to_string()),
    }
}

/// What was written can be read, by git too, and is the same.
#[test]
fn a_repository_comes_back() {
    for case in support::table("git/repos.tsv") {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = unpack(&case, from.path());
        let from = Repository::open(&path).unwrap();
        let new = NewRepository::create(to.path(), from.format()).unwrap();
        from.export(&Limits::default(), |cid, object| {
            assert_eq!(cid_of(&new.write(&object)?), cid);
            // Another time it is there already.
            assert_eq!(cid_of(&new.write(&object)?), cid);
            Ok::<(), Error>(())
        })
        .unwrap();
        let references = from.references().unwrap();
        for (name, id) in &references {
            new.set_reference(name, id).unwrap();
        }
        let shallow = from.shallow().unwrap();
        new.set_shallow(&shallow).unwrap();
        let to = Repository::open(to.path()).unwrap();
        assert_eq!(to.shallow().unwrap(), shallow);
        assert_eq!(to.references().unwrap(), references, "{}", case.id());
        let all = |repository: &Repository| {
            repository.ids().unwrap().map(|id| id.unwrap()).collect::<BTreeSet<_>>()
        };
        assert_eq!(all(&to), all(&from), "{}", case.id());
        if let Some(git) = git() {
            // Some of these are odd on purpose, or lack objects.
            let checked = |path: &Path| git.in_folder(path).says(&["fsck", "--full", "--strict"]);
            let (before, after) = (checked(&path), checked(new.path()));
            assert_eq!(after.0, before.0, "{}: {before:?}, {after:?}", case.id());
            println!("{}: git fsck is content: {}", case.id(), after.0);
            let listed = git.in_folder(new.path()).run(&[
                "cat-file",
                "--batch-all-objects",
                "--batch-check=%(objectname)",
            ]);
            assert_eq!(listed.lines().count(), all(&from).len(), "{}", case.id());
        }
    }
}

/// Loose objects and packs with deltas, as git itself makes them.
#[test]
fn what_git_has_is_what_is_read() {
    let Some(git) = git() else { return println!("git is not here") };
    let folder = tempfile::tempdir().unwrap();
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let path = folder.path().join(format.to_string());
        let made = made::repository(&git, &path, format);
        let repository = Repository::open(&path).unwrap();
        let dumped = objects(&made.dump());
        assert_eq!(repository.ids().unwrap().count(), dumped.len());
        for (id, bytes) in &dumped {
            assert!(repository.read(&id.parse().unwrap()).unwrap() == *bytes, "{id}");
        }
        let shown = made.run(&["show-ref"]);
        let ours = repository.references().unwrap();
        let ours: Vec<String> = ours.iter().map(|(name, id)| format!("{id} {name}")).collect();
        assert_eq!(ours, shown.lines().collect::<Vec<_>>());
        let head = made.run(&["rev-parse", "HEAD"]);
        assert_eq!(repository.head().unwrap().unwrap().to_string(), head.trim_end());
        let deltas = made.run(&["count-objects", "-v"]);
        assert!(!deltas.contains("in-pack: 0") && !deltas.contains("count: 0"), "{deltas}");
        // A linked work tree has its own HEAD, and shares all else.
        let linked = folder.path().join(format!("{format}-linked"));
        made.run(&["worktree", "add", "-q", "--detach", linked.to_str().unwrap(), "HEAD~1"]);
        let linked = Repository::open(&linked).unwrap();
        let parent = made.run(&["rev-parse", "HEAD~1"]);
        assert_eq!(linked.head().unwrap().unwrap().to_string(), parent.trim_end());
        assert_eq!(linked.references().unwrap(), repository.references().unwrap());
    }
}

#[test]
fn references_are_found_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let new = NewRepository::create(folder.path(), ObjectFormat::Sha1).unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    assert_eq!(repository.head_reference().unwrap().as_deref(), Some("refs/heads/main"));
    assert_eq!(repository.head().unwrap(), None);
    let (one, two) = (new.write(&blob(b"one")).unwrap(), new.write(&blob(b"two")).unwrap());
    let packed =
        format!("# pack-refs with: peeled\n{one} refs/heads/main\n{one} refs/tags/a\n^{two}\n");
    fs::write(folder.path().join("packed-refs"), packed).unwrap();
    new.set_reference("refs/heads/main", &two).unwrap();
    fs::create_dir_all(folder.path().join("refs/remotes/origin")).unwrap();
    let symbolic = |name: &str, text: &str| {
        fs::write(folder.path().join("refs/remotes/origin").join(name), text).unwrap();
    };
    symbolic("HEAD", "ref: refs/heads/main\n");
    symbolic("loop", "ref: refs/remotes/origin/loop\n");
    symbolic("gone", "ref: refs/heads/gone\n");
    let references = repository.references().unwrap();
    let expected =
        [("refs/heads/main", two), ("refs/remotes/origin/HEAD", two), ("refs/tags/a", one)];
    let found: Vec<_> = references.iter().map(|(name, id)| (name.as_str(), *id)).collect();
    assert_eq!(found, expected);
    assert_eq!(repository.head().unwrap(), Some(two));
    fs::write(folder.path().join("HEAD"), format!("{one}\n")).unwrap();
    assert_eq!(repository.head().unwrap(), Some(one));
    assert_eq!(repository.head_reference().unwrap(), None);
    symbolic("bad", "what?");
    assert!(matches!(repository.references(), Err(Error::Unsupported { .. })));
}

#[test]
fn large_objects_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let new = NewRepository::create(folder.path(), ObjectFormat::Sha1).unwrap();
    let ids = [10, 1000, 5000].map(|size| new.write(&blob(&vec![7; size])).unwrap());
    let repository = Repository::open(folder.path()).unwrap();
    let mut seen = Vec::new();
    let report = repository
        .export(&Limits { exchange: 500, store: 4000 }, |cid, object| {
            seen.push((cid, object.len()));
            Ok::<(), Error>(())
        })
        .unwrap();
    seen.sort_by_key(|(_, size)| *size);
    assert_eq!(seen, [(cid_of(&ids[0]), 18), (cid_of(&ids[1]), 1010)]);
    assert_eq!(report.not_exchangeable, [(cid_of(&ids[1]), 1010)]);
    assert_eq!(report.left_out, [(cid_of(&ids[2]), 5000)]);
    assert_eq!((report.objects(), report.bytes), (2, 1028));
    let text = report.to_string();
    assert!(text.contains("has 1010 bytes: too large to be exchanged"), "{text}");
    assert!(text.contains("has 5000 bytes: left out"), "{text}");
}

/// Damage on disk is an error, and not data.
#[test]
fn damaged_objects_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let new = NewRepository::create(folder.path(), ObjectFormat::Sha1).unwrap();
    let id = new.write(&blob(b"content")).unwrap();
    let hex = id.to_string();
    let file = folder.path().join("objects").join(&hex[..2]).join(&hex[2..]);
    let repository = Repository::open(folder.path()).unwrap();
    assert_eq!(repository.read(&id).unwrap(), blob(b"content"));
    assert_eq!(repository.header(&id).unwrap(), (Kind::Blob, 7));
    for other in [deflate(&blob(b"other")), b"no zlib".to_vec(), Vec::new(), deflate(b"blob 7\0")] {
        fs::write(&file, other).unwrap();
        let again = Repository::open(folder.path()).unwrap();
        assert!(matches!(again.read(&id), Err(Error::Damaged { .. })), "{:?}", again.read(&id));
        let sent = again.export(&Limits::default(), |_, _| Ok::<(), Error>(()));
        assert!(sent.is_err());
    }
    // Few bytes that say they are few, and inflate to many.
    let bomb = deflate(&[&b"blob 7\0"[..], &vec![0; 64 << 20]].concat());
    fs::write(&file, &bomb).unwrap();
    let (read, held) =
        memory::peak(|| Repository::open(folder.path()).unwrap().read(&id).map(drop));
    assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
    assert!(held < 8 << 20, "{held}");
    let absent = ObjectFormat::Sha1.hash(&blob(b"absent")).unwrap();
    assert!(matches!(repository.read(&absent), Err(Error::Missing(id)) if id == absent));
}

/// A pack and its index with a byte changed at a time: all that is handed over is what its id says.
#[test]
fn damaged_packs_are_refused() {
    let name = "git/repos/pack-63bbc2e1bde392e2205b30fa3584ddb14ef8bd41";
    let (pack, index) = (bytes(&format!("{name}.pack")), bytes(&format!("{name}.idx")));
    let folder = tempfile::tempdir().unwrap();
    NewRepository::create(folder.path(), ObjectFormat::Sha1).unwrap();
    let packs = folder.path().join("objects/pack");
    let name = name.rsplit('/').next().unwrap();
    let (mut whole, mut refused) = (0, 0);
    let mut tried = |pack: &[u8], index: &[u8]| {
        fs::write(packs.join(format!("{name}.pack")), pack).unwrap();
        fs::write(packs.join(format!("{name}.idx")), index).unwrap();
        let repository = Repository::open(folder.path()).unwrap();
        let sent = repository.export(&Limits::default(), |cid, object| {
            let id = ObjectFormat::Sha1.hash(&object).unwrap();
            assert_eq!(cid_of(&id), cid);
            Ok::<(), Error>(())
        });
        match sent {
            Ok(_) => whole += 1,
            Err(Error::Damaged { .. } | Error::Database(_) | Error::Missing(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    };
    tried(&pack, &index);
    let changed = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x41;
        bytes
    };
    for at in (0..index.len()).step_by(13) {
        tried(&pack, &changed(&index, at));
    }
    for at in (0..pack.len()).step_by(997) {
        tried(&changed(&pack, at), &index);
    }
    for len in (0..pack.len()).step_by(4999) {
        tried(&pack[..len], &index);
    }
    for len in (0..index.len()).step_by(97) {
        tried(&pack, &index[..len]);
    }
    println!("{whole} whole, {refused} refused");
    assert!(whole > 0 && refused > 100);
}

/// What builders make passes git's strict checks.
#[test]
fn git_accepts_what_is_built() {
    let Some(git) = git() else { return println!("git is not here") };
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let folder = tempfile::tempdir().unwrap();
        let new = NewRepository::create(folder.path(), format).unwrap();
        let file = new.write(&blob(b"content\n")).unwrap();
        let mut entries = TreeBuilder::new(format);
        for (mode, name) in [
            (Mode::LINK, "z"),
            (Mode::FILE, "a.b"),
            (Mode::EXECUTABLE, "a0"),
            (Mode::FILE, "\u{e9}"),
            (Mode::FILE, "b c"),
        ] {
            entries.push(mode, name, file);
        }
        let inner = new.write(&entries.build().unwrap()).unwrap();
        entries.push(Mode::TREE, "a", inner);
        entries.push(Mode::SUBMODULE, "sub", format.hash(b"elsewhere").unwrap());
        let tree = new.write(&entries.build().unwrap()).unwrap();
        let me = PersonBuf::new("A U Th\u{f6}r", "author@example.com", 1_700_000_000, -450);
        let tag = TagBuilder::new(tree, Kind::Tree, "t").tagger(me.clone()).message("a tag\n");
        let tag = tag.build().unwrap();
        let first = CommitBuilder::new(tree, me.clone(), me.clone()).message("first\n");
        let first = new.write(&first.build().unwrap()).unwrap();
        let merge = CommitBuilder::new(tree, me.clone(), me.clone())
            .parent(first)
            .header("change-id", "a\nb")
            .mergetag(&tag[tag.iter().position(|byte| *byte == 0).unwrap() + 1..])
            .signature("-----BEGIN SSH SIGNATURE-----\na\n-----END SSH SIGNATURE-----")
            .message("second\n\nwith a body\n");
        let merge = new.write(&merge.build().unwrap()).unwrap();
        let tagged = TagBuilder::new(merge, Kind::Commit, "v1").tagger(me).message("all\n");
        let tagged = new.write(&tagged.build().unwrap()).unwrap();
        new.write(&tag).unwrap();
        new.set_reference("refs/heads/main", &merge).unwrap();
        new.set_reference("refs/tags/v1", &tagged).unwrap();
        let git = git.in_folder(folder.path());
        let (content, said) = git.says(&["fsck", "--strict", "--full"]);
        assert!(content, "{format}: {said}");
        let shown = git.run(&["log", "--format=%an|%ae|%at|%s", "main"]);
        let line = "A U Th\u{f6}r|author@example.com|1700000000|";
        assert_eq!(shown, format!("{line}second\n{line}first\n"));
        assert_eq!(git.run(&["ls-tree", "--name-only", "-z", "main"]), {
            "a.b\0a\0a0\0b c\0sub\0z\0\u{e9}\0"
        });
    }
}

#[test]
fn only_objects_are_written_and_only_into_an_empty_place() {
    let folder = tempfile::tempdir().unwrap();
    let new = NewRepository::create(folder.path().join("new"), ObjectFormat::Sha1).unwrap();
    assert!(matches!(new.write(b"blob 3\0four"), Err(Error::Object(_))));
    assert!(matches!(new.write(b"tree 1\0x"), Err(Error::Object(_))));
    let again = NewRepository::create(folder.path().join("new"), ObjectFormat::Sha1);
    assert!(matches!(again, Err(Error::Io { .. })));
    assert!(matches!(Repository::open(folder.path()), Err(Error::NotFound(_))));
    assert!(matches!(new.set_reference("refs/../x", &blob_id()), Err(Error::Reference(_))));
}

fn blob_id() -> ipld_git::ObjectId {
    ObjectFormat::Sha1.hash(&blob(b"")).unwrap()
}

/// A walk visits each object once, and skips what belongs to other repositories if it is told to.
#[test]
fn a_walk_can_skip_submodules_and_history() {
    let format = ObjectFormat::Sha256;
    let file = blob(b"a");
    let file_id = format.hash(&file).unwrap();
    let other = format.hash(b"commit of another repository").unwrap();
    let tree = TreeBuilder::new(format)
        .entry(Mode::FILE, "a", file_id)
        .entry(Mode::FILE, "b", file_id)
        .entry(Mode::SUBMODULE, "c", other)
        .build()
        .unwrap();
    let tree_id = format.hash(&tree).unwrap();
    let me = PersonBuf::new("A", "a@b", 1, 0);
    let commit = CommitBuilder::new(tree_id, me.clone(), me).build().unwrap();
    let commit_id = format.hash(&commit).unwrap();
    let me = PersonBuf::new("A", "a@b", 2, 0);
    let next = CommitBuilder::new(tree_id, me.clone(), me).parent(commit_id).build().unwrap();
    let next_id = format.hash(&next).unwrap();
    let store = [(file_id, file), (tree_id, tree), (commit_id, commit), (next_id, next)];
    let visit = |mut walk: Walk| {
        let mut visited = Vec::new();
        while let Some(id) = walk.next_wanted() {
            visited.push(id);
            if let Some((_, object)) = store.iter().find(|(known, _)| *known == id) {
                walk.add(&id, &Object::parse(format, object).unwrap());
            }
        }
        (visited.len(), walk.submodules().copied().collect::<Vec<_>>())
    };
    assert_eq!(visit(Walk::new([next_id])), (5, vec![]));
    assert_eq!(visit(Walk::new([next_id]).without_submodules()), (4, vec![other]));
    let shallow = Walk::new([next_id]).without_submodules().shallow([next_id]);
    assert_eq!(visit(shallow), (3, vec![other]));
}
