//! Which pins are listed, and how the API is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use ipfs_traits::{Cid, Error, Result, rfc3339};

use super::{
    Status,
    pin::{at_most, check_name, meta},
    request::escape,
};

/// The most CIDs that pins are looked for by at once, as the API has it.
pub const MAX_CIDS: usize = 10;

/// The most pins in one answer, as the API has it.
pub const MAX_PAGE: usize = 1000;

/// The longest query, in bytes: of a URL every server is to take 8000 (RFC 9110), and what stands
/// before the query is short.
pub const MAX_QUERY: usize = 7 << 10;

/// Which pins are listed: those that pass all that is set here. By default those that are pinned,
/// which is what a service takes an empty filter for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Pins of any of these, at most [`MAX_CIDS`]; of all when it is empty.
    pub cids: Vec<Cid>,
    /// Pins of this name, at most [`MAX_NAME`](super::MAX_NAME) characters.
    pub name: Option<String>,
    /// What is meant by the name: all of it, letter for letter, by default.
    pub matching: Matching,
    /// Pins of any of these statuses; those that are pinned when it is empty.
    pub statuses: Vec<Status>,
    /// Pins that were asked for before this time.
    pub before: Option<SystemTime>,
    /// Pins that were asked for after this time.
    pub after: Option<SystemTime>,
    /// Pins whose metadata have all of these entries, at most [`MAX_META`](super::MAX_META).
    pub meta: BTreeMap<String, String>,
    /// How many pins are asked for at once, [`MAX_PAGE`] at the most: 100 by default, which in one
    /// answer of [`MAX_ANSWER`](super::MAX_ANSWER) leaves 10 KiB for each.
    pub page: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            cids: Vec::new(),
            name: None,
            matching: Matching::Exact,
            statuses: Vec::new(),
            before: None,
            after: None,
            meta: BTreeMap::new(),
            page: 100,
        }
    }
}

/// How a name is matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Matching {
    /// It is the name, letter for letter.
    #[default]
    Exact,
    /// It is the name, in capitals or not.
    IExact,
    /// It is in the name, letter for letter.
    Partial,
    /// It is in the name, in capitals or not.
    IPartial,
}

impl Filter {
    /// The query for the pins that were asked for before what the last page had, if there was one.
    pub(super) fn query(&self, before: Option<&str>) -> Result<String> {
        if self.page == 0 {
            return Err(Error::invalid("page of a list", "it has no pins"));
        }
        at_most("pins in a page", MAX_PAGE, self.page)?;
        let mut query = format!("limit={}", self.page);
        let mut add = |name: &str, value: &str| query.extend(["&", name, "=", value]);
        let cids: BTreeSet<String> = self.cids.iter().map(Cid::to_string).collect();
        at_most("CIDs of a filter", MAX_CIDS, cids.len())?;
        if !cids.is_empty() {
            add("cid", &listed(cids));
        }
        if let Some(name) = &self.name {
            check_name(name)?;
            add("name", &escape(name));
            if self.matching != Matching::Exact {
                add("match", self.matching.word());
            }
        }
        if !self.statuses.is_empty() {
            add("status", &statuses(&self.statuses)?);
        }
        let first = self.before.map(rfc3339::format).transpose()?;
        if let Some(before) = before.or(first.as_deref()) {
            add("before", &escape(before));
        }
        if let Some(after) = self.after {
            add("after", &escape(&rfc3339::format(after)?));
        }
        if !self.meta.is_empty() {
            add("meta", &escape(&meta(&self.meta)?.to_string()));
        }
        at_most("bytes of a query", MAX_QUERY, query.len())?;
        Ok(query)
    }
}

fn statuses(statuses: &[Status]) -> Result<String> {
    let known = |status: &Status| match status {
        Status::Other(word) => {
            Err(Error::invalid("status", format!("the API does not have {word:?}")))
        }
        known => Ok(known.as_str().to_owned()),
    };
    let words: BTreeSet<String> = statuses.iter().map(known).collect::<Result<_>>()?;
    Ok(listed(words))
}

fn listed(words: BTreeSet<String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(",")
}

impl Matching {
    const fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::IExact => "iexact",
            Self::Partial => "partial",
            Self::IPartial => "ipartial",
        }
    }
}
