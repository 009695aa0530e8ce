//! The project's side of the comparison with go-ipld-git, on a dump of `git cat-file --batch`.
//!
//! `choose DUMP LINES OUT` writes the objects that both sides read and write again as they are:
//! `LINES` is what go-ipld-git said of each. `time TIMES DUMP` prints the nanoseconds for an object
//! of each type, and a checksum of what was read; `allocations DUMP` how many there are for each.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::HashMap,
    error::Error,
    fs,
    io::{BufWriter, Write},
    time::Instant,
};

use ipld_git::{
    CommitBuilder, Kind, Object, ObjectFormat, ObjectId, Person, TagBuilder, TreeBuilder, blob,
    decode_as, links_as, with_header,
};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const FORMAT: ObjectFormat = ObjectFormat::Sha1;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// An object of a dump, as git hashes it.
struct Dumped {
    id: String,
    kind: Kind,
    bytes: Vec<u8>,
}

fn read(path: &str) -> Result<Vec<Dumped>> {
    let file = fs::read(path)?;
    let (mut rest, mut objects) = (&file[..], Vec::new());
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end])?;
        let [id, kind, size] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("{line:?} is not of a dump").into());
        };
        let kind = Kind::of_name(kind.as_bytes()).ok_or("no type of git's")?;
        let content = &rest[end + 1..][..size.parse()?];
        objects.push(Dumped { id: id.into(), kind, bytes: with_header(kind, content) });
        rest = &rest[end + 1 + content.len() + 1..];
    }
    Ok(objects)
}

/// A checksum of fields: of each its length and its last byte.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    fn text(&mut self, text: &[u8]) {
        self.add(text.len(), text.last().copied().unwrap_or_default());
    }

    fn add(&mut self, len: usize, last: u8) {
        self.0 = self.0.wrapping_mul(31).wrapping_add(len as u64);
        self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(last));
    }

    /// As the CID of the object: four bytes more.
    fn link(&mut self, id: &ObjectId) {
        self.add(id.as_bytes().len() + 4, id.as_bytes()[19]);
    }

    fn person(&mut self, person: &Person<'_>) {
        self.text(person.name);
        self.text(person.email);
        self.text(person.date);
        self.text(person.timezone);
    }

    /// Every field of an object; into `rest` what the other side cuts in another way.
    fn object(&mut self, object: &Object<'_>, rest: &mut Self) {
        match object {
            Object::Commit(commit) => {
                self.link(&commit.tree());
                commit.parents().for_each(|parent| self.link(&parent));
                commit.author().iter().for_each(|person| self.person(person));
                commit.committer().iter().for_each(|person| self.person(person));
                commit.encoding().iter().for_each(|encoding| self.text(encoding));
                self.text(commit.message());
                for header in commit.headers().skip(2) {
                    rest.text(&header.unfolded());
                }
                for tag in commit.mergetags() {
                    rest.link(&tag.object);
                    rest.text(tag.kind);
                    rest.text(tag.name);
                    tag.tagger.iter().for_each(|tagger| rest.person(tagger));
                    rest.text(tag.folded_message);
                }
            }
            Object::Tag(tag) => {
                self.link(&tag.object());
                self.text(tag.object_kind().name().as_bytes());
                self.text(tag.name());
                let nobody = Person { name: b"", email: b"", date: b"", timezone: b"" };
                self.person(&tag.tagger().unwrap_or(nobody));
                self.text(tag.message());
            }
            Object::Tree(tree) => tree.entries().for_each(|entry| {
                self.text(entry.name);
                self.text(entry.mode);
                self.link(&entry.id);
            }),
            Object::Blob(_) => {
                let bytes = object.bytes();
                self.add(bytes.len(), bytes[bytes.len() - 1]);
            }
        }
    }
}

/// The object, built anew from its fields. `None` if it has not all that a builder wants.
fn rebuild(object: &Object<'_>) -> Option<Vec<u8>> {
    match object {
        Object::Commit(commit) => {
            let mut new = CommitBuilder::new(commit.tree(), commit.author()?, commit.committer()?)
                .message(commit.message());
            for parent in commit.parents() {
                new = new.parent(parent);
            }
            for header in commit.headers() {
                new = match header.name {
                    b"author" | b"committer" => new,
                    b"encoding" => new.encoding(header.value),
                    b"gpgsig" => new.signature(header.unfolded()),
                    name => new.header(name, header.unfolded()),
                };
            }
            new.build().ok()
        }
        Object::Tag(tag) => {
            let new = TagBuilder::new(tag.object(), tag.object_kind(), tag.name());
            let new = new.message(tag.message());
            match tag.tagger() {
                Some(tagger) => new.tagger(tagger).build().ok(),
                None => new.build().ok(),
            }
        }
        Object::Tree(tree) => {
            let mut new = TreeBuilder::new(object.format());
            tree.entries().for_each(|entry| new.push(entry.mode(), entry.name, entry.id));
            new.build().ok()
        }
        Object::Blob(content) => Some(blob(content.content())),
    }
}

fn choose(dump: &str, lines: &str, out: &str) -> Result<()> {
    let lines = fs::read_to_string(lines)?;
    let said: HashMap<&str, &str> =
        lines.lines().filter_map(|line| Some((line.get(7..47)?, line))).collect();
    let (mut refused, mut changed, mut odd, mut chosen) = (0, 0, 0, 0);
    let mut out = BufWriter::new(fs::File::create(out)?);
    let mut objects = read(dump)?;
    // What is read together stands together, on both sides.
    objects.sort_by_key(|dumped| dumped.kind);
    for dumped in objects {
        let object = Object::parse(FORMAT, &dumped.bytes)?;
        let line = said.get(&dumped.id[..]).ok_or("an object is missing")?;
        if line.contains("\"error\":") {
            refused += 1;
        } else if !line.contains("\"same\":true") {
            changed += 1;
        } else if rebuild(&object).as_ref() != Some(&dumped.bytes) {
            odd += 1;
        } else {
            chosen += 1;
            let content = object.content();
            writeln!(out, "{} {} {}", dumped.id, dumped.kind, content.len())?;
            out.write_all(content)?;
            out.write_all(b"\n")?;
        }
    }
    println!(
        "{chosen} objects; go-ipld-git refused {refused} and changed {changed}; {odd} are odd"
    );
    Ok(())
}

fn timed(
    kind: Kind,
    what: &str,
    times: u32,
    objects: &[&Dumped],
    work: impl Fn(&mut Sum, &Dumped) -> Result<()>,
) -> Result<()> {
    let (mut sum, start) = (Sum::default(), Instant::now());
    for _ in 0..times {
        sum = Sum::default();
        for object in objects {
            work(&mut sum, object)?;
        }
    }
    let each = start.elapsed().as_nanos() as f64 / (f64::from(times) * objects.len() as f64);
    println!("{kind} {what} {each:.1} {} {}", objects.len(), sum.0);
    Ok(())
}

fn time(times: u32, dump: &str) -> Result<()> {
    each_kind(dump, |kind, objects| {
        timed(kind, "decode", times, objects, decode)?;
        timed(kind, "links", times, objects, links)?;
        timed(kind, "again", times, objects, again)?;
        timed(kind, "value", times, objects, value)
    })
}

fn each_kind(dump: &str, mut work: impl FnMut(Kind, &[&Dumped]) -> Result<()>) -> Result<()> {
    let objects = read(dump)?;
    for kind in [Kind::Commit, Kind::Tree, Kind::Tag, Kind::Blob] {
        let these: Vec<_> = objects.iter().filter(|object| object.kind == kind).collect();
        if !these.is_empty() {
            work(kind, &these)?;
        }
    }
    Ok(())
}

fn decode(sum: &mut Sum, dumped: &Dumped) -> Result<()> {
    let mut rest = Sum::default();
    sum.object(&Object::parse(FORMAT, &dumped.bytes)?, &mut rest);
    std::hint::black_box(rest.0);
    Ok(())
}

fn links(sum: &mut Sum, dumped: &Dumped) -> Result<()> {
    for cid in links_as(FORMAT, &dumped.bytes)? {
        sum.add(24, cid.hash().digest()[19]);
    }
    Ok(())
}

fn again(sum: &mut Sum, dumped: &Dumped) -> Result<()> {
    let built = rebuild(&Object::parse(FORMAT, &dumped.bytes)?).ok_or("it was chosen")?;
    sum.0 = sum.0.wrapping_mul(31).wrapping_add(std::hint::black_box(built).len() as u64);
    Ok(())
}

fn value(sum: &mut Sum, dumped: &Dumped) -> Result<()> {
    std::hint::black_box(decode_as(FORMAT, &dumped.bytes)?);
    sum.0 += 1;
    Ok(())
}

type Work = fn(&mut Sum, &Dumped) -> Result<()>;

fn allocations(dump: &str) -> Result<()> {
    each_kind(dump, |kind, objects| {
        let all: [(&str, Work); 4] =
            [("decode", decode), ("links", links), ("again", again), ("value", value)];
        for (what, work) in all {
            let (before, mut sum) = (ALLOCATIONS.get(), Sum::default());
            objects.iter().try_for_each(|object| work(&mut sum, object))?;
            let each = (ALLOCATIONS.get() - before) as f64 / objects.len() as f64;
            println!("{kind} {what} {each:.1}");
        }
        Ok(())
    })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["choose", dump, lines, out] => choose(dump, lines, out),
        ["time", times, dump] => time(times.parse()?, dump),
        ["allocations", dump] => allocations(dump),
        _ => Err("choose DUMP LINES OUT | time TIMES DUMP | allocations DUMP".into()),
    }
}
