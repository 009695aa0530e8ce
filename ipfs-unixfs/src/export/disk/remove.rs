//! Removing a tree: never through a link, however deep, whatever its modes.

use std::{
    ffi::{OsStr, OsString},
    io,
};

use super::{
    dir::{Dir, Kind},
    stack::Stack,
};

/// Removes what `name` stands for in `dir`, if anything.
pub(super) fn tree(dir: Dir, name: &OsStr) -> io::Result<()> {
    match dir.kind(name)? {
        None => return Ok(()),
        Some(Kind::Directory) => {}
        Some(_) => return dir.remove(name),
    }
    let mut stack = Stack::new(dir);
    stack.enter(name)?;
    let mut pending = vec![clear(stack.here())?];
    while let Some(directories) = pending.last_mut() {
        if let Some(name) = directories.pop() {
            stack.enter(&name)?;
            pending.push(clear(stack.here())?);
            continue;
        }
        pending.pop();
        if let Some((name, left)) = stack.leave()? {
            drop(left);
            stack.here().remove_dir(&name)?;
        }
    }
    Ok(())
}

/// Removes all but the directories, whose names it gives.
fn clear(dir: &Dir) -> io::Result<Vec<OsString>> {
    dir.set_mode(0o700)?;
    let names = dir.names()?.collect::<io::Result<Vec<_>>>()?;
    let mut directories = Vec::new();
    for name in names {
        match dir.kind(&name)? {
            Some(Kind::Directory) => directories.push(name),
            Some(_) => dir.remove(&name)?,
            None => {}
        }
    }
    Ok(directories)
}
