//! Tables of cases that come from elsewhere, and a count of what became of each.
//!
//! The tests of every crate of the workspace include this file by its path.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::{collections::BTreeMap, fmt::Display, path::PathBuf};

/// The folder of fixtures: the crate's own, or the one that `IPFS_FIXTURES` names.
pub(crate) fn folder() -> PathBuf {
    match std::env::var_os("IPFS_FIXTURES") {
        Some(folder) => folder.into(),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")),
    }
}

/// The bytes of a fixture.
pub(crate) fn bytes(path: &str) -> Vec<u8> {
    let whole = folder().join(path);
    std::fs::read(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

/// The text of a fixture.
pub(crate) fn text(path: &str) -> String {
    String::from_utf8(bytes(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One row of a table.
pub(crate) struct Case {
    columns: BTreeMap<String, String>,
    id: String,
}

impl Case {
    /// The name of the case.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl std::ops::Index<&str> for Case {
    type Output = str;

    fn index(&self, column: &str) -> &str {
        self.columns.get(column).unwrap_or_else(|| panic!("{}: no column {column}", self.id))
    }
}

/// The rows of a table of tab-separated cells.
pub(crate) fn table(path: &str) -> Vec<Case> {
    let text = text(path);
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let cells = line.split('\t').map(unescape).chain(std::iter::repeat(String::new()));
            let columns: BTreeMap<_, _> = head.iter().map(ToString::to_string).zip(cells).collect();
            Case { id: columns[head[0]].clone(), columns }
        })
        .collect()
}

/// Undoes the escapes of a cell. JSON has its own, which are left alone.
fn unescape(cell: &str) -> String {
    if cell.starts_with(['{', '[']) {
        return cell.into();
    }
    let mut out = String::with_capacity(cell.len());
    let mut chars = cell.chars();
    while let Some(char) = chars.next() {
        match (char, char == '\\') {
            (_, true) => match chars.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (char, false) => out.push(char),
        }
    }
    out
}

/// Bytes from hexadecimal.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
    (0..text.len())
        .step_by(2)
        .map(|at| digit(at).unwrap_or_else(|e| panic!("{text}: {e}")))
        .collect()
}

/// Hexadecimal of bytes.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What became of the cases of one file.
pub(crate) struct Report {
    path: String,
    ran: usize,
    left_out: BTreeMap<String, usize>,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new(path: &str) -> Self {
        Self { path: path.into(), ran: 0, left_out: BTreeMap::new(), failed: Vec::new() }
    }

    /// A case that was tried: `outcome` says what is wrong with it.
    pub(crate) fn ran(&mut self, id: &str, outcome: Result<(), impl Display>) {
        self.ran += 1;
        if let Err(error) = outcome {
            self.failed.push(format!("{id}: {error}"));
        }
    }

    /// A case that was tried by comparing two values.
    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(&mut self, id: &str, found: T, expected: T) {
        let outcome = match found == expected {
            true => Ok(()),
            false => Err(format!("expected {expected:?}, found {found:?}")),
        };
        self.ran(id, outcome);
    }

    /// A case that was not tried.
    pub(crate) fn left_out(&mut self, reason: &str) {
        *self.left_out.entry(reason.into()).or_default() += 1;
    }

    /// Says what became of all, and fails if a case failed, or none ran.
    pub(crate) fn finish(self) {
        let left_out: usize = self.left_out.values().sum();
        let reasons: Vec<String> =
            self.left_out.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        let reasons =
            if left_out == 0 { String::new() } else { format!(" ({})", reasons.join("; ")) };
        println!("fixtures {}: ran {}, left out {left_out}{reasons}", self.path, self.ran);
        assert!(self.failed.is_empty(), "{}:\n{}", self.path, self.failed.join("\n"));
        assert!(self.ran > 0, "{}: nothing ran", self.path);
    }
}
