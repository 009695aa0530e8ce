//! Migrations, cut off at every point.

use std::collections::BTreeMap;

use ipfs_blockstore::files::Disk;
use libp2p_identity::Keypair;

use super::*;
use crate::{
    Key,
    data_dir::DataDir,
    faulty::{Faulty, TakenOut},
    numbers::Numbers,
};

const FOLDER: &str = "/node";

/// Two steps that change, make and remove. What they add is added twice if it is not taken back
/// before they are taken again.
const TWO: &[Step] = &[
    Step {
        changes: &["old", "state.redb", "tree"],
        run: |files, folder| {
            done(append(files, &folder.join("state.redb"), b"+2"))?;
            done(append(files, &folder.join("tree/a"), b"+2"))?;
            done(files.create(&folder.join("tree/c"), b"c"))?;
            done(files.sync_file(&folder.join("tree/c")))?;
            done(files.remove(&folder.join("tree/b")))?;
            done(files.remove(&folder.join("old")))?;
            done(files.sync_dir(&folder.join("tree")))?;
            done(files.sync_dir(folder))
        },
    },
    Step {
        changes: &["new", "state.redb"],
        run: |files, folder| {
            done(append(files, &folder.join("state.redb"), b"+3"))?;
            match files.create_dir(&folder.join("new")) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => done(made)?,
            }
            done(files.create(&folder.join("new/d"), b"d"))?;
            done(files.sync_file(&folder.join("new/d")))?;
            done(files.sync_dir(&folder.join("new")))?;
            done(files.sync_dir(folder))
        },
    },
];

/// What is there with each version.
const WITH_1: [(&str, &str); 4] =
    [("old", "old"), ("state.redb", "state"), ("tree/a", "a"), ("tree/b", "b")];
const WITH_2: [(&str, &str); 3] = [("state.redb", "state+2"), ("tree/a", "a+2"), ("tree/c", "c")];
const WITH_3: [(&str, &str); 4] =
    [("new/d", "d"), ("state.redb", "state+2+3"), ("tree/a", "a+2"), ("tree/c", "c")];

fn done<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(failed("migrate", Path::new(FOLDER)))
}

/// In place, as a database writes.
fn append(files: &dyn Files, path: &Path, more: &[u8]) -> io::Result<()> {
    let file = files.open(path, Open::Existing)?;
    file.write_at(more, file.len()?)?;
    file.sync()
}

fn open(files: &Faulty, steps: &[Step]) -> Result<DataDir> {
    DataDir::open_on(files, FOLDER.into(), None, &Migration { steps, allowed: true })
}

/// A folder of version 1.
fn first(taken_out: TakenOut) -> Faulty {
    let files = Faulty::new(Path::new(FOLDER), false, TakenOut::Nothing);
    drop(open(&files, &[]).unwrap());
    let folder = Path::new(FOLDER);
    files.create_dir(&folder.join("tree")).unwrap();
    for (name, content) in WITH_1 {
        files.create(&folder.join(name), content.as_bytes()).unwrap();
        files.sync_file(&folder.join(name)).unwrap();
    }
    files.sync_dir(&folder.join("tree")).unwrap();
    files.sync_dir(folder).unwrap();
    files.take_out(taken_out);
    files
}

/// The files below a folder, but for those that every version has.
fn content(files: &dyn Files, folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, kind) in entries(files, folder).unwrap() {
        let path = folder.join(&name);
        let is_ours = [VERSION_FILE, "identity", "lock"].contains(&&*name);
        if is_ours || name.ends_with(".partial") || name.starts_with("backup-v") {
            continue;
        }
        match kind {
            Kind::File => {
                let content = String::from_utf8(files.read(&path).unwrap()).unwrap();
                found.insert(name, content);
            }
            Kind::Folder => {
                let below = content(files, &path).into_iter();
                found.extend(below.map(|(below, content)| (format!("{name}/{below}"), content)));
            }
        }
    }
    found
}

fn check(files: &Faulty, folder: &str, expected: &[(&str, &str)]) -> Result<(), String> {
    let found = content(files, Path::new(folder));
    let found: Vec<(&str, &str)> = found.iter().map(|(name, it)| (&**name, &**it)).collect();
    match found == expected {
        true => Ok(()),
        false => Err(format!("{folder}: {found:?}, expected {expected:?}")),
    }
}

fn version(files: &Faulty) -> Version {
    Version::read(files, Path::new(FOLDER), 3).unwrap().unwrap()
}

/// All is as the steps leave it, with what was before in the backups.
fn check_third(files: &Faulty) -> Result<(), String> {
    check(files, FOLDER, &WITH_3)?;
    check(files, "/node/backup-v1", &WITH_1)?;
    check(files, "/node/backup-v2", &WITH_2[..1])?;
    match version(files) == Version::of(3) {
        true => Ok(()),
        false => Err(format!("{:?}", version(files))),
    }
}

#[test]
fn steps_lead_to_the_newest_version_and_leave_what_was() {
    let files = first(TakenOut::Nothing);
    let name = open(&files, TWO).unwrap().identity.public();
    check_third(&files).unwrap();
    let backed_up = files.read(Path::new("/node/backup-v1/node.version")).unwrap();
    assert_eq!(backed_up, b"ipfs-core data directory\n1\n");
    // It is opened as before, and by who knows less not at all.
    assert_eq!(open(&files, TWO).unwrap().identity.public(), name);
    check_third(&files).unwrap();
    let older = open(&files, &TWO[..1]);
    assert!(matches!(older, Err(Error::Newer { found: 3, known: 2, .. })), "{older:?}");
}

#[test]
fn a_folder_is_not_migrated_unless_it_may_be() {
    let files = first(TakenOut::Nothing);
    let refusing = Migration { steps: TWO, allowed: false };
    let refused = DataDir::open_on(&files, FOLDER.into(), None, &refusing);
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    check(&files, FOLDER, &WITH_1).unwrap();
    assert!(entries(&files, Path::new("/node/backup-v1")).unwrap().is_empty());
    drop(open(&files, TWO).unwrap());
    drop(DataDir::open_on(&files, FOLDER.into(), None, &refusing).unwrap());
}

/// The process is killed, or the power lost, before a call of a migration.
fn cut_off(files: &Faulty, call: u64, seed: u64) -> Result<(), String> {
    let files = files.after_kill();
    files.crash_at(call);
    let cut = open(&files, TWO);
    assert!(cut.is_err(), "it was cut off at {call}");
    let survivor = match seed {
        0 => files.after_kill(),
        seed => files.after_power_loss(&mut Numbers(seed)),
    };
    // Who knows less finds what it knows, or is told that it must not touch it.
    for (steps, expected) in [(&TWO[..0], &WITH_1[..]), (&TWO[..1], &WITH_2)] {
        let survivor = survivor.after_kill();
        match open(&survivor, steps) {
            Ok(_) => check(&survivor, FOLDER, expected)?,
            Err(Error::Newer { .. }) => {}
            Err(other) => return Err(format!("it does not open with less: {other:?}")),
        }
    }
    open(&survivor, TWO).map_err(|error| format!("it does not open: {error:?}"))?;
    check_third(&survivor)
}

/// What goes wrong at any point.
fn cut_off_everywhere(taken_out: TakenOut) -> Result<u64, String> {
    const SEEDS: u64 = 8;
    let files = first(taken_out);
    let whole = files.after_kill();
    drop(open(&whole, TWO).map_err(|error| format!("{error:?}"))?);
    let calls = whole.calls();
    for call in 0..calls {
        for seed in 0..SEEDS {
            cut_off(&files, call, seed)
                .map_err(|wrong| format!("call {call} of {calls}, seed {seed}: {wrong}"))?;
        }
    }
    Ok(calls)
}

#[test]
fn what_is_cut_off_anywhere_is_gone_on_with() {
    let calls = cut_off_everywhere(TakenOut::Nothing).unwrap();
    println!("two steps of {calls} calls, cut off before each");
}

/// With the syncs of files or of directories taken out, the test above fails.
#[test]
fn a_missing_sync_would_be_seen() {
    for taken_out in [TakenOut::SyncOfContents, TakenOut::SyncOfNames] {
        println!("{taken_out:?}: {}", cut_off_everywhere(taken_out).unwrap_err());
    }
}

/// A migration is cut off, and then the next attempt at it too, at every pair of points that lie
/// some way apart.
#[test]
fn what_is_cut_off_twice_is_gone_on_with() {
    let files = first(TakenOut::Nothing);
    let mut pairs = 0;
    for call in (0..).step_by(7) {
        let once = files.after_kill();
        once.crash_at(call);
        if open(&once, TWO).is_ok() {
            break;
        }
        let once = once.after_power_loss(&mut Numbers(call));
        for again in (0..).step_by(5) {
            let twice = once.after_kill();
            twice.crash_at(again);
            if open(&twice, TWO).is_ok() {
                break;
            }
            let twice = twice.after_power_loss(&mut Numbers(again));
            drop(open(&twice, TWO).unwrap());
            check_third(&twice).unwrap();
            pairs += 1;
        }
    }
    assert!(pairs > 100, "{pairs}");
}

#[test]
fn a_step_that_fails_is_taken_back() {
    const FAILS: &[Step] = &[Step {
        changes: TWO[0].changes,
        run: |files, folder| {
            (TWO[0].run)(files, folder)?;
            Err(Error::malformed("state", "it is made to fail"))
        },
    }];
    let files = first(TakenOut::Nothing);
    let failed = open(&files, FAILS);
    assert!(matches!(failed, Err(Error::Malformed { what: "state", .. })), "{failed:?}");
    check(&files, FOLDER, &WITH_1).unwrap();
    assert_eq!(version(&files), Version::of(1));
    drop(open(&files, &[]).unwrap());
    drop(open(&files, TWO).unwrap());
    check_third(&files).unwrap();
}

/// Somebody takes a backup for waste while the migration is cut off: what was not in a backup is
/// removed when it is put back, and so would be all.
#[test]
fn nothing_is_put_back_from_a_backup_that_is_gone() {
    let files = first(TakenOut::Nothing);
    let folder = Path::new(FOLDER);
    TWO[0].back_up(&files, folder, &folder.join("backup-v1")).unwrap();
    Version { number: 2, unfinished: true }.write(&files, folder).unwrap();
    let without = files.after_loss_of(&folder.join("backup-v1"));
    let refused = open(&without, TWO);
    assert!(matches!(refused, Err(Error::Malformed { .. })), "{refused:?}");
    check(&without, FOLDER, &WITH_1).unwrap();
    drop(open(&files, TWO).unwrap());
    check_third(&files).unwrap();
}

/// A backup is left from a migration that was gone back on by hand; what the node did since then is
/// what counts.
#[test]
fn an_earlier_backup_is_never_put_back() {
    let files = first(TakenOut::Nothing);
    let folder = Path::new(FOLDER);
    let stale = Step { changes: &["old", "state.redb"], run: |_, _| Ok(()) };
    files.create_dir(&folder.join("backup-v1")).unwrap();
    files.create(&folder.join("backup-v1/gone"), b"gone").unwrap();
    stale.back_up(&files, folder, &folder.join("backup-v1")).unwrap();
    append(&files, &folder.join("state.redb"), b" of later").unwrap();
    drop(open(&files, &TWO[..1]).unwrap());
    assert_eq!(files.read(&folder.join("state.redb")).unwrap(), b"state of later+2");
    let mut expected = WITH_1;
    expected[1].1 = "state of later";
    check(&files, "/node/backup-v1", &expected).unwrap();
}

/// Larger than the pieces in which files are copied.
#[test]
fn large_files_are_copied_whole() {
    let files = first(TakenOut::Nothing);
    let folder = Path::new(FOLDER);
    for len in [(1 << 20) - 1, 1 << 20, (3 << 20) + 5] {
        let content: Vec<u8> = (0..len).map(|at: u32| (at % 251) as u8).collect();
        files.create(&folder.join("from"), &content).unwrap();
        copy(&files, &folder.join("from"), &folder.join("to")).unwrap();
        assert!(files.read(&folder.join("to")).unwrap() == content, "{len}");
        files.remove(&folder.join("from")).unwrap();
        files.remove(&folder.join("to")).unwrap();
    }
}

/// Keys are copied by migrations too.
#[cfg(unix)]
#[test]
fn only_the_owner_may_read_a_backup() {
    use std::os::unix::fs::PermissionsExt;
    const KEYS: Step = Step { changes: &["identity", "keystore"], run: |_, _| Ok(()) };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let key: Key = Keypair::generate_ed25519().into();
    let disk = Disk::open(path).unwrap().private();
    let first = Migration { steps: &[], allowed: true };
    drop(DataDir::open_on(&disk, path.to_owned(), Some(key), &first).unwrap());
    std::fs::create_dir(path.join("keystore")).unwrap();
    std::fs::write(path.join("keystore/key_me"), "secret").unwrap();
    let second = Migration { steps: &[KEYS], allowed: true };
    drop(DataDir::open_on(&disk, path.to_owned(), None, &second).unwrap());
    let mode = |name| {
        let metadata = std::fs::metadata(path.join("backup-v1").join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("keystore")), (0o700, 0o700));
    assert_eq!((mode("identity"), mode("keystore/key_me")), (0o600, 0o600));
}

/// The power fails while a folder is made.
#[test]
fn making_a_folder_goes_on_wherever_it_stopped() {
    let new = || Faulty::new(Path::new(FOLDER), false, TakenOut::Nothing);
    let whole = new();
    drop(open(&whole, &[]).unwrap());
    for call in 0..whole.calls() {
        for seed in 0..20 {
            let files = new();
            files.crash_at(call);
            assert!(open(&files, &[]).is_err());
            let survivor = files.after_power_loss(&mut Numbers(seed));
            let name = open(&survivor, &[]).unwrap().identity.public();
            let survivor = survivor.after_power_loss(&mut Numbers(seed));
            assert_eq!(open(&survivor, &[]).unwrap().identity.public(), name);
        }
    }
}
