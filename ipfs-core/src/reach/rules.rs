//! Which links lead on.

use ipfs_traits::{Block, Cid, CodecTable, Ipld, Result, codes};

/// Which links of a DAG belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Follow {
    /// All of them.
    #[default]
    All,
    /// All but those of git trees to the commits of submodules, which are objects of other
    /// repositories, and mostly not to be had with this one.
    WithoutSubmodules,
}

/// The mode of a submodule in a git tree.
const SUBMODULE: &str = "160000";

impl Follow {
    /// By its number.
    pub(crate) const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::All),
            1 => Some(Self::WithoutSubmodules),
            _ => None,
        }
    }

    /// The links of a block that lead on.
    pub(crate) fn links(self, codecs: &CodecTable, block: &Block) -> Result<Vec<Cid>> {
        let mut links = codecs.links(block)?;
        if self == Self::WithoutSubmodules
            && block.cid().codec() == codes::GIT_RAW
            && let Ipld::Map(entries) = codecs.decode(block)?
        {
            let skipped: Vec<Cid> = entries.values().filter_map(submodule).collect();
            links.retain(|link| !skipped.contains(link));
        }
        Ok(links)
    }
}

/// The commit to which an entry of a tree leads, if it is a submodule.
fn submodule(entry: &Ipld) -> Option<Cid> {
    let Ipld::Map(entry) = entry else { return None };
    match (entry.get("mode"), entry.get("hash")) {
        (Some(Ipld::String(mode)), Some(Ipld::Link(commit))) if mode == SUBMODULE => Some(*commit),
        _ => None,
    }
}
