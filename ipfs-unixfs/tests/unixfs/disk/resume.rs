//! Going on after a stop.

use super::*;
use crate::{content::chacha20, export::Watched};

/// A tree of three directories with files of several blocks each.
fn orchard(desk: &Desk) -> Block {
    let file_of = |i: u64| file(&chacha20(&format!("orchard {i}"), 2500));
    let names = ["a", "b", "c"].map(|name| (name, ()));
    let directory_of = |at: u64| {
        directory(names.map(|(name, ())| (name, file_of(at + u64::from(name.as_bytes()[0])))))
    };
    directory([("1", directory_of(1000)), ("2", directory_of(2000)), ("3", directory_of(3000))])
        .with(Some(0o750), at(99, None))
        .store(desk)
}

#[test]
fn only_what_is_missing_is_fetched_again() {
    let desk = Desk::new();
    let (folder, target) = target();
    let root = orchard(&desk);
    // The second leaf of the second file of the second directory.
    let lost = lose(&desk, &root, 4 * 3 + 1);
    let error = write(&desk, &root, &target, RESUME).unwrap_err();
    assert!(error.is_not_found());
    assert!(!target.exists());
    let left = names(folder.path());
    assert_eq!(left, BTreeSet::from([format!(".out.{}.partial3", root.cid())]));
    desk.run(desk.store.put_many(&[lost])).unwrap();

    let (exporter, asked) = Watched::exporter(&desk);
    let done = desk.run(exporter.write_with(root.cid(), &target, RESUME)).unwrap();
    assert_eq!((done.files, done.directories, done.bytes), (9, 4, 9 * 2500));
    assert_eq!(done.kept, 4, "the first directory, and the first file of the second");
    let asked = asked.lock().unwrap();
    let files = asked.keys().filter(|cid| cid.codec() == codes::RAW).count();
    assert_eq!(files, 5 * 3, "leaves of what was not there");
    drop(asked);

    let (_other, fresh) = self::target();
    write(&desk, &root, &fresh, Disk::default()).unwrap();
    assert_eq!(files_below(&target), files_below(&fresh));
    assert_eq!((mode(&target), fs::metadata(&target).unwrap().mtime()), (0o750, 99));
    assert_eq!(names(folder.path()).len(), 1);
}

/// Dropped, as by a host that goes away, in the middle.
#[test]
fn an_export_that_is_dropped_goes_on() {
    let desk = Desk::new();
    let (folder, target) = target();
    let root = orchard(&desk);
    for resume in [false, true] {
        let lost = lose(&desk, &root, 20);
        let waiting = Exporter::new(
            Arc::new(Never(Local(desk.store.clone()))),
            Arc::new(desk.runtime.clone()),
        );
        let options = Disk { resume, ..Disk::default() };
        desk.run(async {
            let mut export = waiting.write_with(root.cid(), &target, options);
            // Until it waits for what never comes.
            while futures::poll!(export.next()).is_ready() {}
            desk.runtime.sleep(std::time::Duration::from_secs(1)).await;
            while futures::poll!(export.next()).is_ready() {}
        });
        settle(&desk);
        assert_eq!(names(folder.path()).len(), usize::from(resume));
        desk.run(desk.store.put_many(&[lost])).unwrap();
    }
    let done = write(&desk, &root, &target, RESUME).unwrap();
    assert_eq!((done.files, done.directories), (9, 4));
    assert_eq!(names(folder.path()).len(), 1);
}

/// A source that never says that a block is not there.
#[derive(Debug)]
struct Never(Local<Arc<MemoryStore>>);

#[async_trait]
impl BlockSource for Never {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.0.get(cid).await
    }
    fn get_many(&self, cids: BoxStream<'static, Cid>) -> BoxStream<'static, (Cid, Result<Block>)> {
        let got = self.0.get_many(cids).filter(|(_, block)| std::future::ready(block.is_ok()));
        got.chain(futures::stream::pending()).boxed()
    }
}

/// What an export that stops has left.
fn stopped(desk: &Desk, root: &Block, target: &Path, nth: usize) -> PathBuf {
    let lost = lose(desk, root, nth);
    write(desk, root, target, RESUME).unwrap_err();
    desk.run(desk.store.put_many(&[lost])).unwrap();
    let name = target.file_name().unwrap().to_str().unwrap();
    target.with_file_name(format!(".{name}.{}.partial3", root.cid()))
}

#[test]
fn what_a_loss_of_power_cut_off_is_fetched_again() {
    let desk = Desk::new();
    let (_folder, target) = target();
    let root = directory([("a", file(b"whole")), ("z", file(&[7; 3000]))]).store(&desk);
    let partial = stopped(&desk, &root, &target, 2);
    fs::write(partial.join("tree/a"), "").unwrap();
    let done = write(&desk, &root, &target, RESUME).unwrap();
    assert_eq!((fs::read(target.join("a")).unwrap(), done.kept), (b"whole".to_vec(), 0));
}

/// Directories that are whole have their modes, by which not even their owner may enter them. (Whoever
/// runs this as root will not see it fail.)
#[test]
fn directories_that_are_locked_are_entered_again() {
    let desk = Desk::new();
    let (folder, target) = target();
    let locked = directory([("f", file(b"x"))]).with(Some(0o1000), None);
    let within = directory([("d", locked)]).with(Some(0o200), at(5, None));
    let tree = directory([("a", within), ("z", file(&[7; 3000]))]);
    let root = tree.store(&desk);
    let partial = stopped(&desk, &root, &target, 2);
    assert_eq!(mode(&partial.join("tree/a")), 0o200);
    let done = write(&desk, &root, &target, RESUME).unwrap();
    assert_eq!((done.directories, done.kept), (3, 1));
    assert_eq!(mode(&target.join("a")), 0o200);
    assert_eq!(fs::metadata(target.join("a")).unwrap().mtime(), 5);
    // What cannot be looked into can be removed.
    let small = file(b"small").store(&desk);
    write(&desk, &small, &target, Disk { replace: true, ..Disk::default() }).unwrap();
    assert_eq!(names(folder.path()).len(), 1);
}

/// Where anyone may write, anyone may put a folder of that name.
#[test]
fn what_others_may_have_written_is_not_taken_over() {
    let desk = Desk::new();
    let (_folder, target) = target();
    let root = orchard(&desk);
    let partial = stopped(&desk, &root, &target, 10);
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o720)).unwrap();
    assert!(matches!(write(&desk, &root, &target, RESUME), Err(Error::InUse(_))));
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o700)).unwrap();
    // A link in its place is not followed either.
    let aside = partial.with_file_name("aside");
    fs::rename(&partial, &aside).unwrap();
    symlink(&aside, &partial).unwrap();
    assert!(write(&desk, &root, &target, RESUME).is_err());
    assert!(aside.join("tree").exists());
    fs::remove_file(&partial).unwrap();
    fs::rename(&aside, &partial).unwrap();
    // What was added to it is seen.
    fs::write(partial.join("tree/1/stranger"), "").unwrap();
    assert!(matches!(write(&desk, &root, &target, RESUME), Err(Error::Malformed { .. })));
    assert!(!target.exists());
}

#[test]
fn one_export_at_a_time_goes_on() {
    let desk = Desk::new();
    let (folder, target) = target();
    let root = orchard(&desk);
    let lost = lose(&desk, &root, 10);
    let waiting =
        Exporter::new(Arc::new(Never(Local(desk.store.clone()))), Arc::new(desk.runtime.clone()));
    desk.run(async {
        let mut first = waiting.write_with(root.cid(), &target, RESUME);
        for _ in 0..5 {
            while futures::poll!(first.next()).is_ready() {}
            desk.runtime.sleep(std::time::Duration::from_secs(1)).await;
        }
        let second = desk.exporter().write_with(root.cid(), &target, RESUME).await;
        assert!(matches!(second, Err(Error::InUse(_))));
    });
    settle(&desk);
    desk.run(desk.store.put_many(&[lost])).unwrap();
    write(&desk, &root, &target, RESUME).unwrap();
    assert_eq!(names(folder.path()).len(), 1);
}
