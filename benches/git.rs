//! Reading git objects, and making them anew: a commit with a signature, and a tree of 100 entries.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, criterion_group, criterion_main};
use ipld_git::{
    CommitBuilder, Mode, Object, ObjectFormat, PersonBuf, TreeBuilder, blob, decode_as, encode_as,
    links_as,
};

const FORMAT: ObjectFormat = ObjectFormat::Sha1;

fn objects() -> [(&'static str, Vec<u8>); 2] {
    let id = FORMAT.hash(&blob(b"content")).expect("an id");
    let me = PersonBuf::new("A U Thor", "author@example.com", 1_700_000_000, 60);
    let line = "a".repeat(64) + "\n";
    let signature = format!("-----BEGIN SSH SIGNATURE-----\n{}", line.repeat(8));
    let commit = CommitBuilder::new(id, me.clone(), me).parent(id).signature(signature);
    let commit = commit.message("What it does\n\nAnd why.\n").build().expect("a commit");
    let mut tree = TreeBuilder::new(FORMAT);
    (0..100).for_each(|number| tree.push(Mode::FILE, format!("file-{number:03}.rs"), id));
    [("commit", commit), ("tree of 100", tree.build().expect("a tree"))]
}

/// Every field of it.
fn read(object: &Object<'_>) -> usize {
    match object {
        Object::Commit(commit) => {
            let people = [commit.author(), commit.committer()];
            let names: usize = people.iter().flatten().map(|person| person.name.len()).sum();
            names + commit.headers().map(|header| header.value.len()).sum::<usize>()
        }
        Object::Tree(tree) => tree.entries().map(|entry| entry.name.len()).sum(),
        _ => 0,
    }
}

fn git(c: &mut Criterion) {
    let mut group = c.benchmark_group("git");
    for (name, bytes) in objects() {
        let value = decode_as(FORMAT, &bytes).expect("a value");
        group.bench_function(format!("{name}/read"), |b| {
            b.iter(|| read(&Object::parse(FORMAT, &bytes).expect("an object")));
        });
        group.bench_function(format!("{name}/links"), |b| {
            b.iter(|| links_as(FORMAT, &bytes).expect("links").count());
        });
        group.bench_function(format!("{name}/decode"), |b| {
            b.iter(|| decode_as(FORMAT, &bytes).expect("a value"));
        });
        group.bench_function(format!("{name}/encode"), |b| {
            b.iter(|| encode_as(FORMAT, &value).expect("an object"));
        });
        group.bench_function(format!("{name}/hash"), |b| {
            b.iter(|| FORMAT.hash(&bytes).expect("an id"));
        });
    }
}

criterion_group!(benches, git);
criterion_main!(benches);
