//! A repository that the machine's own git makes, with a history that has some of everything.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use ipld_git::ObjectFormat;

use crate::peers::Git;

/// Makes a repository in `folder`, which does not exist. What is signed there is left out where the
/// programs that sign are missing.
pub(crate) fn repository(git: &Git, folder: &Path, format: ObjectFormat) -> Git {
    fs::create_dir_all(folder).unwrap();
    let git = git.in_folder(folder);
    git.run(&["init", "-q", "-b", "main", &format!("--object-format={format}")]);
    for (key, value) in [
        ("user.name", "A U Thör"),
        ("user.email", "author@example.com"),
        ("commit.gpgSign", "false"),
        ("gc.auto", "0"),
    ] {
        git.run(&["config", key, value]);
    }
    files(&git, folder);
    branches(&git, folder);
    encodings(&git, folder);
    tags(&git);
    // So far in packs, with deltas; what follows is loose.
    git.run(&["repack", "-adq"]);
    signed_by_ssh(&git, folder);
    signed_by_openpgp(&git, folder);
    git
}

fn commit(git: &Git, message: &str) {
    git.run(&["add", "-A"]);
    git.run(&["commit", "-q", "--allow-empty", "--allow-empty-message", "-m", message]);
}

/// Files, directories whose order matters, executables, symbolic links, a submodule.
fn files(git: &Git, folder: &Path) {
    let long: String = (0..2000).map(|line| format!("line {line}\n")).collect();
    for (name, content) in [("a", "a\n"), ("a.b", ""), ("a0/b", "b\n"), ("d/e/f", "f\n")] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::write(folder.join("long"), &long).unwrap();
    fs::write(folder.join("n\u{e4}me"), [0, 159, 146, 150]).unwrap();
    commit(git, "files");
    let id = git.told(&["hash-object", "-w", "--stdin"], b"a");
    let submodule = git.run(&["rev-parse", "HEAD"]);
    for (mode, id, name) in [
        ("120000", id.as_str(), "link"),
        ("100755", id.as_str(), "run"),
        ("160000", submodule.trim_end(), "sub"),
    ] {
        git.run(&["update-index", "--add", "--cacheinfo", &format!("{mode},{id},{name}")]);
    }
    git.run(&["commit", "-q", "-m", "a link, a program, a submodule"]);
    // A version that git keeps as a delta.
    fs::write(folder.join("long"), long.replace("line 7\n", "line seven\n")).unwrap();
    git.run(&["commit", "-q", "-am", "a change\n\nwith a body\n\n\n  and spaces  "]);
}

/// Merges, also of more than two.
fn branches(git: &Git, folder: &Path) {
    for branch in ["one", "two", "three"] {
        git.run(&["checkout", "-q", "-b", branch, "main"]);
        fs::write(folder.join(branch), branch).unwrap();
        git.run(&["add", branch]);
        git.run(&["commit", "-q", "-m", branch]);
    }
    git.run(&["checkout", "-q", "main"]);
    git.run(&["merge", "-q", "--no-ff", "-m", "a merge", "one"]);
    git.run(&["merge", "-q", "--no-ff", "-m", "an octopus", "two", "three"]);
    git.run(&["commit", "-q", "--allow-empty", "--allow-empty-message", "-m", ""]);
}

/// Messages that are not UTF-8, said to be so and not; and commits that git's porcelain does not
/// make, but its plumbing does.
fn encodings(git: &Git, folder: &Path) {
    let message = folder.join(".git/message");
    fs::write(&message, b"d\xe9j\xe0 vu\n").unwrap();
    let file = message.to_str().unwrap();
    for encoding in ["i18n.commitEncoding=ISO-8859-1", "i18n.commitEncoding=UTF-8"] {
        git.run(&["-c", encoding, "commit", "-q", "--allow-empty", "-F", file]);
    }
    let tree = git.run(&["rev-parse", "HEAD^{tree}"]);
    let people = "author A <a@b> 1 +0000\ncommitter C <c@d> 1700000000 -0730\n";
    for rest in ["HG:extra a\nchange-id b\n\nother headers", "\n", "\nno line feed", "\n\n\nlate"] {
        let commit = format!("tree {tree}{people}{rest}");
        git.told(&["hash-object", "-t", "commit", "-w", "--stdin"], commit.as_bytes());
    }
}

/// Tags of all types of objects.
fn tags(git: &Git) {
    for (name, object) in
        [("commit", "HEAD"), ("tree", "HEAD^{tree}"), ("blob", "HEAD:a"), ("tag", "commit")]
    {
        git.run(&["tag", "-a", "-m", "a tag", name, object]);
    }
    let commit = git.run(&["rev-parse", "HEAD"]);
    let old = format!("object {commit}type commit\ntag old\n\nwithout a tagger\n");
    git.told(&["hash-object", "-t", "tag", "-w", "--stdin"], old.as_bytes());
    git.run(&["checkout", "-q", "-b", "tagged", "main"]);
    git.run(&["commit", "-q", "--allow-empty", "-m", "to be merged"]);
    git.run(&["tag", "-a", "-m", "a tag to be merged\n\nwith a body", "merged"]);
    git.run(&["checkout", "-q", "main"]);
    git.run(&["merge", "-q", "--no-ff", "-m", "a merged tag", "merged"]);
}

fn program(name: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A commit, a tag, and the merge of a tag, all signed.
fn sign(git: &Git, with: &[&str], name: &str) {
    let run = |arguments: &[&str]| git.run(&[with, arguments].concat());
    run(&["commit", "-q", "--allow-empty", "-S", "-m", "signed"]);
    run(&["checkout", "-q", "-b", &format!("branch-{name}")]);
    run(&["commit", "-q", "--allow-empty", "-S", "-m", "signed, to be merged"]);
    run(&["tag", "-s", "-m", "a signed tag", name]);
    run(&["checkout", "-q", "main"]);
    run(&["merge", "-q", "--no-ff", "-S", "-m", "a signed tag, merged", name]);
}

fn signed_by_ssh(git: &Git, folder: &Path) {
    let key = folder.join(".git/key");
    let key = key.to_str().unwrap();
    if !program("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]) {
        return println!("ssh-keygen is missing: nothing is signed by SSH");
    }
    let key = format!("user.signingKey={key}");
    sign(git, &["-c", "gpg.format=ssh", "-c", &key], "by-ssh");
}

fn signed_by_openpgp(git: &Git, folder: &Path) {
    if !cfg!(unix) {
        return println!("nothing is signed by OpenPGP here");
    }
    // Its socket must have a short path.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_str().unwrap();
    let who = "author@example.com";
    let make =
        ["--homedir", path, "--batch", "--passphrase", "", "--quick-gen-key", who, "ed25519"];
    if !program("gpg", &[&make[..], &["sign", "never"]].concat()) {
        return println!("gpg is missing: nothing is signed by OpenPGP");
    }
    let script = folder.join(".git/gpg");
    fs::write(&script, format!("#!/bin/sh\nexec gpg --homedir {path} \"$@\"\n")).unwrap();
    assert!(program("chmod", &["+x", script.to_str().unwrap()]));
    let script = format!("gpg.program={}", script.display());
    sign(git, &["-c", &script, "-c", &format!("user.signingKey={who}")], "by-openpgp");
    program("gpgconf", &["--homedir", path, "--kill", "gpg-agent"]);
}
