//! Programs of others, which read the same objects: git itself, and go-ipld-git.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ipld_core::ipld::Ipld;
use ipld_git::{Object, ObjectFormat, decode_as, encode_as, with_header};
use serde_json::Value;

use crate::{
    fixtures::{as_ours, right_where_go_fails, without_odd},
    made,
};

/// The machine's own git, in a folder, with nobody's configuration.
pub(crate) struct Git(PathBuf);

/// Git, if it is here. Where `IPFS_PEERS` is set it has to be.
pub(crate) fn git() -> Option<Git> {
    let found = Command::new("git").arg("--version").stdout(Stdio::null()).status();
    let here = found.is_ok_and(|status| status.success());
    assert!(here || std::env::var_os("IPFS_PEERS").is_none(), "git is not installed");
    here.then(|| Git(PathBuf::from(".")))
}

impl Git {
    pub(crate) fn in_folder(&self, folder: &Path) -> Self {
        Self(folder.into())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(&self.0)
            .args(["-c", "safe.directory=*", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    /// Runs it and gives what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.bytes(arguments)).unwrap()
    }

    /// What it prints, and whether it was content.
    pub(crate) fn says(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Runs it with something to read, and gives the line that it prints.
    pub(crate) fn told(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// All objects, as git gives them.
    pub(crate) fn dump(&self) -> Vec<u8> {
        self.bytes(&["cat-file", "--batch-all-objects", "--batch"])
    }

    pub(crate) fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        output.stdout
    }
}

/// The objects of a dump: their ids, and the bytes that git hashes.
pub(crate) fn objects(mut dump: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut objects = Vec::new();
    while let Some(end) = dump.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&dump[..end]).unwrap();
        let [id, kind, size] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let content = &dump[end + 1..][..size.parse().unwrap()];
        let kind = ipld_git::Kind::of_name(kind.as_bytes()).unwrap();
        objects.push((id.to_owned(), with_header(kind, content)));
        dump = &dump[end + 2 + content.len()..];
    }
    objects
}

/// The repository that this source is in, if it is in one.
fn this_repository(git: &Git) -> Option<Git> {
    let here = git.in_folder(Path::new(env!("CARGO_MANIFEST_DIR")));
    here.says(&["rev-parse", "--git-dir"]).0.then_some(here)
}

/// Every object that git has is read, is what git says it is, and comes back.
#[test]
fn git_has_the_same_objects() {
    let Some(git) = git() else { return println!("git is not here") };
    let folder = tempfile::tempdir().unwrap();
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let made = made::repository(&git, &folder.path().join(format.to_string()), format);
        check(&format!("made with {format}"), format, &made.dump());
    }
    if let Some(here) = this_repository(&git) {
        check("this repository", ObjectFormat::Sha1, &here.dump());
    }
}

fn check(what: &str, format: ObjectFormat, dump: &[u8]) {
    let (objects, mut odd) = (objects(dump), 0);
    for (id, bytes) in &objects {
        let object = Object::parse(format, bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(object.id().unwrap().to_string(), *id, "{what}");
        let value = decode_as(format, bytes).unwrap();
        odd += usize::from(matches!(&value, Ipld::Map(map) if map.contains_key("")));
        assert!(encode_as(format, &value).as_ref() == Ok(bytes), "{what}: {id}");
    }
    println!("{what}: {} objects, {odd} of them odd", objects.len());
    assert!(objects.len() > 20, "{what}");
}

/// Where go-ipld-git reads an object, its value is ours; where it does not, or changes it, ours is
/// right.
#[test]
fn go_ipld_git_has_the_same_values() {
    let Some(peer) = std::env::var_os("IPFS_GIT_PEER") else {
        assert!(std::env::var_os("IPFS_PEERS").is_none(), "IPFS_GIT_PEER names no program");
        return println!("IPFS_GIT_PEER is not set");
    };
    let git = git().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let made = made::repository(&git, &folder.path().join("made"), ObjectFormat::Sha1);
    for (what, repository) in [("made", Some(made)), ("this", this_repository(&git))] {
        let Some(repository) = repository else { continue };
        let dump = repository.dump();
        let output = {
            let mut command = Command::new(&peer);
            command.arg("decode").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let (mut stdin, dump) = (child.stdin.take().unwrap(), dump.clone());
            let writer = std::thread::spawn(move || stdin.write_all(&dump).unwrap());
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap();
            assert!(output.status.success());
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let objects = objects(&dump);
        assert_eq!(output.lines().count(), objects.len());
        let (mut refused, mut changed) = (0, 0);
        for ((id, bytes), line) in objects.iter().zip(output.lines()) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["id"], **id);
            let ours = decode_as(ObjectFormat::Sha1, bytes).unwrap();
            if let Some(error) = line["error"].as_str() {
                refused += 1;
                right_where_go_fails(ObjectFormat::Sha1, error, &ours)
                    .unwrap_or_else(|why| panic!("{id}: {why}"));
                continue;
            }
            changed += usize::from(line["same"] != true);
            let links = ipld_git::links_as(ObjectFormat::Sha1, bytes).unwrap();
            let mut links: Vec<_> = links.map(|link| link.to_string()).collect();
            let mut theirs: Vec<String> =
                serde_json::from_value(line["links"].clone()).unwrap_or_default();
            links.sort();
            theirs.sort();
            assert_eq!(links, theirs, "{id}");
            if line["node"].is_object() {
                assert_eq!(without_odd(&ours), as_ours(line["node"].clone()), "{id}");
            }
        }
        let count = objects.len();
        println!("{what}: {count} objects; go-ipld-git refuses {refused} and changes {changed}");
    }
}
