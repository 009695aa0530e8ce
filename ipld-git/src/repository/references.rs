//! The references of a repository: branches, tags, `HEAD`.

use std::{collections::BTreeMap, fs, io, path::Path};

use super::{Error, Repository, Result, io_error, read_if_there};
use crate::ObjectId;

/// How many references may name each other before one names an object, as in git.
const MAX_DEPTH: usize = 5;

/// A value of a reference.
enum Value {
    Id(ObjectId),
    Symbolic(String),
}

impl Repository {
    /// All references with the objects that they name, by their full names, such as
    /// `refs/heads/main`. One that names another is resolved; one that leads nowhere is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Unsupported`] for a file that is not understood.
    pub fn references(&self) -> Result<BTreeMap<String, ObjectId>> {
        let mut values = self.packed()?;
        collect(self.common_dir(), "refs", &mut values)?;
        let names: Vec<String> = values.keys().cloned().collect();
        let resolved = names.into_iter().filter_map(|name| {
            let id = resolve(&values, &name, MAX_DEPTH)?;
            Some((name, id))
        });
        Ok(resolved.collect())
    }

    /// The branch that is checked out, such as `refs/heads/main`, be it born or not. `None` where
    /// `HEAD` names a commit.
    ///
    /// # Errors
    ///
    /// As [`references`](Self::references).
    pub fn head_reference(&self) -> Result<Option<String>> {
        match self.head_value()? {
            Value::Symbolic(name) => Ok(Some(name)),
            Value::Id(_) => Ok(None),
        }
    }

    /// The commit that is checked out. `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// As [`references`](Self::references).
    pub fn head(&self) -> Result<Option<ObjectId>> {
        match self.head_value()? {
            Value::Symbolic(name) => Ok(self.references()?.get(&name).copied()),
            Value::Id(id) => Ok(Some(id)),
        }
    }

    /// The commits whose parents were left out when the repository was cloned with a depth.
    ///
    /// # Errors
    ///
    /// As [`references`](Self::references).
    pub fn shallow(&self) -> Result<Vec<ObjectId>> {
        let path = self.common_dir().join("shallow");
        let text = read_if_there(&path)?;
        text.lines().map(|line| line.parse().map_err(|_| not_understood(&path))).collect()
    }

    fn head_value(&self) -> Result<Value> {
        let path = self.git_dir().join("HEAD");
        let text = fs::read_to_string(&path).map_err(io_error(&path))?;
        parse(&text).ok_or_else(|| not_understood(&path))
    }

    /// References that were packed into one file.
    fn packed(&self) -> Result<BTreeMap<String, Value>> {
        let path = self.common_dir().join("packed-refs");
        let text = read_if_there(&path)?;
        let mut values = BTreeMap::new();
        // Comments begin with #, and what a tag leads to with ^.
        for line in text.lines().filter(|line| !line.starts_with(['#', '^']) && !line.is_empty()) {
            let (id, name) = line.split_once(' ').ok_or_else(|| not_understood(&path))?;
            let id = id.parse().map_err(|_| not_understood(&path))?;
            values.insert(name.to_owned(), Value::Id(id));
        }
        Ok(values)
    }
}

/// References in files of their own, which have precedence.
fn collect(root: &Path, name: &str, values: &mut BTreeMap<String, Value>) -> Result<()> {
    let path = root.join(name);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(path)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(io_error(&path))?;
        // Git makes no other names, and no links between directories.
        let Ok(last) = entry.file_name().into_string() else { continue };
        let name = format!("{name}/{last}");
        let kind = entry.file_type().map_err(io_error(entry.path()))?;
        if kind.is_dir() {
            collect(root, &name, values)?;
        } else if !last.ends_with(".lock") {
            let text = fs::read_to_string(entry.path()).map_err(io_error(entry.path()))?;
            let value = parse(&text).ok_or_else(|| not_understood(&entry.path()))?;
            values.insert(name, value);
        }
    }
    Ok(())
}

fn parse(text: &str) -> Option<Value> {
    let text = text.trim_end();
    match text.strip_prefix("ref:") {
        Some(name) => Some(Value::Symbolic(name.trim().to_owned())),
        None => text.parse().ok().map(Value::Id),
    }
}

fn resolve(values: &BTreeMap<String, Value>, name: &str, depth: usize) -> Option<ObjectId> {
    match values.get(name)? {
        Value::Id(id) => Some(*id),
        Value::Symbolic(name) => resolve(values, name, depth.checked_sub(1)?),
    }
}

fn not_understood(path: &Path) -> Error {
    Error::Unsupported { path: path.into(), reason: "it is not understood".into() }
}
