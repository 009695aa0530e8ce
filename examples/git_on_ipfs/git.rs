//! What git itself says.

use std::{fs, path::Path, path::PathBuf, process::Command};

use crate::Result;

fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").current_dir(folder).args(arguments).output()?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!("git {arguments:?}: {}", String::from_utf8_lossy(&said)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The repository that this program is part of; where there is none, a small one.
pub(crate) fn this_or_another(folder: &Path) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    if root.join(".git").exists() {
        return Ok(root.into());
    }
    let small = folder.join("small");
    fs::create_dir_all(small.join("src"))?;
    fs::write(small.join("src/main.rs"), "fn main() {}\n")?;
    git(&small, &["init", "-q", "-b", "main"])?;
    git(&small, &["add", "-A"])?;
    let who = ["-c", "user.name=A", "-c", "user.email=a@example.com"];
    git(&small, &[&who[..], &["commit", "-q", "-m", "first"]].concat())?;
    Ok(small)
}

/// Checks what was fetched, and checks it out: it has the history of the source, and its files.
pub(crate) fn compare(source: &Path, fetched: &Path, checked_out: &Path) -> Result<()> {
    if git(fetched, &["--version"]).is_err() {
        println!("\ngit is not here to look at {}", fetched.display());
        return Ok(());
    }
    git(fetched, &["fsck", "--strict", "--full"])?;
    println!("\ngit fsck --strict finds no fault in it.");
    let log = |folder| git(folder, &["log", "--format=%H %T %an %s", "HEAD"]);
    if log(fetched)? != log(source)? {
        return Err("the histories differ".into());
    }
    println!("git log shows the same {} commits.", log(fetched)?.lines().count());
    let target = checked_out.to_str().ok_or("a path that is no text")?;
    git(fetched, &["clone", "-q", ".", target])?;
    let changed = git(checked_out, &["status", "--porcelain"])?;
    let files = git(checked_out, &["ls-files"])?;
    println!("git clone checks out {} files, {} changed.", files.lines().count(), changed.len());
    Ok(())
}
