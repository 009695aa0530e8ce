//! The stores that are crashed. Another one is another variant here.

use std::{path::Path, sync::Arc};

use ipfs_blockstore::{FlatStore, PackStore, flat, pack};
use ipfs_traits::{Blockstore, Result, Runtime};

use super::{car::Archive, schedule::BACKGROUND};
use crate::faulty::{Faulty, Step, TakenOut};

pub(super) const ROOT: &str = "/store";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// One that syncs all at once, where many files are to be synced, or each by itself.
    Flat {
        whole: bool,
    },
    Pack,
    Car,
}

/// What a writer asks of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Put,
    Delete,
    Flush,
    Compact,
    Read,
}

pub(super) const KINDS: [Kind; 4] =
    [Kind::Flat { whole: false }, Kind::Flat { whole: true }, Kind::Pack, Kind::Car];

impl Kind {
    /// What writers ask of it, each as often as it stands here.
    pub(super) const fn asks(self) -> &'static [Ask] {
        use Ask::{Compact, Delete, Flush, Put, Read};
        match self {
            Self::Flat { .. } => &[Put, Put, Put, Delete, Flush, Read],
            Self::Pack | Self::Car => {
                &[Put, Put, Put, Put, Delete, Delete, Flush, Flush, Read, Compact]
            }
        }
    }

    /// The steps in each of which it has to be crashed often.
    pub(super) const fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Flat { .. } => &["open", "put", "delete", "flush"],
            Self::Pack => &["open", "put", "flush", "roll", "checkpoint", "delete", "compact"],
            Self::Car => &["open", "put", "flush", "delete", "close"],
        }
    }

    /// To what a call belongs: what was asked of the store, or what it did beside that.
    pub(super) fn step(self) -> Step {
        match self {
            Self::Flat { .. } => |_, _, asked| asked,
            Self::Car => |_, _, asked| if asked == "compact" { "close" } else { asked },
            Self::Pack => |call, path, asked| {
                let is_segment = path.extension().is_some_and(|extension| extension == "car");
                let in_index = path.parent().is_some_and(|parent| parent.ends_with("index"));
                match call {
                    _ if asked == "open" => "open",
                    "read_at" => asked,
                    _ if in_index => "checkpoint",
                    "open" if is_segment => "roll",
                    _ => asked,
                }
            },
        }
    }

    /// A folder that may be lost, and is then made anew from what else is there.
    pub(super) const fn index(self) -> Option<&'static str> {
        match self {
            Self::Flat { .. } | Self::Car => None,
            Self::Pack => Some("index"),
        }
    }

    pub(super) fn files(self, taken_out: TakenOut) -> Faulty {
        let whole = matches!(self, Self::Flat { whole: true });
        let files = Faulty::new(Path::new(ROOT), whole, taken_out);
        files.count_steps(self.step());
        files.label(BACKGROUND);
        files
    }

    pub(super) async fn open(
        self,
        files: Faulty,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Arc<dyn Blockstore>> {
        let files = Arc::new(files);
        Ok(match self {
            Self::Flat { .. } => {
                let options = flat::Options::default();
                Arc::new(FlatStore::open_on(files, ROOT, runtime, options).await?)
            }
            Self::Pack => {
                let mut options = pack::Options::default();
                // So small that all that a large store does happens here too.
                (options.segment_bytes, options.index_table, options.dead_share) =
                    (2 << 10, 40, 0.2);
                options.compact_after = Some(2 << 10);
                Arc::new(PackStore::open_on(files, ROOT, runtime, options).await?)
            }
            Self::Car => Arc::new(Archive::open((*files).clone(), runtime).await?),
        })
    }
}
